// The real program on SoftHSM2 and SQLite, with everything it owns in one temporary directory.

import { execFile, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { stop, until } from './process.mjs';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const run = promisify(execFile);
// What the program needs is in its configuration file; nobody's own PASSKEY_HSM_* gets in.
const env = { PATH: process.env.PATH };

/** Starts a server. Resolves to what tests need of it, as plain JSON, and to `close`, which ends it and removes what it had. */
export async function startServer(program) {
  // In memory where there is a place for that: SoftHSM2 syncs every file of a key.
  const directory = await mkdtemp(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'passkey-hsm-clients-'));
  const config = join(directory, 'passkey-hsm.toml');
  const log = [];
  let child;
  const close = async () => {
    if (child) await stop(child);
    await rm(directory, { recursive: true, force: true });
  };
  try {
    await run(join(root, 'softhsm-setup.sh'), ['--token-dir', directory]);
    const url = `http://localhost:${await freePort()}`;
    await configure(config, url);
    await run(program, ['--config', config, 'migrate'], { env });
    const ready = join(directory, 'ready.json');
    child = spawn(program, ['--config', config, 'serve', '--ready-file', ready], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => log.push(data));
    const gone = () => (child.exitCode === null ? undefined : `the server ended: ${Buffer.concat(log)}`);
    await until('the server listens', () => existsSync(ready), gone);
    const { admin } = JSON.parse(await readFile(ready, 'utf8'));
    await until('the server is ready', async () => (await fetch(`http://${admin}/health/ready`)).ok, gone);
    return { info: { url, program, config }, close, log: () => Buffer.concat(log).toString() };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Replaces the addresses that softhsm-setup.sh wrote: the issuer of tokens is known before the port is open. */
async function configure(file, url) {
  const written = await readFile(file, 'utf8');
  const http = `public_url = "${url}"\npublic_address = "127.0.0.1:${new URL(url).port}"\nadmin_address = "127.0.0.1:0"`;
  const configured = written.replace(/^public_url = .*$/m, http);
  if (configured === written) throw new Error(`${file} has no public_url`);
  await writeFile(file, `${configured}\n[log]\nformat = "json"\n`);
}

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/** The server that `run.mjs` started for this test file. */
export function server() {
  const { CLIENTS_SERVER: info } = process.env;
  if (!info) throw new Error('these tests are run by tests/clients/run.sh');
  return JSON.parse(info);
}

/** A new tenant whose ceremonies take place at `origin`. Resolves to its `baseUrl`, `tenantId`, `apiKey`, `rpId`, `origin`, `issuer`. */
export async function createTenant({ algorithm = 'ES256', origin = 'http://localhost:8000', rpId = 'localhost' } = {}) {
  const { url, program, config } = server();
  const options = ['--name', `Clients ${algorithm}`, '--rp-id', rpId, '--origin', origin, '--algorithm', algorithm, '--rsa-bits', '2048'];
  if (algorithm !== 'RS256') options.splice(-2);
  const { stdout } = await run(program, ['--config', config, '--json', 'tenant', 'create', ...options], { env });
  const made = JSON.parse(stdout);
  return { baseUrl: url, tenantId: made.id, apiKey: made.api_key.secret, rpId, origin, issuer: `${url}/${made.id}` };
}
