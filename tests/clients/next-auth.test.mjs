// @teamhanko/passkeys-next-auth-provider from npm, unmodified: `authorize`, called as Auth.js calls it, with keys through jose's createRemoteJWKSet.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { before, describe, test } from 'node:test';

import Passkeys, { ErrorCode, tenant as connect } from '@teamhanko/passkeys-next-auth-provider';

import { Authenticator } from './support/authenticator.mjs';
import { createTenant } from './support/server.mjs';

for (const algorithm of ['ES256', 'RS256']) {
  describe(`the Auth.js provider with ${algorithm}`, () => {
    const userId = randomUUID();
    let tenant, api, authenticator;

    before(async () => {
      tenant = await createTenant({ algorithm });
      api = connect(tenant);
      authenticator = new Authenticator(tenant.origin);
      await api.registration.finalize(authenticator.create(await api.registration.initialize({ userId, username: 'ann' })));
    });

    const login = async () => (await api.login.finalize(authenticator.get(await api.login.initialize()))).token;

    test('authorizes with a login token', async () => {
      assert.deepEqual(await Passkeys({ tenant: api }).authorize({ finalizeJWT: await login() }), { id: userId });
    });

    test('hands the claims to the application', async () => {
      const authorize = ({ userId: id, token }) => ({ id, ceremony: token.ceremony, audience: token.aud });
      const user = await Passkeys({ tenant: api, authorize }).authorize({ finalizeJWT: await login() });
      assert.deepEqual(user, { id: userId, ceremony: 'login', audience: ['localhost'] });
    });

    test('refuses a token of another tenant, and one that was changed', async () => {
      const failed = (error) => error.code === ErrorCode.JWTVerificationFailed;
      const other = connect(await createTenant({ algorithm }));
      const token = await login();
      await assert.rejects(Passkeys({ tenant: other }).authorize({ finalizeJWT: token }), failed);
      const [header, claims, signature] = token.split('.');
      const changed = Buffer.from(JSON.stringify({ ...JSON.parse(Buffer.from(claims, 'base64url')), sub: 'eve' })).toString('base64url');
      await assert.rejects(Passkeys({ tenant: api }).authorize({ finalizeJWT: `${header}.${changed}.${signature}` }), failed);
    });
  });
}
