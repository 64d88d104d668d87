/** Pools of real workers in this event loop: types, streams, async context. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { expect, test } from 'vitest';
import { SimulatedClock } from '../../src/channels/index.js';
import { createPool, PoolClosedError } from '../../src/pool/index.js';
import { operation } from '../../src/worker/index.js';

const operations = {
  length: operation<string, number>({ idempotent: true }),
  chunks: operation.stream<number, string>(),
  hold: operation<Promise<void>, string>(),
};
const store = new AsyncLocalStorage<string>();
const seen: (string | undefined)[] = [];
const load = () => ({
  length: (input: string) => {
    seen.push(store.getStore());
    return input.length;
  },
  async *chunks(count: number) {
    for (let index = 0; index < count; index += 1) {
      if (index === 13 && count === 20) throw new Error('unlucky');
      yield `chunk ${index}`;
    }
  },
  hold: async (until: Promise<void>) => {
    await until;
    return 'held';
  },
});

test('ModelHandle is typed by its operations', async () => {
  await using pool = createPool();
  const model = pool.register('m', { operations, load });
  const length: number = await model.call('length', 'four');
  expect(length).toBe(4);
  const { value, info } = await model.callDetailed('length', 'three');
  expect([value satisfies number, info.attempts]).toEqual([5, 1]);
  const wrong = () => {
    // @ts-expect-error no such operation
    void model.call('lenght', 'x');
    // @ts-expect-error the input is a string
    void model.call('length', 4);
    // @ts-expect-error a stream has no details
    void model.callDetailed('chunks', 4);
    // @ts-expect-error no such option
    void model.call('length', 'x', { timeout: 5 });
    // @ts-expect-error the model lacks an operation
    pool.register('n', { operations, load: () => ({ length: (input: string) => input.length }) });
    // @ts-expect-error a worker of this operation answers with a number
    const text: Promise<string> = model.call('length', 'x');
    return text;
  };
  expect(wrong).toBeTypeOf('function');
});

test('a stream is read through the pool, and holds its place until it ends', async () => {
  await using pool = createPool();
  const model = pool.register('m', { operations, load, maxWorkers: 1 });
  const stream = model.call('chunks', 3);
  expect(pool.stats().accepted).toBe(0);
  expect(await stream.next()).toEqual({ done: false, value: 'chunk 0' });
  const waiting = model.call('length', 'after');
  expect(pool.stats().models.m).toMatchObject({ queued: 1, inFlight: 1 });
  const rest: string[] = [];
  for await (const chunk of stream) rest.push(chunk);
  expect(rest).toEqual(['chunk 1', 'chunk 2']);
  expect(await waiting).toBe(5);
  expect(pool.stats()).toMatchObject({ accepted: 2, succeeded: 2 });
});

test('a stream that its reader leaves is cancelled, and gives its place back', async () => {
  await using pool = createPool();
  const model = pool.register('m', { operations, load, maxWorkers: 1 });
  for await (const chunk of model.call('chunks', 1_000_000)) if (chunk === 'chunk 5') break;
  expect(await model.call('length', 'next')).toBe(4);
  {
    await using stream = model.call('chunks', 1_000_000);
    await stream.next();
  }
  expect(await model.call('length', 'next')).toBe(4);
  expect(pool.stats()).toMatchObject({ accepted: 4, succeeded: 2, cancelled: 2, pending: 0 });
});

test('a stream that fails gives its chunks, then its error', async () => {
  await using pool = createPool();
  const model = pool.register('m', { operations, load });
  const chunks: string[] = [];
  const read = async () => {
    for await (const chunk of model.call('chunks', 20)) chunks.push(chunk);
  };
  await expect(read()).rejects.toThrow('unlucky');
  expect(chunks).toHaveLength(13);
  expect(pool.stats()).toMatchObject({ failed: 1, pending: 0 });
});

test('a stream refused by a closing pool fails at its first read', async () => {
  const pool = createPool();
  const model = pool.register('m', { operations, load });
  await pool.close();
  await expect(model.call('chunks', 1).next()).rejects.toThrow(PoolClosedError);
});

test('Pool.destroy() answers a stream that nobody reads at the moment', async () => {
  const pool = createPool();
  const model = pool.register('m', { operations, load });
  const stream = model.call('chunks', 1_000_000);
  await stream.next();
  await pool.destroy();
  expect(pool.stats()).toMatchObject({ accepted: 1, failed: 1, pending: 0 });
  await expect(
    (async () => {
      for await (const _ of stream);
    })(),
  ).rejects.toMatchObject({ code: 'ERR_POOL_CLOSED' });
});

test('a request that waited runs in the async context of its own caller', async () => {
  await using pool = createPool();
  const model = pool.register('m', { operations, load, maxWorkers: 1 });
  seen.length = 0;
  let release = () => {};
  const held = model.call('hold', new Promise<void>((resolve) => (release = resolve)));
  const calls = ['a', 'b', 'c'].map((name) => store.run(name, () => model.call('length', name)));
  release();
  await Promise.all([held, ...calls]);
  await store.run('d', () => model.call('length', 'd'));
  expect(seen).toEqual(['a', 'b', 'c', 'd']);
});

test('a call that times out inside a model that ignores it gives its place back once the model is done', async () => {
  await using pool = createPool();
  const model = pool.register('m', { operations, load, maxWorkers: 1 });
  await pool.warm('m');
  let release = () => {};
  const until = new Promise<void>((resolve) => (release = resolve));
  await expect(model.call('hold', until, { timeoutMs: 200 })).rejects.toMatchObject({ code: 'ERR_DEADLINE_EXCEEDED' });
  const next = model.call('length', 'next');
  await new Promise((resolve) => setImmediate(resolve));
  expect(pool.stats().models.m).toMatchObject({ queued: 1, inFlight: 0 });
  release();
  expect(await next).toBe(4);
});

test('a call whose deadline passes between two looks at the clock has expired', async () => {
  const simulated = new SimulatedClock();
  let now = 0;
  const clock = {
    now: () => {
      now += 0.3;
      return now;
    },
    setTimer: simulated.setTimer.bind(simulated),
  };
  await using pool = createPool({ clock });
  const model = pool.register('m', { operations, load, maxWorkers: 1, breaker: false });
  await pool.warm('m');
  const outcomes = new Set<string>();
  for (let round = 0; round < 60; round += 1) {
    let release = () => {};
    const held = model.call('hold', new Promise<void>((resolve) => (release = resolve)));
    const timeoutMs = 10 + round / 7;
    const calls = Array.from({ length: 12 }, () => model.call('length', 'four', { timeoutMs }));
    const settled = Promise.allSettled(calls);
    release();
    await held;
    for (const each of await settled) {
      outcomes.add(each.status === 'fulfilled' ? 'answered' : (each.reason.code ?? each.reason.name));
    }
  }
  expect(outcomes).toEqual(new Set(['ERR_DEADLINE_EXCEEDED', 'answered']));
});
