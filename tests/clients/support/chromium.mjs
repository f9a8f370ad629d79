// Headless Chromium with virtual authenticators, over the Chrome DevTools Protocol on a pipe: no driver, no WebSocket, no open port.

import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { until } from './process.mjs';

const FLAGS = [
  '--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-dev-shm-usage --disable-background-networking',
  '--disable-component-update --disable-sync --disable-extensions --remote-debugging-pipe',
].flatMap((line) => line.split(' '));

export class Chromium {
  #last = 0;
  #pending = new Map();
  #listeners = [];

  static async launch() {
    const browser = new Chromium();
    browser.profile = await mkdtemp(join(tmpdir(), 'passkey-hsm-chromium-'));
    // A process group of its own: the program is often a script around the browser.
    browser.child = spawn(process.env.CHROMIUM ?? '/usr/bin/chromium', [...FLAGS, `--user-data-dir=${browser.profile}`, 'about:blank'], {
      detached: true,
      stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
    });
    browser.child.once('exit', () => browser.#end(new Error('the browser is gone')));
    browser.child.once('error', (error) => browser.#end(error));
    browser.child.stdio[3].on('error', () => {});
    browser.#read(browser.child.stdio[4]);
    await browser.call('Browser.getVersion');
    return browser;
  }

  async close() {
    const gone = new Promise((resolve) => this.child.once('exit', resolve));
    if (this.child.exitCode === null && this.child.signalCode === null) {
      process.kill(-this.child.pid, 'SIGKILL');
      await gone;
    }
    await rm(this.profile, { recursive: true, force: true, maxRetries: 5 });
  }

  /** One command and its result. */
  call(method, params = {}, sessionId = undefined) {
    this.#last += 1;
    const id = this.#last;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { method, resolve, reject });
      this.child.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    });
  }

  /** A fresh tab with cookies of its own. */
  async page() {
    const { browserContextId } = await this.call('Target.createBrowserContext', { disposeOnDetach: true });
    const { targetId } = await this.call('Target.createTarget', { url: 'about:blank', browserContextId });
    const { sessionId } = await this.call('Target.attachToTarget', { targetId, flatten: true });
    const page = new Page((method, params) => this.call(method, params, sessionId));
    this.#listeners.push((message) => message.sessionId === sessionId && page.heard(message));
    for (const domain of ['Page', 'Runtime', 'Log']) await page.call(`${domain}.enable`);
    return page;
  }

  #read(stream) {
    let rest = '';
    stream.setEncoding('utf8').on('data', (data) => {
      const messages = (rest + data).split('\0');
      rest = messages.pop();
      messages.forEach((message) => this.#heard(JSON.parse(message)));
    });
  }

  #heard(message) {
    const waiting = this.#pending.get(message.id);
    if (!waiting) return this.#listeners.forEach((listener) => listener(message));
    this.#pending.delete(message.id);
    if (message.error) waiting.reject(new Error(`${waiting.method}: ${message.error.message}`));
    else waiting.resolve(message.result);
  }

  #end(error) {
    this.#pending.forEach(({ reject }) => reject(error));
    this.#pending.clear();
  }
}

class Page {
  /** Exceptions that nothing caught, and errors in the console. */
  complaints = [];

  constructor(call) {
    this.call = call;
  }

  heard({ method, params }) {
    if (method === 'Runtime.exceptionThrown') this.complaints.push(params.exceptionDetails.exception?.description ?? params.exceptionDetails.text);
    if (method === 'Log.entryAdded' && params.entry.level === 'error') this.complaints.push(params.entry.text);
  }

  /** A platform authenticator with resident keys, whose user always agrees. */
  async addAuthenticator() {
    await this.call('WebAuthn.enable');
    const can = { hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true };
    const options = { protocol: 'ctap2', ctap2Version: 'ctap2_1', transport: 'internal', ...can };
    return (await this.call('WebAuthn.addVirtualAuthenticator', { options })).authenticatorId;
  }

  async navigate(url) {
    const { errorText } = await this.call('Page.navigate', { url });
    if (errorText) throw new Error(`${url}: ${errorText}`);
    await this.waitFor('document.readyState === "complete"');
  }

  /** The value of an expression, awaited if it is a promise. */
  async evaluate(expression) {
    const options = { expression, awaitPromise: true, returnByValue: true, userGesture: true };
    const { result, exceptionDetails } = await this.call('Runtime.evaluate', options);
    if (exceptionDetails) throw new Error(`${expression}: ${exceptionDetails.exception?.description ?? exceptionDetails.text}`);
    return result.value;
  }

  waitFor(condition) {
    return until(condition, () => this.evaluate(`Boolean(${condition})`));
  }
}
