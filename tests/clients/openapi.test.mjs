// Schemathesis reads /openapi.json and tries what it says, and what it does not: no answer of 5xx, and none that the document does not know.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';

import { tenant as connect } from '@teamhanko/passkeys-sdk';

import { Authenticator } from './support/authenticator.mjs';
import { createTenant, server } from './support/server.mjs';

const CHECKS = [
  'not_a_server_error',
  'status_code_conformance',
  'content_type_conformance',
  'response_headers_conformance',
  'response_schema_conformance',
  'ignored_auth',
  'use_after_free',
  'negative_data_rejection',
].join();

// One thread: Python 3.11 and before sometimes fail to parse in two at once (cpython#106905), which hypothesis does.
const OPTIONS = ['--checks', CHECKS, '--seed', '1', '--generation-deterministic', '--no-color', '--workers', '1'];

/** Runs schemathesis in a folder of its own; `parameters` are those that are given and not made up. Fails with its words. */
async function schemathesis(parameters, headers, ...more) {
  const folder = await mkdtemp(join(tmpdir(), 'passkey-hsm-schemathesis-'));
  const lines = Object.entries(parameters).map(([name, value]) => `${JSON.stringify(name)} = ${JSON.stringify(value)}`);
  await writeFile(join(folder, 'schemathesis.toml'), `[parameters]\n${lines.join('\n')}\n`);
  const arguments_ = ['run', `${server().url}/openapi.json`, ...OPTIONS, ...headers.flatMap((header) => ['--header', header]), ...more];
  const child = spawn(process.env.CLIENTS_SCHEMATHESIS, arguments_, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (output += text));
  const status = await new Promise((resolve, reject) => child.once('error', reject).once('close', resolve));
  await rm(folder, { recursive: true, force: true });
  assert.equal(status, 0, output);
  // A document that says nothing is kept easily.
  assert.ok(Number(/(\d+) generated/.exec(output)?.[1]) > 200, output);
}

describe('the OpenAPI document, as schemathesis reads it', { timeout: 150_000 }, () => {
  let tenant;

  before(async () => {
    tenant = await createTenant();
  });

  test('holds with an API key', async () => {
    await schemathesis({ tenant_id: tenant.tenantId }, [`apiKey: ${tenant.apiKey}`], '--max-examples', '15');
  });

  test('holds without one', async () => {
    await schemathesis({ tenant_id: tenant.tenantId }, [], '--phases', 'examples,coverage');
  });

  test('holds for a user and a credential that exist', async () => {
    const api = connect(tenant);
    const credential = new Authenticator(tenant.origin).create(await api.registration.initialize({ userId: 'u1', username: 'ann' }));
    await api.registration.finalize(credential);
    const known = { tenant_id: tenant.tenantId, user_id: 'u1', credential_id: credential.id, id: credential.id };
    // A credential that was deleted first would leave nothing to be found.
    await schemathesis(known, [`apiKey: ${tenant.apiKey}`], '--phases', 'examples,coverage', '--exclude-method', 'DELETE');
  });
});
