/** Streams through a pool whose readers do as they like. */
import { getEventListeners } from 'node:events';
import { expect, test } from 'vitest';
import { SimulatedClock } from '../../src/channels/index.js';
import { createPool } from '../../src/pool/index.js';
import { operation } from '../../src/worker/index.js';

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
