/** Streams through a pool whose readers do as they like. */
import { getEventListeners } from 'node:events';
import { expect, test } from 'vitest';
import { SimulatedClock } from '../../../src/channels/index.js';
import { createPool } from '../../../src/pool/index.js';
import { type InternalPoolOptions, spawnPooledWorker, type WorkerStart } from '../../../src/pool/internal.js';
import { operation, type WorkerHandle } from '../../../src/worker/index.js';

const operations = { count: operation.stream<number, number>({ chunkCapacity: 2 }), echo: operation<number, number>() };
const load = () => ({
  async *count(to: number) {
    for (let n = 0; n < to; n += 1) yield n;
    if (to < 0) await new Promise(() => {});
  },
  echo: (n: number) => n,
});

function open() {
  const clock = new SimulatedClock();
  const pool = createPool({ clock });
  const model = pool.register('m', { operations, load, maxWorkers: 1 });
  return { clock, pool, model };
}

test('a stream whose reader has stopped reading expires at its deadline, and gives its place back', async () => {
  const { clock, pool, model } = open();
  const stream = model.call('count', 1_000, { timeoutMs: 500 });
  expect(await stream.next()).toEqual({ done: false, value: 0 });
  const waiting = model.call('echo', 7);
  await clock.advance(500);
  expect(pool.stats()).toMatchObject({ accepted: 2, expired: 1 });
  expect(await waiting).toBe(7);
  await expect(stream.next()).rejects.toMatchObject({ code: 'ERR_DEADLINE_EXCEEDED' });
  expect(await stream.next()).toEqual({ done: true, value: undefined });
  expect(pool.stats()).toMatchObject({ accepted: 2, succeeded: 1, expired: 1, failed: 0, pending: 0 });
  await pool.close();
});

test('a stream that is aborted while nobody reads it gives its place back', async () => {
  const { clock, pool, model } = open();
  const controller = new AbortController();
  const stream = model.call('count', 1_000, { signal: controller.signal });
  await stream.next();
  const waiting = model.call('echo', 7);
  controller.abort(new Error('enough'));
  await clock.advance(1);
  expect(await waiting).toBe(7);
  expect(pool.stats()).toMatchObject({ succeeded: 1, cancelled: 1, pending: 0 });
  await expect(stream.next()).rejects.toThrow('enough');
  await pool.close();
});

test('a stream that is left while it waits for its place is cancelled at once', async () => {
  const { pool, model } = open();
  await using held = model.call('count', 1_000);
  await held.next();
  const stream = model.call('count', 1_000);
  const next = stream.next();
  await new Promise((resolve) => setImmediate(resolve));
  expect(pool.stats().models.m).toMatchObject({ queued: 1 });
  expect(await stream.return?.()).toEqual({ done: true, value: undefined });
  expect(await next).toEqual({ done: true, value: undefined });
  expect(pool.stats().models.m).toMatchObject({ queued: 0, cancelled: 1 });
  await held.return?.();
  await pool.close();
});

test('a stream that is left while a chunk is awaited is cancelled at once', async () => {
  const { clock, pool, model } = open();
  const stream = model.call('count', -1);
  const next = stream.next();
  await new Promise((resolve) => setImmediate(resolve));
  expect(pool.stats().models.m).toMatchObject({ inFlight: 1 });
  await stream.return?.();
  expect(await next).toEqual({ done: true, value: undefined });
  expect(pool.stats()).toMatchObject({ cancelled: 1, pending: 0 });
  // The model never lets go of it: its worker ends without it.
  const ended = pool.destroy();
  await clock.advance(10_000);
  await ended;
});

test('a stream that nobody reads any more leaves no listener on its signal', async () => {
  const { clock, pool, model } = open();
  const { signal } = new AbortController();
  const stream = model.call('count', 1_000, { signal, timeoutMs: 100 });
  await stream.next();
  expect(getEventListeners(signal, 'abort')).toHaveLength(1);
  await clock.advance(100);
  expect(getEventListeners(signal, 'abort')).toEqual([]);
  expect(pool.stats()).toMatchObject({ expired: 1, pending: 0 });
  await pool.close();
});

const shared = { chunks: operation.stream<number, number>({ chunkCapacity: 4 }) };
const wholeStreams = { count: operation.stream<number, number>({ chunkCapacity: 8 }) };

test('a stream whose model has ended in time succeeds, whenever its reader takes the chunks, and gives its place back at once', async () => {
  const { clock, pool } = open();
  const model = pool.register('whole', {
    operations: wholeStreams,
    load,
    maxWorkers: 1,
    breaker: { failures: 1, failureRate: 1e-9 },
  });
  const slow = Array.from({ length: 5 }, () => model.call('count', 4, { timeoutMs: 100 }));
  for (const stream of slow) expect(await stream.next()).toEqual({ done: false, value: 0 });
  await clock.advance(0);
  expect(pool.stats().models.whole).toMatchObject({ accepted: 5, succeeded: 5, inFlight: 0, pending: 0 });
  await clock.advance(150);
  for (const stream of slow) {
    const rest: number[] = [];
    for await (const chunk of stream) rest.push(chunk);
    expect(rest).toEqual([1, 2, 3]);
  }
  // What was settled stays so when a reader leaves, too.
  const left = model.call('count', 4, { timeoutMs: 100 });
  await left.next();
  await clock.advance(0);
  await left.return?.();
  expect(pool.stats().models.whole).toMatchObject({ accepted: 6, succeeded: 6, expired: 0, cancelled: 0, pending: 0 });
  expect(pool.health().models.whole?.breaker).toBe('closed');
  await pool.close();
});

