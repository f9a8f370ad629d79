// A PostgreSQL server for one test file: in a temporary directory, reached through a Unix socket in it.

import { execFile, spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { chown, mkdtemp, readFile, rm } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';

import { endWith, stop, until } from './process.mjs';

const run = promisify(execFile);
// Whom the server runs as when the tests run as root, which PostgreSQL refuses: nobody.
const NOBODY = 65534;

/** Starts a server. Resolves to the `url` of its database and to `close`, which ends it and removes what it had. */
export async function startPostgres() {
  // Short, because the name of a Unix socket has at most 107 bytes.
  const directory = await mkdtemp('/tmp/pkhsm-pg.');
  const data = join(directory, 'data');
  const root = process.getuid() === 0;
  if (root) await chown(directory, NOBODY, NOBODY);
  const options = { cwd: '/', ...(root && { uid: NOBODY, gid: NOBODY }) };
  let child;
  const close = async () => {
    if (child) await stop(child, 'SIGQUIT');
    await rm(directory, { recursive: true, force: true });
  };
  try {
    const bin = binaries();
    await run(join(bin, 'initdb'), ['-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync', '-D', data], options);
    const settings = ['listen_addresses=', 'shared_buffers=32MB', `unix_socket_directories=${directory}`].flatMap((line) => ['-c', line]);
    child = spawn(join(bin, 'postgres'), ['-D', data, ...settings], { ...options, stdio: 'ignore' });
    endWith(child, 'SIGQUIT');
    const gone = () => (child.exitCode === null ? undefined : 'it ended');
    // The last word of this file says whether connections are accepted.
    const ready = async () => (await readFile(join(data, 'postmaster.pid'), 'utf8')).trimEnd().endsWith('ready');
    await until('PostgreSQL is ready', ready, gone);
    return { url: `postgres://postgres@localhost/postgres?host=${directory}`, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The directory of the server's programs: POSTGRES_BIN, else the newest of Debian's, else where PATH says. */
function binaries() {
  const debian = '/usr/lib/postgresql';
  const versions = existsSync(debian) ? readdirSync(debian).sort((a, b) => Number(b) - Number(a)) : [];
  const all = [process.env.POSTGRES_BIN, ...versions.map((version) => join(debian, version, 'bin')), ...(process.env.PATH ?? '').split(delimiter)];
  const found = all.find((directory) => directory && existsSync(join(directory, 'initdb')));
  if (!found) throw new Error('install the package postgresql, or set POSTGRES_BIN to the directory of initdb');
  return found;
}
