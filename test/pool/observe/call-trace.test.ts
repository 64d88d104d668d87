import { AsyncLocalStorage } from 'node:async_hooks';
import { channel, subscribe, unsubscribe } from 'node:diagnostics_channel';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createPool, type TracedCall } from '../../../src/pool/index.js';
import { operation } from '../../../src/worker/index.js';
import { until } from '../../support/until.js';

const STEPS = ['start', 'end', 'asyncStart', 'asyncEnd', 'error'] as const;
type Step = (typeof STEPS)[number];
interface Seen {
  readonly step: Step;
  readonly call: TracedCall;
  readonly store: unknown;
  readonly outcome: string | undefined;
}

const als = new AsyncLocalStorage<string>();
let seen: Seen[] = [];
const listeners = STEPS.map(
  (step) =>
    [
      `tracing:millrace:call:${step}`,
      (message: unknown) => {
        const call = message as TracedCall;
        seen.push({ step, call, store: als.getStore(), outcome: call.outcome });
      },
    ] as const,
);
beforeEach(() => {
  seen = [];
  for (const [name, listener] of listeners) subscribe(name, listener);
});
afterEach(() => {
  for (const [name, listener] of listeners) unsubscribe(name, listener);
});

/** The steps of each call, by its number in the order of starting. */
function stepsOf(): string[] {
  const calls = [...new Set(seen.map(({ call }) => call))];
  return calls.map((call) =>
    seen
      .filter((each) => each.call === call)
      .map(({ step }) => step)
      .join(' '),
  );
}
const calls = (): TracedCall[] => [...new Set(seen.map(({ call }) => call))];

const operations = {
  wait: operation<number, string>({ idempotent: true }),
  fail: operation<string, string>(),
  count: operation.stream<number, number>(),
};
const held = new Map<number, () => void>();
const parents: (string | undefined)[] = [];
const load = () => ({
  wait: (input: number, { traceparent, signal }: { traceparent: string | undefined; signal: AbortSignal }) => {
    parents.push(traceparent);
    const store = als.getStore();
    return new Promise<string>((resolve) => {
      held.set(input, () => resolve(`${input} ${store}`));
      signal.addEventListener('abort', () => resolve('late'));
    });
  },
  fail: (message: string): string => {
    throw new RangeError(message);
  },
  count: async function* (to: number) {
    for (let n = 1; n <= to; n += 1) yield n;
  },
});
const release = async (input: number): Promise<void> => {
  await until(`call ${input} in the model`, () => held.has(input));
  held.get(input)?.();
  held.delete(input);
};

