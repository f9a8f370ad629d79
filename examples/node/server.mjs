// An application's own server: passkeys by passkey-hsm, sessions by itself. See README.md.

import { randomBytes, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';

import { tenant } from '@teamhanko/passkeys-sdk';
import { createRemoteJWKSet, errors, jwtVerify } from 'jose';

const need = (name) => process.env[name] || fail(`${name} is not set`);
const [url, tenantId, rpId] = [need('PASSKEY_URL'), need('PASSKEY_TENANT'), need('PASSKEY_RP_ID')];
// Whoever has it speaks for the application: it never reaches a browser.
const passkeys = tenant({ baseUrl: url, tenantId, apiKey: need('PASSKEY_API_KEY') });
const issuer = `${url}/${tenantId}`;
// Cached; fetched again when a token names a key that is not there, but not for every such token.
const keys = createRemoteJWKSet(new URL(`${issuer}/.well-known/jwks.json`));

// In memory: an application has a database for these.
const [users, sessions, usedTokens] = [new Map(), new Map(), new Map()];
const SESSION_SECONDS = 3600;

class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

// The claims of a token that this tenant made for this application, of this ceremony, and that was not seen before.
async function verify(token, ceremony) {
  const algorithms = ['ES256', 'ES384', 'RS256', 'PS256', 'EdDSA'];
  const rules = { issuer, audience: rpId, algorithms, clockTolerance: 5, requiredClaims: ['exp', 'sub', 'cred', 'jti'] };
  const { payload } = await jwtVerify(token, keys, rules).catch((error) => {
    // Keys that cannot be fetched say nothing about the token.
    const ours = error instanceof errors.JOSEError && !(error instanceof errors.JWKSTimeout) && error.code !== 'ERR_JOSE_GENERIC';
    throw ours ? new Refused(401, `the token is refused: ${error.message}`) : new Refused(503, 'the keys cannot be fetched');
  });
  // A token of a registration, a second factor or a transaction is as well signed as a login's, and signs nobody in.
  if (payload.ceremony !== ceremony) throw new Refused(401, `the token is of a ${payload.ceremony}, not of a ${ceremony}`);
  const now = Date.now() / 1000;
  for (const [id, exp] of usedTokens) if (exp + 5 < now) usedTokens.delete(id);
  if (usedTokens.has(payload.jti)) throw new Refused(401, 'the token was used before');
  usedTokens.set(payload.jti, payload.exp);
  return payload;
}

async function signIn(token, response) {
  const { sub, cred } = await verify(token, 'login');
  const id = randomBytes(32).toString('base64url');
  sessions.set(id, { user_id: sub, credential_id: cred, until: Date.now() + SESSION_SECONDS * 1000 });
  response.setHeader('Set-Cookie', `session=${id}; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=${SESSION_SECONDS}`);
}

const routes = {
  // The browser talked to passkey-hsm itself, and brings the token.
  'POST /session': async ({ token }, _, response) => signIn(String(token), response),
  // Or every step goes through this server.
  'POST /login/initialize': () => passkeys.login.initialize(),
  'POST /login/finalize': async (credential, _, response) => signIn((await passkeys.login.finalize(credential)).token, response),
  // A new account. The passkey belongs to it once the token says so.
  'POST /registration/initialize': ({ username }) => {
    if (typeof username !== 'string' || !username) throw new Refused(400, 'a username is needed');
    return passkeys.registration.initialize({ userId: randomUUID(), username });
  },
  'POST /registration/finalize': async (credential) => {
    const { sub } = await verify((await passkeys.registration.finalize(credential)).token, 'registration');
    users.set(sub, { createdAt: new Date() });
    return { user_id: sub };
  },
  'GET /me': (_, request) => {
    const session = sessions.get(/(?:^|; )session=([\w-]+)/.exec(request.headers.cookie ?? '')?.[1]);
    if (!session || session.until < Date.now()) throw new Refused(401, 'not signed in');
    return { user_id: session.user_id, credential_id: session.credential_id };
  },
};

async function json(request) {
  if (request.method !== 'POST') return {};
  // A form of another site can post text, and cannot post JSON.
  if (!/^application\/json\b/.test(request.headers['content-type'] ?? '')) throw new Refused(415, 'JSON is needed');
  let text = '';
  for await (const chunk of request.setEncoding('utf8')) {
    text += chunk;
    if (text.length > 65536) throw new Refused(413, 'the body is too long');
  }
  try {
    return Object(JSON.parse(text || '{}'));
  } catch {
    throw new Refused(400, 'the body is not JSON');
  }
}

const server = createServer(async (request, response) => {
  let status = 200;
  let body;
  try {
    const route = routes[`${request.method} ${request.url}`];
    if (!route) throw new Refused(404, 'there is nothing here');
    body = await route(await json(request), request, response);
    if (body === undefined) status = 204;
  } catch (error) {
    // What passkey-hsm refused is in `originalError`, with a status of its own.
    status = error.status ?? error.originalError?.status ?? 502;
    body = { error: error.originalError?.title ?? (error.status ? error.message : 'passkey-hsm does not answer') };
  }
  response.writeHead(status, { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' });
  response.end(body && JSON.stringify(body));
});
server.listen(Number(process.env.PORT ?? 3000), '127.0.0.1', () => console.log(`listening on http://localhost:${server.address().port}`));

function fail(message) {
  console.error(message);
  process.exit(2);
}
