// The Auth.js provider's browser client and @github/webauthn-json, both as npm has them, on an application's page in Chromium. The page is on
// another origin than the server, so every call is preflighted. Auth.js itself is one function here, which posts the token to the application.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { after, before, describe, test } from 'node:test';

import Passkeys, { tenant as connect } from '@teamhanko/passkeys-next-auth-provider';
import { decodeJwt } from 'jose';

import { Chromium } from './support/chromium.mjs';
import { createTenant } from './support/server.mjs';

// A bundler's work: where the page's modules are, `.` being what the client calls the provider.
const IMPORTS = {
  '.': '/modules/@teamhanko/passkeys-next-auth-provider/index.js',
  '@github/webauthn-json': '/modules/@github/webauthn-json/dist/esm/webauthn-json.js',
  '@teamhanko/passkeys-next-auth-provider/client': '/modules/@teamhanko/passkeys-next-auth-provider/client.js',
  '@teamhanko/passkeys-sdk': '/modules/@teamhanko/passkeys-sdk/dist/src/index.js',
  jose: '/modules/jose/dist/browser/index.js',
  'openapi-fetch': '/modules/openapi-fetch/dist/index.js',
  'next-auth/react': '/next-auth.js',
};
const PAGE = `<!doctype html><title>Example</title><link rel="icon" href="data:,"><script type="importmap">${JSON.stringify({ imports: IMPORTS })}</script>
<input autocomplete="username webauthn" autofocus>
<script type="module">
  import { create } from '@github/webauthn-json';
  import { apiClientFirstLogin, signInWithPasskey } from '@teamhanko/passkeys-next-auth-provider/client';
  const post = async (path, body) => (await fetch(path, { method: 'POST', body: JSON.stringify(body) })).json();
  const register = async (username) => post('/register/finalize', await create(await post('/register/initialize', { username })));
  window.app = { apiClientFirstLogin, signInWithPasskey, register };
</script>`;
const NEXT_AUTH = `export const signIn = async (provider, { finalizeJWT }) => {
  const answer = await fetch('/signin/' + provider, { method: 'POST', body: JSON.stringify({ finalizeJWT }) });
  window.signedIn = await answer.json();
};`;

// The application: its pages, and what it does with its API key and with tokens.
function application() {
  const app = { handlers: {} };
  app.server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    try {
      const [type, answer] = await app.answer(request, body);
      response.writeHead(200, { 'Content-Type': type }).end(answer);
    } catch (error) {
      response.writeHead(500, { 'Content-Type': 'application/json' }).end(JSON.stringify({ error: error.message }));
    }
  });
  app.answer = async ({ method, url }, body) => {
    if (method === 'POST') return ['application/json', JSON.stringify((await app.handlers[url](JSON.parse(body))) ?? {})];
    if (url === '/') return ['text/html', PAGE];
    if (url === '/next-auth.js') return ['text/javascript', NEXT_AUTH];
    if (!/^\/modules\/[\w@./-]+\.js$/.test(url) || url.includes('..')) throw new Error(`no ${url}`);
    return ['text/javascript', await readFile(new URL(`./node_modules/${url.slice('/modules/'.length)}`, import.meta.url))];
  };
  return new Promise((resolve) => {
    app.server.listen(0, '127.0.0.1', () => resolve(Object.assign(app, { origin: `http://localhost:${app.server.address().port}` })));
  });
}

describe('the browser client', { timeout: 120_000 }, () => {
  let app, browser, page, tenant;

  before(async () => {
    app = await application();
    tenant = await createTenant({ origin: app.origin });
    const api = connect(tenant);
    const provider = Passkeys({ tenant: api });
    app.handlers['/register/initialize'] = ({ username }) => api.registration.initialize({ userId: `id of ${username}`, username });
    app.handlers['/register/finalize'] = (credential) => api.registration.finalize(credential);
    app.handlers['/signin/passkeys'] = (credentials) => provider.authorize(credentials);
    browser = await Chromium.launch();
    page = await browser.page();
    await page.addAuthenticator();
    await page.navigate(app.origin);
    await page.waitFor('window.app');
  });
  after(async () => {
    await browser?.close();
    app.server.closeAllConnections();
    app.server.close();
  });

  const config = (more = {}) => JSON.stringify({ baseUrl: tenant.baseUrl, tenantId: tenant.tenantId, ...more });

  test('registers a passkey', async () => {
    const { token } = await page.evaluate('app.register("ann")');
    const { sub, ceremony } = decodeJwt(token);
    assert.deepEqual([sub, ceremony], ['id of ann', 'registration']);
  });

  test('gets a token without an API key', async () => {
    const { sub, ceremony, iss } = decodeJwt(await page.evaluate(`app.apiClientFirstLogin(${config()})`));
    assert.deepEqual([sub, ceremony, iss], ['id of ann', 'login', tenant.issuer]);
  });

  test('signs in at the application', async () => {
    await page.evaluate(`app.signInWithPasskey(${config()})`);
    assert.deepEqual(await page.evaluate('window.signedIn'), { id: 'id of ann' });
  });

  test('signs in with autofill', async () => {
    await page.evaluate('window.signedIn = undefined');
    assert.equal(await page.evaluate('PublicKeyCredential.isConditionalMediationAvailable()'), true);
    await page.evaluate(`void app.signInWithPasskey.conditional(${config()})`);
    await page.waitFor('window.signedIn');
    assert.deepEqual(await page.evaluate('window.signedIn'), { id: 'id of ann' });
  });

  test('hears of a refusal', async () => {
    const elsewhere = await createTenant({ origin: app.origin, rpId: 'localhost' });
    // The passkey is of this relying party, but the other tenant has never seen it.
    const login = `app.apiClientFirstLogin(${JSON.stringify({ baseUrl: elsewhere.baseUrl, tenantId: elsewhere.tenantId })})`;
    assert.equal(await page.evaluate(`${login}.catch((error) => error.message)`), 'Passkey API did not return any token');
  });

  test('complains of nothing else', () => {
    assert.deepEqual(page.complaints, ['Failed to load resource: the server responded with a status of 401 (Unauthorized)']);
  });
});
