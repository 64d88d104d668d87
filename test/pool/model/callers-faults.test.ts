/** What callers do wrong is theirs: it opens no breaker, in no host, and the ledger stays exact. */
import { MessageChannel } from 'node:worker_threads';
import { describe, expect, test, vi } from 'vitest';
import { createPool, type ModelOptions, type Pool, type PoolCallOptions } from '../../../src/pool/index.js';
import { BadInputError, operation } from '../../../src/worker/index.js';

// On a machine that has other things to do, a process takes seconds to start.
vi.setConfig({ testTimeout: 120_000 });

const operations = {
  take: operation<unknown, string>({ idempotent: true }),
  sized: operation<{ size: unknown }, string>({
    capacity: { bytes: 1_000 },
    sizeOf: ({ size }) => {
      if (size instanceof Error) throw size;
      return size as number;
    },
  }),
  slow: operation<number, number>(),
  complain: operation<string, never>(),
  chunks: operation.stream<number | string, number>({ chunkCapacity: 4 }),
  fail: operation<string, unknown>(),
};

const register = (
  pool: Pool,
  host: 'inline' | 'thread' | 'process',
  more: Pick<ModelOptions<typeof operations>, 'breaker'> = {},
) => {
  const options: ModelOptions<typeof operations> = {
    operations,
    host,
    module: new URL('../fixtures/judging-model.mjs', import.meta.url),
    concurrency: 8,
    maxWorkers: 1,
    timeoutMs: 100_000,
    ...more,
    coalesce: {
      slow: (input: number) => {
        if (Number.isNaN(input)) throw new Error('no key');
        return undefined;
      },
    },
  };
  return pool.register('m', options);
};

type Model = ReturnType<typeof register>;

