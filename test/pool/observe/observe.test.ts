import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { Registry } from 'prom-client';
import { expect, test } from 'vitest';
import { SimulatedClock } from '../../../src/core/index.js';
import { createPool, type PoolEvent } from '../../../src/pool/index.js';
import { Histogram } from '../../../src/pool/observe/counts.js';
import { simulate, simulated } from '../../support/simulated-worker.js';

async function exercised(registry?: Registry) {
  const clock = new SimulatedClock();
  const answer = (input: unknown) => {
    if (input === 'bad') throw new Error('model');
    return input;
  };
  const simulation = simulate(clock, { serviceMs: () => 20, answer }, registry === undefined ? {} : { registry });
  const model = simulation.pool.register('m', simulated({ costMb: 5, concurrency: 4, coalesce: { echo: String } }));
  const calls = [
    model.call('echo', 1),
    model.call('echo', 1),
    model.call('once', 'bad'),
    model.call('once', 2, { timeoutMs: 5 }),
  ];
  const settled = Promise.allSettled(calls);
  await clock.advance(100);
  await settled;
  return { ...simulation, clock, model };
}

test('Pool.metrics() is Prometheus text whose numbers are those of the ledger', async () => {
  const { pool } = await exercised();
  const text = await pool.metrics();
  const value = (series: string) =>
    Number(new RegExp(`^${series.replace(/[{}"]/g, '\\$&')} (.+)$`, 'm').exec(text)?.[1]);
  const m = 'pool="pool",model="m"';
  expect(value(`millrace_pool_requests_accepted_total{${m},operation="echo"}`)).toBe(2);
  expect(value(`millrace_pool_requests_settled_total{${m},operation="echo",outcome="succeeded"}`)).toBe(2);
  expect(value(`millrace_pool_requests_settled_total{${m},operation="once",outcome="failed"}`)).toBe(1);
  expect(value(`millrace_pool_requests_settled_total{${m},operation="once",outcome="expired"}`)).toBe(1);
  expect(value(`millrace_pool_requests_coalesced_total{${m},operation="echo"}`)).toBe(1);
  expect(value(`millrace_pool_workers{${m},state="ready"}`)).toBe(1);
  expect(value(`millrace_pool_memory_bytes{${m}}`)).toBe(5e6);
  expect(value(`millrace_pool_breaker_state{${m},state="closed"}`)).toBe(1);
  expect(value(`millrace_pool_service_seconds_bucket{${m},operation="echo",le="0.025"}`)).toBe(1);
  expect(value(`millrace_pool_service_seconds_count{${m},operation="echo"}`)).toBe(1);
  expect(value(`millrace_pool_service_seconds_sum{${m},operation="echo"}`)).toBeCloseTo(0.02);
  // A second scrape counts nothing twice.
  expect(await pool.metrics()).toBe(text);
});