test('a pool that is drained or closed waits for no reader whose model has ended, and leaves the chunks to be read', async () => {
  const { clock, pool } = open();
  const model = pool.register('whole', { operations: wholeStreams, load, maxWorkers: 1 });
  const stream = model.call('count', 4);
  expect(await stream.next()).toEqual({ done: false, value: 0 });
  await clock.advance(0);
  await pool.drain();
  await pool.close();
  const rest: number[] = [];
  for await (const chunk of stream) rest.push(chunk);
  expect(rest).toEqual([1, 2, 3]);
  expect(pool.stats()).toMatchObject({ accepted: 1, succeeded: 1, pending: 0 });
});

test('a reader who holds a stream back beyond its deadline is no failure of the model, and a model that is slow is one', async () => {
  const clock = new SimulatedClock();
  const pool = createPool({ clock });
  const model = pool.register('m', {
    operations,
    load: () => ({
      ...load(),
      async *count(to: number) {
        for (let n = 0; n < to; n += 1) yield n;
        if (to === 0) await new Promise<void>((resolve) => clock.setTimer(resolve, 10));
        if (to < 0) await new Promise(() => {});
      },
    }),
    concurrency: 8,
    maxWorkers: 1,
    timeoutMs: 1_000,
    breaker: { failures: 1, failureRate: 1e-9 },
  });
  // What it takes as a rule.
  await pool.warm('m');
  const usual = model.call('count', 0).next();
  await clock.advance(0);
  await clock.advance(10);
  expect(await usual).toMatchObject({ done: true });
  // One reads a chunk every 40 ms, one reads none after the first.
  const slow = model.call('count', 1_000, { timeoutMs: 200 });
  const stopped = model.call('count', 1_000, { timeoutMs: 200 });
  await stopped.next();
  await slow.next();
  for (let turn = 0; turn < 4; turn += 1) {
    await clock.advance(40);
    await slow.next();
  }
  await clock.advance(40);
  for (const stream of [slow, stopped])
    await expect(stream.next()).rejects.toMatchObject({ code: 'ERR_DEADLINE_EXCEEDED' });
  expect(pool.health().models.m?.breaker).toBe('closed');
  expect(pool.stats()).toMatchObject({ accepted: 3, succeeded: 1, expired: 2, pending: 0 });
  // Nobody holds this one back.
  const hung = model.call('count', -1, { timeoutMs: 200 });
  const failure = hung.next().catch((error: unknown) => error);
  await clock.advance(200);
  expect(await failure).toMatchObject({ code: 'ERR_DEADLINE_EXCEEDED' });
  expect(pool.health().models.m?.breaker).toBe('open');
  const ended = pool.destroy();
  await clock.advance(10_000);
  await ended;
});

test.each(['inline', 'thread', 'process'] as const)(
  'the ledgers of a pool and of its workers agree on streams with short deadlines, in the host %s',
  async (host) => {
    const handles: WorkerHandle<typeof shared>[] = [];
    const spawn = (start: WorkerStart) => {
      const worker = spawnPooledWorker(start);
      handles.push(worker as unknown as WorkerHandle<typeof shared>);
      return worker;
    };
    const pool = createPool({ spawn } as InternalPoolOptions);
    const model = pool.register('m', {
      operations: shared,
      host,
      module: new URL('../fixtures/judging-model.mjs', import.meta.url),
      concurrency: 4,
      maxWorkers: 2,
      breaker: false,
    });
    await pool.warm('m', 2);
    const read = async (turn: number): Promise<boolean> => {
      const stream = model.call('chunks', turn % 9, { timeoutMs: 1 + (turn % 5) });
      try {
        for await (const _ of stream) {
          if (turn % 7 === 0) await new Promise((resolve) => setTimeout(resolve, turn % 6));
        }
        return true;
      } catch {
        return false;
      }
    };
    let whole = 0;
    for (let turn = 0; turn < 400; turn += 20) {
      const read20 = await Promise.all(Array.from({ length: 20 }, (_, index) => read(turn + index)));
      whole += read20.filter((each) => each).length;
    }
    await pool.drain();
    const { succeeded, failed, expired, cancelled, pending } = pool.stats();
    const sum = (name: 'succeeded' | 'failed' | 'cancelled') =>
      handles.reduce((all, each) => all + each.stats()[name], 0);
    // What expired before a worker had it is in the pool's ledger alone.
    expect({ succeeded, failed, cancelled, pending }).toEqual({
      succeeded: sum('succeeded'),
      failed: 0,
      cancelled: sum('cancelled'),
      pending: 0,
    });
    expect(whole).toBe(succeeded + cancelled);
    expect(succeeded + expired + cancelled).toBe(400);
    await pool.close();
  },
  30_000,
);
