// The applications under examples/: each signs in with a real login token, and with nothing else.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { tenant as connect } from '@teamhanko/passkeys-sdk';

import { Authenticator } from './support/authenticator.mjs';
import { Issuer } from './support/issuer.mjs';
import { stop } from './support/process.mjs';
import { createTenant } from './support/server.mjs';

const examples = fileURLToPath(new URL('../../examples/', import.meta.url));
// The last two are made by run.sh.
const APPLICATIONS = {
  Node: [process.execPath, `${examples}node/server.mjs`],
  Python: [process.env.CLIENTS_PYTHON, `${examples}python/server.py`],
  Go: [process.env.CLIENTS_GO_EXAMPLE],
};

/** Runs an application for a tenant; resolves when it listens. */
function start([program, ...args], { baseUrl, tenantId, rpId, apiKey = 'none' }) {
  const environment = { PASSKEY_URL: baseUrl, PASSKEY_TENANT: tenantId, PASSKEY_RP_ID: rpId, PASSKEY_API_KEY: apiKey, PORT: '0' };
  const child = spawn(program, args, { env: { PATH: process.env.PATH, ...environment }, stdio: ['ignore', 'pipe', 'ignore'] });
  return new Promise((resolve, reject) => {
    child.once('error', reject).once('exit', (code) => reject(new Error(`${program} ended with ${code}`)));
    child.stdout.setEncoding('utf8').on('data', (text) => {
      const url = /listening on (\S+)/.exec(text)?.[1].replace('localhost', '127.0.0.1');
      if (url) resolve({ url, close: () => stop(child) });
    });
  });
}

const post = (url, body, headers = {}) => {
  return fetch(url, { method: 'POST', headers: { 'Content-Type': 'application/json', ...headers }, body: JSON.stringify(body) });
};

/** Signs in with a token: the status, the reason of a refusal, and who is signed in after it. */
async function signIn(app, token) {
  const answer = await post(`${app.url}/session`, { token });
  const cookie = answer.headers.get('Set-Cookie')?.split(';')[0];
  const me = await fetch(`${app.url}/me`, cookie ? { headers: { Cookie: cookie } } : {});
  const reason = answer.status === 204 ? undefined : (await answer.json()).error;
  return { status: answer.status, reason, me: me.status === 200 ? await me.json() : undefined };
}

async function refused(app, token, reason = /./, status = 401) {
  const answer = await signIn(app, token);
  assert.equal(answer.status, status, answer.reason);
  assert.match(answer.reason, reason);
  assert.equal(answer.me, undefined);
}

