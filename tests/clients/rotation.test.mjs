// Rotation under load: two server processes on PostgreSQL, logins through both, and every token verified with jose's createRemoteJWKSet, which is
// told to keep a JWKS for as long as we say (max-age) and never to look again for a kid that it does not know: so each token that is signed too
// early after its key's publication, or whose key is gone too early, fails.

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { tenant as connect } from '@teamhanko/passkeys-sdk';
import { createRemoteJWKSet, decodeProtectedHeader, jwtVerify } from 'jose';

import { Authenticator } from './support/authenticator.mjs';
import { startPostgres } from './support/postgres.mjs';
import { endWith, until } from './support/process.mjs';
import { command, server, startServers } from './support/server.mjs';

const { program } = server();
const ORIGIN = 'http://localhost:8000';
const RP_ID = 'localhost';
// As short as they may be for these lengths: R = lifetime + max-age + skew, P = 2 x max-age, T = P + R.
const SHORT = { jwks_max_age_seconds: 1, token_lifetime_seconds: 3, clock_skew_seconds: 1, publication_seconds: 2, retirement_seconds: 5 };
const ROTATING = { ...SHORT, period_seconds: 7, rollback_seconds: 0 };
// Tokens outlive a cached JWKS here, so that what ends their acceptance is the JWKS.
const LASTING = { jwks_max_age_seconds: 5, token_lifetime_seconds: 60, clock_skew_seconds: 0, publication_seconds: 10, retirement_seconds: 65 };
const EXPOSED = { ...LASTING, period_seconds: null, rollback_seconds: 0 };
const WORKERS = 2;
const PAUSE_MS = 40;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

let postgres, deployment;

before(async () => {
  postgres = await startPostgres();
  deployment = await startServers(program, { count: 2, database: postgres.url });
  deployment.servers.forEach(({ child }) => endWith(child));
});

after(async () => {
  await deployment?.close();
  await postgres?.close();
});

/** A command at one of the servers. */
const at = (number, ...args) => command(program, deployment.servers[number].config, ...args);

/** A tenant with this key policy, as each server shows it. */
async function tenantWith(keys) {
  const file = join(dirname(deployment.servers[0].config), `tenant-${keys.token_lifetime_seconds}.json`);
  const relying_party = { id: RP_ID, display_name: 'Example', origins: [ORIGIN] };
  const webauthn = { relying_party, timeout: 60000, user_verification: 'preferred', attestation_preference: 'none', resident_key_requirement: 'required' };
  await writeFile(file, JSON.stringify({ cors: { allowed_origins: [ORIGIN], allow_unsafe_wildcard: false }, webauthn, settings: { keys } }));
  const made = await at(0, 'tenant', 'create', '--name', 'Rotation', '--tenant-config', file);
  const views = deployment.servers.map(({ url }) => ({ url, api: connect({ baseUrl: url, tenantId: made.id, apiKey: made.api_key.secret }) }));
  return { id: made.id, keys, views };
}

/** A user with a passkey, who signs in at `view`. */
async function user({ view, name }) {
  const device = new Authenticator(ORIGIN);
  await view.api.registration.finalize(device.create(await view.api.registration.initialize({ userId: name, username: name })));
  return async () => (await view.api.login.finalize(device.get(await view.api.login.initialize()))).token;
}

/** An application's own view of a tenant's keys, fetched from one server and kept for max-age. */
function verifier(tenant, view) {
  const url = new URL(`${view.url}/${tenant.id}/.well-known/jwks.json`);
  const jwks = createRemoteJWKSet(url, { cacheMaxAge: tenant.keys.jwks_max_age_seconds * 1000, cooldownDuration: Infinity });
  const expected = { audience: RP_ID, clockTolerance: tenant.keys.clock_skew_seconds };
  const verify = async (token) => (await jwtVerify(token, jwks, expected)).payload;
  return Object.assign(verify, { reload: jwks.reload });
}

/** Logins through both servers until it is stopped, each token verified at once by every verifier, and by every one again late in its life. */
class Load {
  failures = [];
  logins = 0;
  verified = 0;
  /** The keys that have signed, in their order, with the instants of their first and last token. */
  keys = new Map();
  #running = true;

  constructor(tenant) {
    this.tenant = tenant;
    this.verifiers = tenant.views.flatMap((view) => [verifier(tenant, view), verifier(tenant, view)]);
  }