async function read(stream: AsyncIterable<number>): Promise<number[]> {
  const chunks: number[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

function deep(): unknown {
  let value: unknown = 0;
  for (let level = 0; level < 200_000; level += 1) value = [value];
  return value;
}

function detached(): Uint8Array {
  const bytes = new Uint8Array(8);
  structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
  return bytes;
}

const thrower = (what: unknown) => ({
  get member(): never {
    throw what;
  },
});

const asOptions = (options: unknown) => options as PoolCallOptions;
const listening = { addEventListener() {}, removeEventListener() {} };

const withOptions: Record<string, () => unknown> = {
  'a deadline of 0': () => ({ timeoutMs: 0 }),
  'a deadline of -0': () => ({ timeoutMs: -0 }),
  'a deadline of half a millisecond': () => ({ timeoutMs: 0.5 }),
  'a deadline of next to nothing': () => ({ timeoutMs: 1e-300 }),
  'a deadline before now': () => ({ timeoutMs: -1 }),
  'a deadline that is NaN': () => ({ timeoutMs: Number.NaN }),
  'a deadline as text': () => ({ timeoutMs: '5' }),
  'a deadline that is null': () => ({ timeoutMs: null }),
  'a deadline as a bigint': () => ({ timeoutMs: 5n }),
  'a traceparent that is a number': () => ({ traceparent: 5 }),
  'a traceparent that is empty': () => ({ traceparent: '' }),
  'a traceparent that is an object': () => ({ traceparent: {} }),
  'a signal that is a number': () => ({ signal: 5 }),
  'a signal that is null': () => ({ signal: null }),
  'a signal that only says whether it has aborted': () => ({ signal: { aborted: false } }),
  'a signal that nobody can stop listening to': () => ({ signal: { aborted: false, addEventListener() {} } }),
  'a signal that throws at whoever listens': () => ({
    signal: {
      ...listening,
      aborted: false,
      addEventListener() {
        throw new Error('deaf');
      },
    },
  }),
  'a signal that throws when it is looked at': () => ({
    signal: {
      ...listening,
      get aborted(): boolean {
        throw new Error('blind');
      },
    },
  }),
  'a signal that has aborted': () => ({ signal: AbortSignal.abort() }),
  'a signal that aborts soon': () => ({ signal: AbortSignal.timeout(1) }),
  'an option that is not known': () => ({ deadline: 5 }),
  'a priority that is not known': () => ({ priority: 'urgent' }),
  'a priority that every object has': () => ({ priority: 'constructor' }),
  'options that are text': () => 'soon',
  'options that are an array': () => [],
  'options that are null': () => null,
  'options that throw': () => ({
    get timeoutMs(): number {
      throw new Error('no options');
    },
  }),
};

/** What can't cross to a thread or a process. In this event loop there is nothing to cross. */
const uncloneable: Record<string, () => unknown> = {
  'a function': () => () => {},
  'a symbol': () => Symbol('input'),
  'a WeakMap': () => new WeakMap(),
  'a promise': () => Promise.resolve(1),
  'a stream': () => new ReadableStream(),
  'a detached array': detached,
  'an object with a method': () => ({ run() {} }),
  'a getter that throws': () => thrower(new Error('no member')),
  'a getter that throws text': () => thrower('no member'),
  'a getter that throws a frozen error': () => thrower(Object.freeze(new Error('no member'))),
  'a getter that blames the model': () => thrower(Object.assign(new Error('no member'), { fault: 'model' })),
  'a proxy that throws': () =>
    new Proxy(
      {},
      {
        ownKeys() {
          throw new RangeError('no keys');
        },
      },
    ),
  'two hundred thousand levels': deep,
  'a port': () => new MessageChannel().port1,
};

const others: Record<string, (model: Model, pool: Pool) => Promise<unknown>> = {
  'a deadline that is shorter than the model takes': (model) => model.call('slow', 150, { timeoutMs: 5 }),
  'a deadline that is shorter than the model takes, without waiting for room': (model) =>
    model.tryCall('slow', 150, { timeoutMs: 5 }),
  'more bytes than the operation takes': (model) => model.call('sized', { size: 1_001 }),
  'endless bytes': (model) => model.call('sized', { size: Number.POSITIVE_INFINITY }),
  'a size that is NaN': (model) => model.call('sized', { size: Number.NaN }),
  'a size below nothing': (model) => model.call('sized', { size: -1 }),
  'a size that is text': (model) => model.call('sized', { size: '5' }),
  'a size that throws': (model) => model.call('sized', { size: new RangeError('no size') }),
  'a key that throws': (model) => model.call('slow', Number.NaN),
  'an operation that is not known': (model) => model.call('nope' as 'take', 1),
  'an operation that every object has': (model) => model.call('toString' as 'take', 1),
  'an operation that is a symbol': (model) => model.call(Symbol('take') as unknown as 'take', 1),
  'a model that is not known': async (_, pool) => await pool.call('nope', 'take', 1),
  'a model that every object has': async (_, pool) => await pool.call('constructor', 'take', 1),
  'a model that is a symbol': async (_, pool) => await pool.call(Symbol('m') as unknown as string, 'take', 1),
  'a stream asked for in detail': (model) => model.callDetailed('chunks' as 'take', 1),
  'a stream of what can not be cloned': (model) => read(model.call('chunks', Symbol('count') as unknown as number)),
  'a stream with a deadline of 0': (model) => read(model.call('chunks', 3, { timeoutMs: 0 })),
  'a stream with options that are wrong': (model) => read(model.call('chunks', 3, asOptions({ timeoutMs: '5' }))),
  'a stream that is left': async (model) => {
    for await (const _ of model.call('chunks', 1_000)) break;
  },
  'a stream that is held back beyond its deadline': async (model) => {
    const stream = model.call('chunks', 1_000, { timeoutMs: 60 });
    await stream.next();
    await new Promise((resolve) => setTimeout(resolve, 80));
    return await read(stream);
  },
  'a stream of bad input': (model) => read(model.call('chunks', 'an error with a fault')),
};

const complaints = [
  'an error of its own class',
  'an error with a fault',
  'a class with a getter',
  'a DOMException with a fault',
  'no error',
  'a frozen error',
];

/** How many times each is done. */
const TIMES = 15;

const HOSTS = ['inline', 'thread', 'process'] as const;

describe.each(HOSTS)('in a pool with the host %s', (host) => {
  const kinds: [string, (model: Model, pool: Pool) => Promise<unknown>, boolean][] = [
    ...Object.entries(withOptions).map(
      ([name, make]) =>
        [name, async (model: Model) => await model.call('slow', 150, asOptions(make())), true] as [string, never, true],
    ),
    ...Object.entries(uncloneable).map(
      ([name, make]) =>
        [name, (model: Model) => model.call('take', make()), host !== 'inline'] as [string, never, boolean],
    ),
    // In this event loop nothing has to be cloned.
    ...Object.entries(others)
      .filter(([name]) => host !== 'inline' || !name.includes('not be cloned'))
      .map(([name, act]) => [name, act, !name.includes('left')] as [string, never, boolean]),
    ...complaints.map(
      (how) =>
        [`the model complains with ${how}`, (model: Model) => model.call('complain', how), true] as [
          string,
          never,
          true,
        ],
    ),
  ];

  test(`none of ${kinds.length} ways of a caller's mistake opens the breaker, and the ledger is exact`, async () => {
    await using pool = createPool();
    // One failure that counts is enough.
    const model = register(pool, host, { breaker: { failures: 1, failureRate: 1e-9 } });
    expect(await model.call('slow', 150)).toBe(150);
    for (const [name, act, isRefused] of kinds) {
      const before = pool.stats();
      const asked = await Promise.allSettled(Array.from({ length: TIMES }, () => act(model, pool)));
      if (isRefused) expect([name, asked.filter((each) => each.status === 'fulfilled')]).toEqual([name, []]);
      // Whoever is told can tell whose fault it is, but for deadlines and aborts, which say what they are.
      if (isRefused && !/deadline|abort|throws text|frozen|blames/.test(name)) {
        const faults = asked.map((each) => (each as PromiseRejectedResult).reason?.fault);
        expect([name, new Set(faults)]).toEqual([name, new Set(['caller'])]);
      }
      expect([name, pool.health().models.m?.breaker]).toEqual([name, 'closed']);
      expect([name, await model.call('take', 1)]).toEqual([name, 'number']);
      const { accepted, succeeded, failed, expired, cancelled, pending, models } = pool.stats();
      expect([name, pending, accepted]).toEqual([name, 0, succeeded + failed + expired + cancelled]);
      expect([name, models.m?.queued, models.m?.waiting]).toEqual([name, 0, 0]);
      expect([name, succeeded - before.succeeded - 1]).toEqual([
        name,
        isRefused ? 0 : name.includes('left') ? 0 : asked.filter((each) => each.status === 'fulfilled').length,
      ]);
      // Refused before it was accepted, or accepted and answered; what names no model or operation is nobody's.
      const told = accepted - before.accepted - 1 + pool.stats().refused - before.refused;
      expect([name, told <= TIMES]).toEqual([name, true]);
    }
    expect(pool.stats().models.m).toMatchObject({ breakerRejections: 0 });
  });

  test('what the model throws opens the breaker, a primitive and what can not be cloned among it', async () => {
    await using pool = createPool();
    const model = register(pool, host);
    const hows = host === 'inline' ? ['error', 'primitive'] : ['error', 'primitive', 'uncloneable'];
    for (let turn = 0; turn < 5; turn += 1) {
      await expect(model.call('fail', hows[turn % hows.length] as string)).rejects.not.toMatchObject({
        code: 'ERR_BREAKER_OPEN',
      });
    }
    await expect(model.call('take', 1)).rejects.toMatchObject({
      code: 'ERR_BREAKER_OPEN',
      retryAfterMs: expect.any(Number),
    });
  });

  test('BadInputError of a model arrives with its class, code, fault and cause', async () => {
    await using pool = createPool();
    const model = register(pool, host);
    const error = await model.call('complain', 'an error of its own class').catch((each: unknown) => each);
    expect(error).toBeInstanceOf(BadInputError);
    expect(error).toMatchObject({ code: 'ERR_BAD_INPUT', fault: 'caller', cause: { message: 'why' } });
    for (const how of complaints) await expect(model.call('complain', how)).rejects.toMatchObject({ fault: 'caller' });
  });
});