for (const [language, command] of Object.entries(APPLICATIONS)) {
  for (const algorithm of ['ES256', 'RS256']) {
    describe(`the ${language} application with ${algorithm}`, () => {
      const userId = randomUUID();
      let app, api, authenticator, registered, tenant;

      before(async () => {
        tenant = await createTenant({ algorithm });
        api = connect(tenant);
        authenticator = new Authenticator(tenant.origin);
        app = await start(command, tenant);
        registered = await api.registration.finalize(authenticator.create(await api.registration.initialize({ userId, username: 'ann' })));
      });
      after(() => app?.close());

      const login = async () => (await api.login.finalize(authenticator.get(await api.login.initialize()))).token;

      test('signs in with a login token, once', async () => {
        const token = await login();
        const { status, reason, me } = await signIn(app, token);
        assert.equal(status, 204, reason);
        assert.equal(me.user_id, userId);
        await refused(app, token, /used before/);
      });

      test('refuses a registration token', () => refused(app, registered.token, /registration/));

      test('refuses a second factor by itself', async () => {
        const { mfa } = api.user(userId);
        const key = new Authenticator(tenant.origin);
        await mfa.registration.finalize(key.create(await mfa.registration.initialize({ username: 'ann' })));
        const { token } = await mfa.login.finalize(key.get(await mfa.login.initialize()));
        await refused(app, token, /mfa_login/);
      });

      test('refuses a token of another tenant, and one for another application', async () => {
        const foreign = await createTenant({ algorithm });
        const other = await start(command, foreign);
        await refused(other, await login()).finally(other.close);
        const elsewhere = await start(command, { ...tenant, rpId: 'other.example' });
        await refused(elsewhere, await login()).finally(elsewhere.close);
      });
    });
  }

  describe(`the ${language} application with tokens that are never made`, () => {
    let app, issuer;

    before(async () => {
      issuer = await Issuer.start();
      app = await start(command, issuer);
    });
    after(async () => {
      await app?.close();
      issuer.close();
    });

    test('signs in with good ones', async () => {
      for (const alg of ['ES256', 'RS256']) {
        const { status, reason, me } = await signIn(app, await issuer.sign(issuer.claims(), { alg }));
        assert.equal(status, 204, reason);
        assert.deepEqual(me, { user_id: 'u1', credential_id: 'AAAA' });
      }
    });

    const ago = (seconds) => (claims) => ({ ...claims, iat: claims.iat - seconds, exp: claims.exp - seconds });
    const wrong = {
      'expired a minute ago': ago(360),
      'for another application': (claims) => ({ ...claims, aud: ['other.example'] }),
      'for nobody': (claims) => ({ ...claims, aud: [] }),
      'without an audience': (claims) => ({ ...claims, aud: undefined }),
      'of another issuer': (claims) => ({ ...claims, iss: `${claims.iss}/` }),
      'without an issuer': (claims) => ({ ...claims, iss: undefined }),
      'that never expires': (claims) => ({ ...claims, exp: undefined }),
      'without a user': (claims) => ({ ...claims, sub: undefined }),
      'without an id': (claims) => ({ ...claims, jti: undefined }),
      'of a registration': (claims) => ({ ...claims, ceremony: 'registration' }),
      'of a transaction': (claims) => ({ ...claims, ceremony: 'transaction' }),
      'of no ceremony': (claims) => ({ ...claims, ceremony: undefined }),
    };
    for (const [name, change] of Object.entries(wrong)) {
      test(`refuses one ${name}`, async () => refused(app, await issuer.sign(change(issuer.claims()))));
    }

    test('refuses what it did not sign', async () => {
      const claims = issuer.claims();
      const good = await issuer.sign(claims);
      const [header, body, signature] = good.split('.');
      const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
      const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const published = Buffer.from(JSON.stringify(issuer.jwks.keys[0]));
      for (const token of [
        await issuer.sign(claims, { key: privateKey }),
        await issuer.sign(claims, { alg: 'HS256', key: published, kid: issuer.jwks.keys[0].kid }),
        await issuer.sign(claims, { kid: issuer.jwks.keys[1].kid }),
        `${part({ alg: 'none', kid: issuer.jwks.keys[0].kid })}.${body}.`,
        `${header}.${part({ ...claims, sub: 'eve' })}.${signature}`,
        `${header}.${body}`,
        '',
        'x.y.z',
        'x'.repeat(10_000),
      ]) {
        await refused(app, token);
      }
      assert.equal((await signIn(app, good)).status, 204);
    });

    test('fetches no keys for each token that names an unknown one', async () => {
      const before = issuer.fetches;
      for (let i = 0; i < 5; i += 1) await refused(app, await issuer.sign(issuer.claims(), { kid: randomUUID() }));
      assert.ok(issuer.fetches - before <= 1, `${issuer.fetches - before} fetches`);
    });

    test('refuses what another site could post, and bodies that have no token', async () => {
      const token = await issuer.sign(issuer.claims());
      assert.equal((await post(`${app.url}/session`, { token }, { 'Content-Type': 'text/plain' })).status, 415);
      for (const body of [{}, [], 1, null]) assert.ok([400, 401].includes((await post(`${app.url}/session`, body)).status), JSON.stringify(body));
      assert.ok([400, 413].includes((await post(`${app.url}/session`, { token: 'x'.repeat(100_000) })).status));
    });

    test('says 503 when the keys cannot be fetched', async () => {
      const gone = await Issuer.start();
      const alone = await start(command, gone);
      gone.close();
      await refused(alone, await gone.sign(gone.claims()), /keys cannot be fetched/, 503).finally(alone.close);
    });
  });
}

describe('the Node application with the SDK', () => {
  let app, authenticator;

  before(async () => {
    const tenant = await createTenant();
    authenticator = new Authenticator(tenant.origin);
    app = await start(APPLICATIONS.Node, tenant);
  });
  after(() => app?.close());

  const call = async (path, body = {}) => {
    const answer = await post(`${app.url}${path}`, body);
    return { status: answer.status, cookie: answer.headers.get('Set-Cookie'), body: answer.status === 204 ? undefined : await answer.json() };
  };

  test('makes an account and signs in to it', async () => {
    const options = await call('/registration/initialize', { username: 'ann' });
    const account = await call('/registration/finalize', authenticator.create(options.body));
    assert.deepEqual([account.status, account.cookie], [200, null]);
    const login = await call('/login/finalize', authenticator.get((await call('/login/initialize')).body));
    assert.equal(login.status, 204);
    assert.match(login.cookie, /; HttpOnly; Secure; SameSite=Lax/);
    const me = await fetch(`${app.url}/me`, { headers: { Cookie: login.cookie.split(';')[0] } });
    assert.equal((await me.json()).user_id, account.body.user_id);
  });

  test('passes a refusal on', async () => {
    const assertion = authenticator.get((await call('/login/initialize')).body);
    assertion.response.signature = Buffer.alloc(70).toString('base64url');
    const answer = await call('/login/finalize', assertion);
    assert.deepEqual([answer.status, answer.cookie, answer.body], [401, null, { error: 'failed to validate assertion' }]);
  });
});
