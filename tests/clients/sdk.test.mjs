// @teamhanko/passkeys-sdk from npm, unmodified: every call that it has, on a tenant for each signing algorithm that its users have.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { before, describe, test } from 'node:test';

import { tenant as connect } from '@teamhanko/passkeys-sdk';
import { createLocalJWKSet, jwtVerify } from 'jose';

import { Authenticator } from './support/authenticator.mjs';
import { createTenant, server } from './support/server.mjs';

// The names of an object's functions, however deep; `user` and `credential` make objects of calls.
function calls(object, path = '') {
  return Object.entries(object).flatMap(([name, value]) => {
    if (name === 'user' || name === 'credential') return calls(value('x'), `${path}${name}().`);
    return typeof value === 'function' ? [`${path}${name}`] : name === 'config' ? [] : calls(value, `${path}${name}.`);
  });
}

// A PasskeyError in the SDK's form around an answer of the contract's form.
const refusal = (status, title, details) => (error) => {
  assert.equal(error.constructor.name, 'PasskeyError');
  const expected = { title, details, status };
  assert.deepEqual(error.originalError, expected);
  assert.deepEqual(JSON.parse(error.message.replace(/^Request failed: /, '')), expected);
  return true;
};

for (const algorithm of ['ES256', 'RS256']) {
  describe(`the SDK with ${algorithm}`, () => {
    let tenant, sdk, authenticator;

    before(async () => {
      tenant = await createTenant({ algorithm });
      sdk = connect(tenant);
      authenticator = new Authenticator(tenant.origin);
    });

    // What a token says, after it was verified with the keys that the SDK fetched.
    async function verified(token, ceremony) {
      const { issuer, rpId } = tenant;
      const { payload, protectedHeader } = await jwtVerify(token, createLocalJWKSet(await sdk.jwks()), { issuer, audience: rpId });
      assert.equal(protectedHeader.alg, algorithm);
      assert.deepEqual(payload.aud, [rpId]);
      assert.equal(payload.exp, payload.iat + 300);
      assert.equal(payload.ceremony, ceremony);
      return payload;
    }

    async function register(userId, device = authenticator) {
      const options = await sdk.registration.initialize({ userId, username: `${userId}@example.org`, displayName: 'Ann' });
      const credential = device.create(options);
      return { credential, ...(await sdk.registration.finalize(credential)) };
    }

    test('has the calls that are tried here, and no others', () => {
      assert.deepEqual(calls(sdk), [
        'user().credentials',
        'user().mfa.registration.initialize',
        'user().mfa.registration.finalize',
        'user().mfa.login.initialize',
        'user().mfa.login.finalize',
        'jwks',
        'login.initialize',
        'login.finalize',
        'registration.initialize',
        'registration.finalize',
        'credential().remove',
      ]);
      assert.equal(sdk.config.tenantId, tenant.tenantId);
      assert.equal(sdk.config.baseUrl, `${server().url}/`);
    });

    test('registers, with the icon that it may send', async () => {
      const userId = randomUUID();
      const options = await sdk.registration.initialize({ userId, username: 'ann', displayName: 'Ann', icon: 'https://example.org/ann.png' });
      assert.equal(options.publicKey.rp.id, tenant.rpId);
      assert.deepEqual([options.publicKey.user.name, options.publicKey.user.displayName], ['ann', 'Ann']);
      assert.equal(Buffer.from(options.publicKey.user.id, 'base64url').toString(), userId);
      const credential = authenticator.create(options);
      const { token } = await sdk.registration.finalize(credential);
      const claims = await verified(token, 'registration');
      assert.deepEqual([claims.sub, claims.cred], [userId, credential.id]);
    });

    test('signs in', async () => {
      const userId = randomUUID();
      const { credential } = await register(userId);
      const options = await sdk.login.initialize();
      assert.equal(options.publicKey.rpId, tenant.rpId);
      assert.equal(options.publicKey.allowCredentials, undefined);
      const { token } = await sdk.login.finalize(authenticator.get(options));
      const claims = await verified(token, 'login');
      assert.deepEqual([claims.sub, claims.cred], [userId, credential.id]);
    });

    test('registers a second factor and signs in with it', async () => {
      const userId = randomUUID();
      await register(userId);
      const { mfa } = sdk.user(userId);
      const key = new Authenticator(tenant.origin);
      const credential = key.create(await mfa.registration.initialize({ username: 'ann', displayName: 'Ann', icon: 'https://example.org/a.png' }));
      const registered = await verified((await mfa.registration.finalize(credential)).token, 'mfa_registration');
      assert.deepEqual([registered.sub, registered.cred], [userId, credential.id]);

      const options = await mfa.login.initialize();
      assert.ok(options.publicKey.allowCredentials.some(({ id }) => id === credential.id));
      const used = await verified((await mfa.login.finalize(key.get(options))).token, 'mfa_login');
      assert.deepEqual([used.sub, used.cred], [userId, credential.id]);
      const kinds = (await sdk.user(userId).credentials()).map(({ id, is_mfa }) => [id === credential.id, is_mfa]);
      assert.deepEqual(kinds.sort(), [[false, false], [true, true]]);

      // It is no passkey: what it answers does not sign in.
      const login = await sdk.login.initialize();
      await assert.rejects(sdk.login.finalize(key.get(login)), (error) => error.originalError?.status === 401);
    });

    test('lists credentials and removes one', async () => {
      const userId = randomUUID();
      const first = (await register(userId)).credential;
      // Options exclude what the user has; another device has none of it.
      const second = (await register(userId, new Authenticator(tenant.origin))).credential;
      const listed = await sdk.user(userId).credentials();
      assert.deepEqual(listed.map(({ id }) => id), [second.id, first.id]);
      assert.deepEqual([listed[0].user_id, listed[0].attestation_type, listed[0].is_mfa], [userId, 'none', false]);

      await sdk.credential(first.id).remove();
      assert.deepEqual((await sdk.user(userId).credentials()).map(({ id }) => id), [second.id]);
      await assert.rejects(sdk.credential(first.id).remove(), refusal(404, `credential with id '${first.id}' not found`, ''));
      assert.deepEqual(await sdk.user(randomUUID()).credentials(), []);
    });

    test('fetches the keys that verify tokens', async () => {
      const { keys } = await sdk.jwks();
      assert.equal(keys.length, 1);
      assert.deepEqual([keys[0].alg, keys[0].use, keys[0].d], [algorithm, 'sig', undefined]);
      assert.match(keys[0].kid, /^[0-9a-f-]{36}$/);
    });

    test('reports what the server refused', async () => {
      const stranger = connect({ ...tenant, apiKey: `${'A'.repeat(86)}==` });
      const noKey = refusal(401, 'The api key is invalid', 'api keys needs to be an apiKey Header and 32 byte long');
      const user = stranger.user('u1');
      for (const call of [
        () => stranger.registration.initialize({ userId: 'u1', username: 'ann' }),
        () => user.credentials(),
        () => user.mfa.registration.initialize({ username: 'ann' }),
        () => user.mfa.registration.finalize({}),
        () => user.mfa.login.initialize(),
        () => user.mfa.login.finalize({}),
        () => stranger.credential('AAAA').remove(),
      ]) {
        await assert.rejects(call(), noKey);
      }
      await assert.rejects(
        sdk.registration.initialize({ userId: '', username: '' }),
        (error) => error.message.startsWith('Request failed: {') && error.originalError.title === 'unable to validate request',
      );
      await assert.rejects(connect({ ...tenant, tenantId: randomUUID() }).jwks(), refusal(404, 'tenant not found', ''));
      await assert.rejects(connect({ ...tenant, tenantId: 'x' }).jwks(), refusal(400, 'tenant_id must be a valid uuid4', ''));
      await assert.rejects(sdk.user('nobody').mfa.login.initialize(), (error) => error.originalError?.status === 404);
    });

    test('a ceremony is finished once', async () => {
      const userId = randomUUID();
      const options = await sdk.registration.initialize({ userId, username: 'ann' });
      const credential = authenticator.create(options);
      await sdk.registration.finalize(credential);
      const unknown = 'received challenge does not match with any stored one';
      await assert.rejects(sdk.registration.finalize(credential), refusal(400, unknown, ''));

      const assertion = authenticator.get(await sdk.login.initialize());
      await sdk.login.finalize(assertion);
      await assert.rejects(sdk.login.finalize(assertion), refusal(401, 'failed to get session data', unknown));
    });
  });
}