describe('tracing:millrace:call', () => {
  test('has one object for each call, in the context of its caller', async () => {
    await using pool = createPool({ name: 'traced' });
    const model = pool.register('m', { operations, load, concurrency: 1, maxWorkers: 1 });
    const all = Array.from({ length: 12 }, (_, n) => als.run(`r${n}`, () => model.call('wait', n)));
    for (let n = 0; n < 12; n += 1) await release(n);
    expect(await Promise.all(all)).toEqual(Array.from({ length: 12 }, (_, n) => `${n} r${n}`));
    expect(stepsOf()).toEqual(Array.from({ length: 12 }, () => 'start end asyncStart asyncEnd'));
    for (const [n, call] of calls().entries()) {
      expect(new Set(seen.filter((each) => each.call === call).map(({ store }) => store))).toEqual(new Set([`r${n}`]));
      expect(call).toMatchObject({
        pool: 'traced',
        model: 'm',
        operation: 'wait',
        kind: 'unary',
        priority: 'normal',
        host: 'inline',
        attempts: 1,
        coalesced: false,
        outcome: 'succeeded',
        error: undefined,
      });
      expect(call.runs).toEqual([
        { worker: call.worker, startedMs: call.queuedMs, endedMs: expect.any(Number), error: undefined },
      ]);
      expect(call.servedMs).toBeGreaterThanOrEqual(0);
    }
    expect(new Set(calls().map(({ id }) => id)).size).toBe(12);
  });

  test('tells a failure, an abort, an expiry in the queue and a refusal, each once', async () => {
    await using pool = createPool();
    const options = { operations, load, concurrency: 1, maxWorkers: 1, queueLimit: 2 };
    const model = pool.register('m', options);
    await expect(model.call('fail', 'no')).rejects.toThrow('no');
    const first = model.call('wait', 1);
    await until('call 1 in the model', () => held.has(1));
    const leaver = new AbortController();
    const left = model.call('wait', 2, { signal: leaver.signal });
    const late = model.call('wait', 3, { timeoutMs: 20 });
    await expect(model.tryCall('wait', 4)).rejects.toThrow('its queue is full');
    await expect(model.call('wait', 5, { timeoutMs: 0 })).rejects.toThrow('0 ms');
    await expect(model.call('wait', 6, { signal: AbortSignal.abort(new Error('gone')) })).rejects.toThrow('gone');
    leaver.abort(new Error('left'));
    await expect(left).rejects.toThrow('left');
    await expect(late).rejects.toThrow('20 ms');
    await release(1);
    await first;
    const ended = calls().map(({ outcome, attempts, worker }) => [outcome, attempts, worker === undefined]);
    expect(ended).toEqual([
      ['failed', 1, false],
      ['succeeded', 1, false],
      ['cancelled', 0, true],
      ['expired', 0, true],
      ['refused', 0, true],
      ['expired', 0, true],
      ['refused', 0, true],
    ]);
    const failed = 'start end error asyncStart asyncEnd';
    expect(stepsOf()).toEqual([failed, 'start end asyncStart asyncEnd', failed, failed, failed, failed, failed]);
    expect(calls().map(({ error }) => (error as Error | undefined)?.name)).toEqual([
      'RangeError',
      undefined,
      'Error',
      'DeadlineExceededError',
      'PoolOverloadedError',
      'DeadlineExceededError',
      'Error',
    ]);
    // Every message of a call's end has its outcome already.
    for (const { step, outcome } of seen) if (step !== 'end') expect(outcome === undefined).toBe(step === 'start');
  });

  test('tells a stream from its first read to its end, and one that is left', async () => {
    await using pool = createPool();
    const model = pool.register('m', { operations, load });
    const stream = model.call('count', 3);
    expect(seen).toEqual([]);
    const read: number[] = [];
    for await (const n of stream) read.push(n);
    expect(read).toEqual([1, 2, 3]);
    for await (const _ of model.call('count', 1_000_000)) break;
    await until('the end of both', () => calls().length === 2 && calls().every(({ outcome }) => outcome !== undefined));
    expect(calls().map(({ kind, outcome }) => [kind, outcome])).toEqual([
      ['stream', 'succeeded'],
      ['stream', 'cancelled'],
    ]);
  });

  test('hands the model the traceparent that a subscriber of start puts in, and runs it with the stores that are bound', async () => {
    await using pool = createPool();
    const model = pool.register('m', { operations, load });
    const put = (message: unknown) => {
      const call = message as TracedCall;
      call.traceparent = `${call.traceparent}+${call.id}`;
    };
    const start = channel('tracing:millrace:call:start');
    subscribe('tracing:millrace:call:start', put);
    start.bindStore(als as never, (message) => `bound ${(message as TracedCall).operation}` as never);
    try {
      parents.length = 0;
      const call = model.call('wait', 7, { traceparent: 'given' });
      await release(7);
      expect(await call).toBe('7 bound wait');
      expect(parents).toEqual([`given+${calls()[0]?.id}`]);
      expect(als.getStore()).toBe(undefined);
    } finally {
      start.unbindStore(als as never);
      unsubscribe('tracing:millrace:call:start', put);
    }
  });

  test('shows each worker that had a call, and why the first did not answer', async () => {
    await using pool = createPool();
    const model = pool.register('m', {
      operations: { key: operation<string, string>({ idempotent: true }) },
      host: 'process',
      module: new URL('../fixtures/dies-once-model.mjs', import.meta.url),
      maxWorkers: 1,
    });
    const mark = `${process.pid}-${Date.now()}`;
    expect(await model.call('key', mark)).toBe(mark);
    const [call] = calls();
    expect(call).toMatchObject({ outcome: 'succeeded', attempts: 2, host: 'process' });
    const [lost, answered] = call?.runs ?? [];
    expect(lost?.error).toMatchObject({ code: 'ERR_WORKER_CRASHED' });
    expect(answered).toMatchObject({ worker: call?.worker, error: undefined });
    expect(lost?.worker).not.toBe(answered?.worker);
    expect(lost?.endedMs).toBeLessThanOrEqual(answered?.startedMs ?? 0);
  });

  test('calls that share a run are told one by one', async () => {
    await using pool = createPool();
    const model = pool.register('m', { operations, load, coalesce: { wait: (n: number) => n } });
    const both = [als.run('a', () => model.call('wait', 8)), als.run('b', () => model.call('wait', 8))];
    await release(8);
    await Promise.all(both);
    expect(calls().map(({ coalesced, attempts, outcome }) => [coalesced, attempts, outcome])).toEqual([
      [false, 1, 'succeeded'],
      [true, 1, 'succeeded'],
    ]);
    expect(seen.filter(({ step }) => step === 'asyncEnd').map(({ store }) => store)).toEqual(['a', 'b']);
  });

  test('a subscriber that throws disturbs no call', async () => {
    await using pool = createPool();
    const model = pool.register('m', { operations, load });
    const errors: unknown[] = [];
    const [old] = [process.listeners('uncaughtException')];
    process.removeAllListeners('uncaughtException');
    process.on('uncaughtException', (error) => errors.push(error));
    const bad = () => {
      throw new Error('subscriber');
    };
    for (const step of STEPS) subscribe(`tracing:millrace:call:${step}`, bad);
    try {
      const call = model.call('wait', 9);
      await release(9);
      expect(await call).toBe('9 undefined');
      await expect(model.call('fail', 'x')).rejects.toThrow('x');
      expect(pool.stats()).toMatchObject({ accepted: 2, succeeded: 1, failed: 1 });
      await until('all errors', () => errors.length === 9);
    } finally {
      for (const step of STEPS) unsubscribe(`tracing:millrace:call:${step}`, bad);
      process.removeAllListeners('uncaughtException');
      for (const listener of old ?? []) process.on('uncaughtException', listener);
    }
  });
});
