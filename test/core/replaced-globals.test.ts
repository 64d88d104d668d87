/**
 * Test environments put timers of their own in the place of the host's (faked timers), or a browser's (jsdom): before the library is loaded or
 * after, for good or for a while.
 */
import { execFile } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { mpsc, Semaphore, SimulatedClock, select, sleep } from '../../src/channels/index.js';

const dist = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../dist');
const urlOf = (file: string): string => JSON.stringify(pathToFileURL(path.join(dist, file)).href);

async function streamThrough(count: number): Promise<number> {
  const [tx, rx] = mpsc.channel<number>(4);
  const sending = (async () => {
    for (let n = 0; n < count; n++) await tx.send(n);
    tx.close();
  })();
  let seen = 0;
  for await (const _ of rx) seen++;
  await sending;
  return seen;
}

describe('under the fake timers of vitest', () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  test('a long stream through a channel ends, and so does the next one under real timers', async () => {
    vi.useFakeTimers({
      toFake: ['setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask', 'Date', 'performance'],
    });
    expect(await streamThrough(100_000)).toBe(100_000);
    vi.useRealTimers();
    expect(await streamThrough(3)).toBe(3);
  });

  test('waits of all kinds go on beyond the budget of a macrotask', async () => {
    vi.useFakeTimers();
    const clock = new SimulatedClock();
    const [tx, rx] = mpsc.channel<number>(1);
    const places = new Semaphore(1);
    for (let n = 0; n < 5_000; n++) {
      tx.trySend(n);
      expect(await select({ rx, idle: sleep(1_000, { clock }) })).toEqual({ arm: 'rx', value: n });
      (await places.acquire()).release();
    }
    await clock.advance(1);
  });
});

/** Runs a script in a process of its own; `m` are the channels, `load` loads another part of the library. */
async function run(before: string, after: string, code: string): Promise<string> {
  const script = `
    const real = { setTimeout, setImmediate, setInterval };
    const never = () => 1;
    ${before}
    const m = await import(${urlOf('channels/index.js')});
    ${after}
    async function streamThrough(count) {
      const [tx, rx] = m.mpsc.channel(4);
      const sending = (async () => { for (let n = 0; n < count; n++) await tx.send(n); tx.close(); })();
      let seen = 0;
      for await (const _ of rx) seen++;
      await sending;
      return seen;
    }
    ${code}`;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], {
    timeout: 15_000,
  });
  return stdout.trim();
}

const fakes: Record<string, string> = {
  'the mock timers of node:test':
    "(await import('node:test')).mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'setImmediate', 'Date'] });",
  'functions that never call back':
    'Object.assign(globalThis, { setTimeout: never, setInterval: never, setImmediate: never });',
  'functions that never call back, and a clock that stands still':
    'Object.assign(globalThis, { setTimeout: never, setInterval: never, setImmediate: never, queueMicrotask: never, performance: { now: () => 0 } });',
};

describe.each(Object.entries(fakes))('under %s', (_, fake) => {
  test('a long stream ends where the library was loaded before them', async () => {
    expect(await run('', fake, 'console.log(await streamThrough(50_000));')).toBe('50000');
  });

  test('a long stream ends where the library was loaded after them', async () => {
    expect(await run(fake, '', 'console.log(await streamThrough(50_000));')).toBe('50000');
  });

  test('a stream ends after the timers have been given back', async () => {
    const restore = "(await import('node:test')).mock.timers.reset(); Object.assign(globalThis, real);";
    expect(
      await run(
        '',
        fake,
        `await streamThrough(5_000); ${restore} await new Promise((done) => setTimeout(done, 1)); console.log(await streamThrough(5_000));`,
      ),
    ).toBe('5000');
    expect(
      await run(
        fake,
        '',
        `await streamThrough(5_000); ${restore} await new Promise((done) => setTimeout(done, 1)); console.log(await streamThrough(5_000));`,
      ),
    ).toBe('5000');
  });

  test('a simulated clock moves', async () => {
    const code = `
      const clock = new m.SimulatedClock();
      const late = m.sleep(5, { clock }).then(() => streamThrough(3_000));
      await clock.advance(5);
      console.log(await late);`;
    expect(await run(fake, '', code)).toBe('3000');
    expect(await run('', fake, code)).toBe('3000');
  });
});

test('a host whose setImmediate is real keeps the order of macrotasks, and lets timers in between', async () => {
  const code = `
    const order = [];
    await Promise.all([
      m.sleep(0).then(() => order.push('first')),
      m.sleep(0).then(() => m.sleep(0)).then(() => order.push('later')),
      m.sleep(0).then(() => order.push('second')),
    ]);
    let ticks = 0;
    const timer = setInterval(() => ticks++, 1);
    await streamThrough(200_000);
    clearInterval(timer);
    console.log(order.join(' '), ticks > 3);`;
  expect(await run('', '', code)).toBe('first second later true');
});

/** What jsdom has in place of Node's: timers that are numbers, and neither immediates nor channels. */
const browser = `
  const keys = new Map();
  const numbered = (start, clear) => [
    (...args) => { const timer = start(...args); keys.set(Number(timer), timer); return Number(timer); },
    (key) => { clear(keys.get(key)); keys.delete(key); },
  ];
  const { clearTimeout: clearT, clearInterval: clearI } = globalThis;
  [globalThis.setTimeout, globalThis.clearTimeout] = numbered(real.setTimeout, clearT);
  [globalThis.setInterval, globalThis.clearInterval] = numbered(real.setInterval, clearI);
  for (const name of ['setImmediate', 'clearImmediate', 'MessageChannel', 'MessagePort', 'TextEncoder', 'TextDecoder', 'structuredClone', 'fetch', 'BroadcastChannel'])
    delete globalThis[name];`;

const worker = `
  const { operation, spawnWorker } = await import(${urlOf('worker/index.js')});
  const operations = { double: operation() };
  const source = 'export default () => ({ double: (n) => 2 * n })';
  const module = new URL('data:text/javascript,' + encodeURIComponent(source));
  for (const host of ['inline', 'thread', 'process']) {
    const handle = spawnWorker({ operations, module, host, idleTimeoutMs: 60_000 });
    const answers = await Promise.all([1, 2, 3].map((n) => handle.call('double', n, { timeoutMs: 10_000 })));
    await handle.close();
    console.log(host, answers.join());
  }`;

const pool = `
  const { createPool } = await import(${urlOf('pool/index.js')});
  const pool = createPool();
  const model = pool.register('model', { operations, module, host: 'thread' });
  console.log(await model.call('double', 21));
  await pool.close();`;

describe('with the globals of a browser', () => {
  const expected = 'inline 2,4,6\nthread 2,4,6\nprocess 2,4,6\n42\n5000';

  test('channels, workers and pools run where the library was loaded after them', async () => {
    expect(await run(browser, '', `${worker}${pool} console.log(await streamThrough(5_000));`)).toBe(expected);
  });

  test('channels, workers and pools run where the library was loaded before them', async () => {
    const loaded = `for (const layer of ['worker', 'pool', 'image-embedding']) await import(new URL('../' + layer + '/index.js', ${urlOf('channels/index.js')}));`;
    expect(await run('', `${loaded}${browser}`, `${worker}${pool} console.log(await streamThrough(5_000));`)).toBe(
      expected,
    );
  });
});