  async start() {
    const workers = this.tenant.views.flatMap((view, n) => Array.from({ length: WORKERS }, (_, m) => user({ view, name: `user-${n}-${m}` })));
    this.done = Promise.all((await Promise.all(workers)).map((login) => this.#work(login)));
  }

  async stop() {
    this.#running = false;
    await this.done;
  }

  async #work(login) {
    const late = [];
    while (this.#running) {
      try {
        const token = await login();
        this.logins += 1;
        const { kid } = decodeProtectedHeader(token);
        const seen = this.keys.get(kid) ?? { first: Date.now() };
        this.keys.set(kid, { ...seen, last: Date.now() });
        await this.#verify(token, 'at once');
        late.push(pause(this.tenant.keys.token_lifetime_seconds * 1000 - 1000).then(() => this.#verify(token, 'late')));
      } catch (error) {
        this.#failed('a login', error);
      }
      await pause(PAUSE_MS);
    }
    await Promise.all(late);
  }

  async #verify(token, when) {
    const verify = async (verifier) => {
      try {
        await verifier(token);
        this.verified += 1;
      } catch (error) {
        this.#failed(`a token of ${decodeProtectedHeader(token).kid}, verified ${when}`, error);
      }
    };
    await Promise.all(this.verifiers.map(verify));
  }

  #failed(what, error) {
    this.failures.push(`${new Date().toISOString()} ${what}: ${error?.message ?? error}`);
  }
}

/** Waits until the tenant has a standby that may sign. */
async function standby(tenant) {
  await until('there is a standby', async () => {
    const keys = await at(0, 'key', 'list', tenant.id);
    return keys.some((key) => key.state === 'published' && Date.parse(key.usable_from) < Date.now());
  });
}

async function timed(work) {
  const start = Date.now();
  await work();
  return Date.now() - start;
}

describe('rotation under load, through two servers on PostgreSQL', () => {
  let tenant, exposed, load;

  before(async () => {
    tenant = await tenantWith(ROTATING);
    // Made now, so that its standby is old enough when its turn comes.
    exposed = await tenantWith(EXPOSED);
    load = new Load(tenant);
    await load.start();
  });

  const rotated = (times) => until(`${times} rotations`, () => load.keys.size > times);

  test('keys replace one another by themselves, and by command at either server', async (t) => {
    for (const times of [1, 2, 3]) await rotated(times);
    for (const number of [0, 1, 0, 1]) {
      await standby(tenant);
      const before = load.keys.size;
      await at(number, 'key', 'rotate', tenant.id, '--reason', 'by command');
      await until('the new key signs', () => load.keys.size > before);
    }
    assert.deepEqual(load.failures, []);
    t.diagnostic(`${load.keys.size - 1} rotations, ${load.logins} logins, ${load.verified} verifications, none failed`);
  });

  test('an emergency rotation is immediate, and breaks nothing either', async (t) => {
    await standby(tenant);
    const [old] = [...load.keys.keys()].slice(-1);
    const start = Date.now();
    const took = await timed(() => at(0, 'key', 'rotate', tenant.id, '--emergency', '--yes', '--reason', 'drill'));
    await until('the standby signs', () => load.keys.size && [...load.keys.keys()].slice(-1)[0] !== old);
    const [next] = [...load.keys.values()].slice(-1);
    // Tokens of the old key are good still: the last verifications are awaited.
    await load.stop();
    assert.deepEqual(load.failures, []);
    t.diagnostic(`emergency rotation: the command took ${took} ms; the new key's first token came ${next.first - start} ms after its start`);
    t.diagnostic(`the old key's last token came ${load.keys.get(old).last - start} ms after it`);
    t.diagnostic(`in all ${load.keys.size - 1} rotations, ${load.logins} logins, ${load.verified} verifications, none failed`);
  });

  test('a compromised key is accepted for max-age at most', async (t) => {
    const logins = await Promise.all(exposed.views.map((view, n) => user({ view, name: `exposed-${n}` })));
    await standby(exposed);
    const token = await logins[0]();
    const { kid } = decodeProtectedHeader(token);
    const full = exposed.views.map((view) => verifier(exposed, view));
    const fresh = exposed.views.map((view) => () => verifier(exposed, view)(token));
    // As bad as it gets: the caches are filled right before.
    await Promise.all(full.map((verify) => verify.reload()));
    const watched = [...fresh, ...full.map((verify) => () => verify(token))].map(lastAccepted);
    const start = Date.now();
    const took = await timed(() => at(1, 'key', 'compromise', kid, '--yes', '--reason', 'drill'));
    const tokens = await Promise.all(logins.map((login) => login()));
    for (const next of tokens) {
      assert.notEqual(decodeProtectedHeader(next).kid, kid, 'the distrusted key still signs');
      // The standby was published long ago: caches have it.
      await Promise.all(full.map((verify) => verify(next)));
    }
    const ends = (await Promise.all(watched)).map((end) => end - start);
    const [freshest, fullest] = [Math.max(...ends.slice(0, 2)), Math.max(...ends.slice(2))];
    const maxAge = exposed.keys.jwks_max_age_seconds * 1000;
    t.diagnostic(`compromise: the command took ${took} ms; tokens of the key were accepted for ${freshest} ms after its start by verifiers without`);
    t.diagnostic(`a cache, and for ${fullest} ms by verifiers that had filled theirs (max-age ${maxAge} ms) right before it`);
    assert.ok(freshest <= took, `a verifier without a cache accepted the key ${freshest - took} ms after the command had ended`);
    assert.ok(fullest <= maxAge, `a verifier with a cache accepted the key after ${fullest} ms`);
    const said = await at(0, 'key', 'show', kid);
    assert.equal(said.state, 'compromised');
  });

  test('the servers logged no error', () => {
    assert.deepEqual(deployment.log().split('\n').filter((line) => /"level":"ERROR"/.test(line)), []);
  });
});

/** Tries until it fails because the key is not in the JWKS; the instant of the last success. */
async function lastAccepted(verify) {
  let last = 0;
  for (;;) {
    const begun = Date.now();
    try {
      await verify();
      last = begun;
    } catch (error) {
      assert.equal(error.code, 'ERR_JWKS_NO_MATCHING_KEY', error.message);
      return last;
    }
    await pause(5);
  }
}
