// Starts the real server, runs the tests against it, ends it: node run.mjs PROGRAM [TEST..]. Use run.sh, which installs what this needs.

import { spawn } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

import { stop } from './support/process.mjs';
import { startServer } from './support/server.mjs';

const here = fileURLToPath(new URL('./', import.meta.url));
const [program, ...wanted] = process.argv.slice(2);
const all = (await readdir(here)).filter((name) => name.endsWith('.test.mjs'));
const files = all.filter((name) => !wanted.length || wanted.includes(name.replace('.test.mjs', '')));
if (!files.length) throw new Error(`no such test; there are ${all.map((name) => name.replace('.test.mjs', '')).join(', ')}`);

const server = await startServer(program);
let tests;
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => tests && stop(tests));
try {
  const env = { ...process.env, CLIENTS_SERVER: JSON.stringify(server.info) };
  tests = spawn(process.execPath, ['--test', '--test-reporter=spec', ...files.map((name) => here + name)], { env, stdio: 'inherit' });
  const status = await new Promise((resolve) => tests.once('exit', resolve));
  process.exitCode = status === 0 ? 0 : 1;
  const faults = server.log().split('\n').filter((line) => /"level":"ERROR"/.test(line));
  if (faults.length) {
    console.error(`the server logged errors:\n${faults.slice(0, 20).join('\n')}`);
    process.exitCode = 1;
  }
} finally {
  await server.close();
}
