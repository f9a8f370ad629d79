// A passkey server of the test's own, which serves keys and signs whatever it is told to: tokens that the real one never makes.

import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';

import { SignJWT, exportJWK, generateKeyPair } from 'jose';

export class Issuer {
  tenantId = randomUUID();
  rpId = 'app.example';
  /** How often its keys were fetched. */
  fetches = 0;
  #keys = {};

  static async start() {
    const issuer = new Issuer();
    for (const alg of ['ES256', 'RS256']) issuer.#keys[alg] = { kid: randomUUID(), ...(await generateKeyPair(alg)) };
    const published = Object.entries(issuer.#keys).map(async ([alg, { kid, publicKey }]) => ({ ...(await exportJWK(publicKey)), alg, kid, use: 'sig' }));
    issuer.jwks = { keys: await Promise.all(published) };
    issuer.server = createServer((request, response) => {
      const found = request.url === `/${issuer.tenantId}/.well-known/jwks.json`;
      issuer.fetches += 1;
      response.writeHead(found ? 200 : 404, { 'Content-Type': 'application/json' }).end(found ? JSON.stringify(issuer.jwks) : '{}');
    });
    await new Promise((resolve) => issuer.server.listen(0, '127.0.0.1', resolve));
    issuer.baseUrl = `http://localhost:${issuer.server.address().port}`;
    return issuer;
  }

  close() {
    this.server.closeAllConnections();
    this.server.close();
  }

  /** The claims of a good login token that was made at `now`, in seconds. */
  claims(now = Math.floor(Date.now() / 1000)) {
    const iss = `${this.baseUrl}/${this.tenantId}`;
    const proved = { amr: ['pop', 'user'], auth_time: now, uv: true, be: false, bs: false };
    return { iss, sub: 'u1', aud: [this.rpId], cred: 'AAAA', ceremony: 'login', iat: now, exp: now + 300, jti: randomUUID(), ...proved };
  }

  /** `claims` signed; with the wrong key, algorithm or header where the test wants that. A claim that is undefined is left out. */
  sign(claims, { alg = 'ES256', key = this.#keys[alg]?.privateKey, kid = this.#keys[alg]?.kid } = {}) {
    return new SignJWT(JSON.parse(JSON.stringify(claims))).setProtectedHeader({ alg, kid, typ: 'JWT' }).sign(key);
  }
}
