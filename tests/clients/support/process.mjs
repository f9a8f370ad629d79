// Processes and waiting, without a sleep that is longer than it has to be.

const PATIENCE_MS = 30_000;

/** Waits until `condition` is true; an error of its counts as false. `failed` may return a reason to give up. */
export async function until(what, condition, failed = () => undefined) {
  const end = Date.now() + PATIENCE_MS;
  let last;
  for (;;) {
    try {
      if (await condition()) return;
    } catch (error) {
      last = error;
    }
    const reason = failed() ?? (Date.now() > end ? `not after ${PATIENCE_MS} ms: ${last ?? ''}` : undefined);
    if (reason) throw new Error(`${what}: ${reason}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Ends a child by its process id: asks, then insists. */
export async function stop(child, signal = 'SIGTERM') {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill(signal);
  const timer = setTimeout(() => child.kill('SIGKILL'), 10_000);
  await ended;
  clearTimeout(timer);
}

/** Sees to it that a child does not outlive this process, however that ends short of SIGKILL. */
export function endWith(child, signal = 'SIGTERM') {
  process.once('exit', () => child.kill(signal));
  if (!signals) for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(name, () => process.exit(1));
  signals = true;
}
let signals = false;
