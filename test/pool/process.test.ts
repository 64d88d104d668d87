/** Pools of real processes: memory given back, crashes, shutdown, and the end of scripts that forget to close. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect, test, vi } from 'vitest';
import { type CommonModelOptions, createPool, type ModelOptions } from '../../src/pool/index.js';
import { operation } from '../../src/worker/index.js';
import { isAlive, treeBytes } from '../support/process-tree.js';

// On a machine that has other things to do, a process takes seconds to start.
vi.setConfig({ testTimeout: 90_000 });

const operations = {
  pid: operation<undefined, number>({ idempotent: true }),
  size: operation<undefined, number>(),
  echo: operation<unknown, unknown>({ idempotent: true }),
  wait: operation<number, number>({ idempotent: true }),
  block: operation<number, number>({ idempotent: true }),
  die: operation<number, never>(),
  count: operation.stream<number, number>(),
};
const module = new URL('./fixtures/model.mjs', import.meta.url);
const processes = (options: Partial<CommonModelOptions<typeof operations>> = {}): ModelOptions<typeof operations> => ({
  operations,
  module,
  ...options,
});
const fixture = (name: string) => fileURLToPath(new URL(`./fixtures/${name}`, import.meta.url));
const gone = (pid: number) => vi.waitFor(() => expect(isAlive(pid)).toBe(false), { timeout: 10_000, interval: 20 });

test('a pool of processes: cold start shared by racing calls, a second worker, streams, and close ends them', async () => {
  await using pool = createPool();
  const model = pool.register('m', processes({ maxWorkers: 2, scaleUpAfterMs: 1_500 }));
  const pids = await Promise.all(Array.from({ length: 10 }, () => model.call('pid', undefined)));
  expect(new Set(pids).size).toBe(1);
  expect(pool.stats().models.m?.starts).toBe(1);
  await Promise.all(Array.from({ length: 12 }, () => model.call('wait', 250)));
  const all = await Promise.all(
    Array.from({ length: 2 }, () => model.call('wait', 50).then(() => model.call('pid', undefined))),
  );
  expect(pool.stats().models.m?.starts).toBe(2);
  const chunks: number[] = [];
  for await (const chunk of model.call('count', 5)) chunks.push(chunk);
  expect(chunks).toEqual([0, 1, 2, 3, 4]);
  await pool.close();
  for (const pid of [...pids, ...all]) await gone(pid);
  expect(pool.stats()).toMatchObject({ pending: 0, failed: 0 });
});

test('a failed load rejects with the error of the module', async () => {
  await using pool = createPool();
  const model = pool.register('m', processes({ options: { failLoad: true } }));
  const errors = await Promise.all([1, 2, 3].map(() => model.call('pid', undefined).catch((error: unknown) => error)));
  for (const error of errors) expect(error).toMatchObject({ code: 'ERR_WORKER_LOAD' });
  expect(new Set(errors).size).toBe(1);
  expect(pool.health().memory.held).toEqual([]);
});

test('a killed worker is replaced: its idempotent request runs again, any other is rejected', async () => {
  await using pool = createPool();
  const model = pool.register('m', processes({ maxWorkers: 1, concurrency: 2 }));
  const pid = await model.call('pid', undefined);
  const again = model.call('block', 200);
  process.kill(pid, 'SIGKILL');
  expect(await again).toBe(200);
  expect(await model.call('pid', undefined)).not.toBe(pid);
  await expect(model.call('die', 3)).rejects.toMatchObject({ code: 'ERR_WORKER_CRASHED', exitCode: 3 });
  expect(await model.call('echo', 'on')).toBe('on');
  expect(pool.stats().models.m).toMatchObject({ crashes: 2, retried: 1, failed: 1 });
});

test('one stopped worker of three costs nobody an answer: the others go on serving, and it is replaced within seconds', async () => {
  await using pool = createPool();
  const model = pool.register('m', processes({ minWorkers: 3, maxWorkers: 3, concurrency: 4 }));
  const pids = new Set<number>();
  while (pids.size < 3)
    for (const pid of await Promise.all([1, 2, 3].map(() => model.call('pid', undefined)))) pids.add(pid);
  const [stopped] = [...pids] as [number];
  let answered = 0;
  let whileStopped = 0;
  let isOver = false;
  const failures: unknown[] = [];
  const clients = Array.from({ length: 16 }, async () => {
    while (!isOver) {
      try {
        await model.call('wait', 20);
        answered += 1;
      } catch (error) {
        failures.push(error);
      }
    }
  });
  await vi.waitFor(() => expect(answered).toBeGreaterThan(50), { timeout: 20_000, interval: 5 });
  const before = answered;
  process.kill(stopped, 'SIGSTOP');
  await vi.waitFor(() => expect(isAlive(stopped)).toBe(false), { timeout: 20_000, interval: 20 });
  whileStopped = answered - before;
  await vi.waitFor(() => expect(pool.stats().models.m?.starts).toBe(4), { timeout: 20_000, interval: 20 });
  isOver = true;
  await Promise.all(clients);
  expect(failures).toEqual([]);
  expect(whileStopped).toBeGreaterThan(50);
  expect(pool.stats().models.m).toMatchObject({ crashes: 1, failed: 0, expired: 0 });
  expect(pool.health().models.m?.breaker).toBe('closed');
});

test('a call that runs out of time inside a native call is answered in time, and its worker is not given another', async () => {
  await using pool = createPool();
  const model = pool.register('m', processes({ maxWorkers: 1 }));
  await model.call('echo', 1);
  const start = performance.now();
  await expect(model.call('block', 2_500, { timeoutMs: 100 })).rejects.toMatchObject({ code: 'ERR_DEADLINE_EXCEEDED' });
  expect(performance.now() - start).toBeLessThan(2_000);
  expect(await model.call('echo', 'next')).toBe('next');
  expect(performance.now() - start).toBeGreaterThan(2_450);
  expect(pool.stats()).toMatchObject({ succeeded: 2, expired: 1, failed: 0 });
});

test('Pool.close() answers what is left when its time is over, then kills the children', async () => {
  const pool = createPool();
  const model = pool.register('m', processes({ maxWorkers: 1 }));
  const pid = await model.call('pid', undefined);
  const calls = [1, 2].map(() => model.call('block', 60_000).catch((error: unknown) => error));
  const start = performance.now();
  await pool.close({ timeoutMs: 200 });
  expect(performance.now() - start).toBeLessThan(5_000);
  for (const error of await Promise.all(calls)) expect(error).toMatchObject({ code: 'ERR_POOL_CLOSED' });
  await gone(pid);
});

test('Pool.close() does not wait longer than its timeout for a call that nobody waits for any more', async () => {
  const pool = createPool();
  const model = pool.register('m', processes({ maxWorkers: 1 }));
  const pid = await model.call('pid', undefined);
  await expect(model.call('block', 60_000, { timeoutMs: 50 })).rejects.toMatchObject({ code: 'ERR_DEADLINE_EXCEEDED' });
  const start = performance.now();
  await pool.close({ timeoutMs: 200 });
  expect(performance.now() - start).toBeLessThan(3_000);
  await gone(pid);
});

test('an inline call to a model that hangs is answered at its deadline, though nothing else holds the process', async () => {
  const child = spawn(process.execPath, [fixture('hung.mjs')], { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.on('data', (data) => {
    output += data;
  });
  const [code] = await once(child, 'close');
  expect([code, output]).toEqual([0, 'ERR_DEADLINE_EXCEEDED ERR_DEADLINE_EXCEEDED']);
});

test.runIf(process.platform === 'linux')(
  'eviction gives memory back, ten times in a row',
  { timeout: 120_000 },
  async () => {
    await using pool = createPool();
    const model = pool.register('m', processes({ options: { megabytes: 100 }, idleTimeoutMs: 30 }));
    const cycle = async () => {
      const pid = await model.call('pid', undefined);
      const during = treeBytes(process.pid);
      await gone(pid);
      globalThis.gc?.();
      return { during, after: treeBytes(process.pid) };
    };
    await cycle();
    const before = treeBytes(process.pid);
    for (let turn = 0; turn < 10; turn += 1) {
      const { during, after } = await cycle();
      expect(during - before).toBeGreaterThan(90e6);
      expect(after - before).toBeLessThan(10e6);
    }
    expect(pool.stats().models.m).toMatchObject({ evictions: 11, starts: 11, crashes: 0 });
    await vi.waitFor(() => expect(pool.health().memory.held).toEqual([]), { timeout: 20_000 });
  },
);

test.runIf(process.platform === 'linux')('a worker is charged what it was measured to occupy', async () => {
  await using pool = createPool();
  const model = pool.register('m', processes({ options: { megabytes: 100 }, costMb: 1 }));
  await model.call('size', undefined);
  await vi.waitFor(() => expect(pool.health().models.m?.memoryBytes).toBeGreaterThan(100e6), { timeout: 5_000 });
  expect(pool.health().models.m?.memoryBytes).toBeLessThan(300e6);
});

test.for(['process', 'thread'])(
  'a script that forgets to close a pool of %s workers ends, and they with it',
  async (host) => {
    const child = spawn(process.execPath, [fixture('forgetful.mjs'), host], { stdio: ['ignore', 'pipe', 'inherit'] });
    let output = '';
    child.stdout.on('data', (data) => {
      output += data;
    });
    const [code] = await once(child, 'close');
    expect(code).toBe(0);
    const pid = Number(output);
    expect(pid).toBeGreaterThan(0);
    if (host === 'process') await gone(pid);
  },
);

test.for(['one handler', 'several handlers'])(
  'closeOnSignal() with %s finishes accepted calls on SIGTERM, then the process ends by it',
  async (handlers) => {
    const child = spawn(process.execPath, [fixture('server.mjs'), handlers], { stdio: ['ignore', 'pipe', 'inherit'] });
    const lines: string[] = [];
    const closed = once(child, 'close');
    for await (const line of createInterface(child.stdout)) {
      lines.push(line);
      if (line === 'busy') child.kill('SIGTERM');
    }
    const [code, signal] = await closed;
    expect(lines).toContain('answered 20');
    expect([code, signal]).toEqual([null, 'SIGTERM']);
    await gone(Number(lines[0]?.slice(4)));
  },
);

test('closeOnSignal() destroys what is left at a second signal', async () => {
  const mode = 'one handler, two signals';
  const child = spawn(process.execPath, [fixture('server.mjs'), mode], { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines: string[] = [];
  const closed = once(child, 'close');
  for await (const line of createInterface(child.stdout)) {
    lines.push(line);
    if (line === 'busy' || line === 'closing') child.kill('SIGTERM');
  }
  expect(await closed).toEqual([null, 'SIGTERM']);
  expect(lines.slice(1)).toEqual(['busy', 'closing', 'answered 0', 'codes ERR_POOL_CLOSED']);
  await gone(Number(lines[0]?.slice(4)));
});

test('Pool.workers() measures processes, and knows the place of one that was killed', async () => {
  await using pool = createPool();
  const model = pool.register('m', processes({ maxWorkers: 1 }));
  const pid = await model.call('pid', undefined);
  const [before] = await pool.workers();
  expect(before).toMatchObject({ model: 'm', pid, inFlight: 0, restarts: 0, lastError: undefined });
  expect(before?.memoryMb).toBeGreaterThan(5);
  process.kill(pid, 'SIGKILL');
  await gone(pid);
  await model.call('echo', 1);
  const [after] = await pool.workers();
  expect(after).toMatchObject({ restarts: 1, lastError: { code: 'ERR_WORKER_CRASHED', signal: 'SIGKILL' } });
  expect(after?.pid).not.toBe(pid);
});
