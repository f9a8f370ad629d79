// The real program on SoftHSM2, with everything it owns in one temporary directory.

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

/** Starts a server on SQLite. Resolves to what tests need of it, as plain JSON, and to `close`, which ends it and removes what it had. */
export async function startServer(program) {
  const { servers, close, log } = await startServers(program, { scheduler: 'off' });
  const [{ url, config }] = servers;
  return { info: { url, program, config }, close, log };
}

/**
 * Starts `count` servers with one token and one database: SQLite, or the one at `database`. They are known by one `public_url`, the first one's.
 * Resolves to `servers`, each with its `url` and `config`, to `log` and to `close`.
 */
export async function startServers(program, { count = 1, database, scheduler = 'on' } = {}) {
  // In memory where there is a place for that: SoftHSM2 syncs every file of a key.
  const directory = await mkdtemp(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'passkey-hsm-clients-'));
  const log = [];
  const servers = [];
  const close = async () => {
    await Promise.all(servers.map(({ child }) => child && stop(child)));
    await rm(directory, { recursive: true, force: true });
  };
  try {
    await run(join(root, 'softhsm-setup.sh'), ['--token-dir', directory]);
    const written = await readFile(join(directory, 'passkey-hsm.toml'), 'utf8');
    for (let number = 0; number < count; number += 1) {
      const config = join(directory, `server-${number}.toml`);
      const url = `http://localhost:${await freePort()}`;
      await writeFile(config, configured(written, { url, issuer: servers[0]?.url ?? url, database, scheduler, socket: join(directory, `${number}.sock`) }));
      if (number === 0) await run(program, ['--config', config, 'migrate'], { env });
      servers.push({ url, config });
      await launch(program, servers[number], join(directory, `ready-${number}.json`), log);
    }
    return { servers, close, log: () => Buffer.concat(log).toString() };
  } catch (error) {
    await close();
    throw error;
  }
}

async function launch(program, server, ready, log) {
  const child = spawn(program, ['--config', server.config, 'serve', '--ready-file', ready], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  server.child = child;
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => log.push(data));
  const gone = () => (child.exitCode === null ? undefined : `the server ended: ${Buffer.concat(log)}`);
  await until('the server listens', () => existsSync(ready), gone);
  const { admin } = JSON.parse(await readFile(ready, 'utf8'));
  await until('the server is ready', async () => (await fetch(`http://${admin}/health/ready`)).ok, gone);
}

/** Replaces the addresses that softhsm-setup.sh wrote: the issuer of tokens is known before the port is open. */
function configured(written, { url, issuer, database, scheduler, socket }) {
  const http = `public_url = "${issuer}"\npublic_address = "127.0.0.1:${new URL(url).port}"\nadmin_address = "127.0.0.1:0"`;
  let text = replaced(written, /^public_url = .*$/m, http);
  if (database) text = replaced(text, /^url = .*$/m, `url = "${database}"`);
  return `${text}\n[admin]\nsocket = "${socket}"\n[keys]\nscheduler = "${scheduler}"\n[log]\nformat = "json"\n`;
}

function replaced(text, line, by) {
  if (!line.test(text)) throw new Error(`the configuration of softhsm-setup.sh has no line ${line}`);
  return text.replace(line, () => by);
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

/** Runs a command of the program, and resolves to the JSON that it printed. */
export async function command(program, config, ...args) {
  const { stdout } = await run(program, ['--config', config, '--json', ...args], { env });
  return JSON.parse(stdout);
}

/** A new tenant whose ceremonies take place at `origin`. Resolves to its `baseUrl`, `tenantId`, `apiKey`, `rpId`, `origin`, `issuer`. */
export async function createTenant({ algorithm = 'ES256', origin = 'http://localhost:8000', rpId = 'localhost' } = {}) {
  const { url, program, config } = server();
  const options = ['--name', `Clients ${algorithm}`, '--rp-id', rpId, '--origin', origin, '--algorithm', algorithm, '--rsa-bits', '2048'];
  if (algorithm !== 'RS256') options.splice(-2);
  const made = await command(program, config, 'tenant', 'create', ...options);
  return { baseUrl: url, tenantId: made.id, apiKey: made.api_key.secret, rpId, origin, issuer: `${url}/${made.id}` };
}