test('Pool.metrics() keeps the rules of promtool: help and type for each, counters end in _total, base units, no unit twice', async () => {
  const { pool } = await exercised();
  const text = await pool.metrics();
  const types = new Map(
    [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map((match) => [match[1] as string, match[2] as string]),
  );
  const helps = new Map(
    [...text.matchAll(/^# HELP (\S+) (.+)$/gm)].map((match) => [match[1] as string, match[2] as string]),
  );
  expect(types.size).toBeGreaterThan(15);
  for (const [name, type] of types) {
    expect(name).toMatch(/^millrace_pool_[a-z]+(_[a-z]+)*$/);
    expect(helps.get(name), name).toMatch(/^[A-Z].+\.$/);
    expect(name.endsWith('_total'), name).toBe(type === 'counter');
    expect(name).not.toMatch(/_(milliseconds|ms|mb|kilobytes|count|sum|bucket)(_|$)/);
    if (type === 'histogram') expect(name).toMatch(/_seconds$|_size$/);
  }
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    const name = (/^[a-z_]+/.exec(line) as RegExpExecArray)[0].replace(/_(bucket|sum|count)$/, '');
    expect(types.has(name), line).toBe(true);
  }
});

test("a caller's registry is used, and two pools share it", async () => {
  const registry = new Registry();
  const first = await exercised(registry);
  const second = simulate(first.clock, {}, { registry, name: 'second' });
  second.pool.register('n', simulated());
  await first.pool.metrics();
  const text = await registry.metrics();
  expect(text).toContain('millrace_pool_requests_accepted_total{pool="pool",model="m",operation="echo"} 2');
  expect(text).toContain('millrace_pool_requests_accepted_total{pool="second",model="n",operation="echo"} 0');
  // Two of one name would write the same series twice.
  expect(() => createPool({ registry, name: 'second' })).toThrow("name must be no other's in its registry");
  expect(() => createPool({ registry: {} })).toThrow('registry.registerMetric must be a function');
  await second.pool.close();
  expect(await registry.metrics()).not.toContain('pool="second"');
  await createPool({ registry, name: 'second' }).close();
});

test('Pool.events() tells the life of workers and ends with the pool', async () => {
  const clock = new SimulatedClock();
  const { pool, workers } = simulate(clock, { loadMs: 10 });
  const events: PoolEvent[] = [];
  const reading = (async () => {
    for await (const event of pool.events()) events.push(event);
  })();
  const model = pool.register('m', simulated({ breaker: { failures: 1 } }));
  const call = model.call('once', 1).catch(() => {});
  await clock.advance(10);
  await call;
  workers[0]?.crash();
  await clock.advance(10);
  const closed = pool.close();
  await clock.advance(1_000);
  await closed;
  await reading;
  expect(events.map((event) => event.type)).toEqual(['register', 'start', 'ready', 'end', 'crash', 'close']);
  expect(events[2]).toEqual({ type: 'ready', pool: 'pool', model: 'm', worker: 'w0', at: 10 });
  expect(events[4]).toMatchObject({ worker: 'w0', error: { code: 'ERR_WORKER_CRASHED' } });
});

test('diagnostics_channel millrace:pool:settle tells each outcome without payloads', async () => {
  const messages: unknown[] = [];
  const listen = (message: unknown) => messages.push(message);
  subscribe('millrace:pool:settle', listen);
  try {
    await exercised();
  } finally {
    unsubscribe('millrace:pool:settle', listen);
  }
  expect(messages).toHaveLength(4);
  expect(messages[0]).toEqual({
    pool: 'pool',
    model: 'm',
    operation: 'once',
    at: 5,
    outcome: 'expired',
    worker: 'w0',
    error: expect.objectContaining({ code: 'ERR_DEADLINE_EXCEEDED' }),
  });
  expect(messages.map((each) => (each as { outcome: string }).outcome).sort()).toEqual([
    'expired',
    'failed',
    'succeeded',
    'succeeded',
  ]);
});

test('Pool.health() reports each model', async () => {
  const { pool } = await exercised();
  expect(pool.health()).toMatchObject({
    status: 'healthy',
    models: {
      m: { status: 'healthy', workers: { ready: 1 }, queued: 0, inFlight: 0, memoryBytes: 5e6, breaker: 'closed' },
    },
    memory: { heldBytes: 5e6, held: [{ owner: 'pool/m', bytes: 5e6, workers: 1 }] },
  });
});

test('no pongs pile up: 10,000 health checks leave nothing', async () => {
  const { pool, clock, workers } = await exercised();
  const timers = clock.pendingTimers;
  for (let turn = 0; turn < 10_000; turn += 1) pool.health();
  expect(clock.pendingTimers).toBe(timers);
  // A scrape asks the workers: one that does not answer is asked once, however many scrapes come.
  let pings = 0;
  let answer: (error: Error) => void = () => {};
  workers[0]!.ping = () => {
    pings += 1;
    return new Promise((_, reject) => {
      answer = reject;
    });
  };
  const scrapes = Array.from({ length: 50 }, () => pool.metrics());
  await clock.advance(1);
  expect(pings).toBe(1);
  answer(new Error('busy'));
  expect(new Set(await Promise.all(scrapes)).size).toBe(1);
  const next = pool.metrics();
  await clock.advance(1);
  expect(pings).toBe(2);
  answer(new Error('busy'));
  await next;
});

test('Histogram counts into buckets with inclusive upper bounds, and interpolates quantiles', () => {
  const histogram = new Histogram([1, 2, 4]);
  for (const value of [0.5, 1, 1.5, 3, 100]) histogram.observe(value);
  expect(histogram.cumulative()).toEqual([2, 3, 4]);
  expect([histogram.count, histogram.sum]).toEqual([5, 106]);
  expect(histogram.quantile(0.2)).toBe(0.5);
  expect(histogram.quantile(0.6)).toBe(2);
  expect(histogram.quantile(1)).toBe(4);
  expect(new Histogram([1]).quantile(0.5)).toBeUndefined();
});

test("a model's batchSizes are gathered into a histogram that survives its workers", async () => {
  const { pool, workers, clock } = await exercised();
  const health = { model: { batchSizes: { 1: 2, 16: 3 } } };
  workers[0]!.ping = () => Promise.resolve(health as never);
  const line = /^millrace_pool_batch_size_bucket\{(?=.*le="8").*\} 2$/m;
  expect(await pool.metrics()).toMatch(line);
  expect(await pool.metrics()).toContain('millrace_pool_batch_size_sum{pool="pool",model="m"} 50');
  const evicted = pool.evict('m');
  await clock.advance(1);
  await evicted;
  expect(await pool.metrics()).toContain('millrace_pool_batch_size_count{pool="pool",model="m"} 5');
});

test('Pool.workers() tells of each worker, and a replacement of what the one before it crashed with', async () => {
  const { pool, workers, clock, model } = await exercised();
  expect(await pool.workers()).toEqual([
    {
      model: 'm',
      worker: 'w0',
      state: 'ready',
      pid: undefined,
      memoryMb: undefined,
      inFlight: 0,
      served: 2,
      ageMs: 100,
      restarts: 0,
      lastError: undefined,
      health: undefined,
    },
  ]);
  const told = { pid: 42, rss: 1, model: { batchSizes: { 2: 1 }, stage: 'own' } };
  workers[0]!.ping = () => Promise.resolve(told as never);
  const again = [model.call('echo', 3), model.call('echo', 4)];
  expect(await pool.workers()).toMatchObject([{ state: 'processing', pid: 42, inFlight: 2, health: told.model }]);
  // One that is long in native code stays as it was last known.
  workers[0]!.ping = () => Promise.reject(new Error('no answer in time'));
  expect(await pool.workers()).toMatchObject([{ pid: 42, health: told.model }]);
  workers[0]!.crash();
  await clock.advance(60_000);
  await Promise.all(again);
  const replaced = await pool.workers();
  expect(replaced).toMatchObject([{ worker: 'w1', restarts: 1, lastError: { code: 'ERR_WORKER_CRASHED' } }]);
  expect(pool.stats().models.m?.restarts).toBe(1);
});
