/** What models throw and answer that nobody would think of: the call has its answer, and the worker serves on. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { execFile } from 'node:child_process';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import {
  type CallContext,
  createWorkerChannels,
  operation,
  runWorker,
  type WorkerHandle,
} from '../../src/worker/index.js';

const worker = new URL('../../dist/worker/index.js', import.meta.url).href;

const operations = { odd: operation<number, unknown>(), stream: operation.stream<number, unknown>() };

function start(odd: () => unknown): WorkerHandle<typeof operations> {
  const { handle, channels } = createWorkerChannels(operations);
  const model = {
    odd: (value: number) => (value === 0 ? odd() : value),
    async *stream() {
      yield await odd();
    },
  };
  runWorker(model, channels);
  return handle;
}

/** The kind of answer, without a look at it. */
function kindOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    (value) => typeof value,
    () => 'rejected',
  );
}

function thrower(): never {
  throw new Error('not to be asked');
}

const withGetter = (key: string): Error => Object.defineProperty(new Error('odd'), key, { get: thrower });

test.each([
  ['an object without a prototype', Object.create(null), 'something that has no text'],
  ['a proxy that throws', new Proxy({}, { get: thrower, getPrototypeOf: thrower }), 'something that has no text'],
  ['an error whose code throws', withGetter('code'), 'odd'],
  ['an error whose message throws', withGetter('message'), 'something that has no text'],
  ['a symbol', Symbol('odd'), 'Symbol(odd)'],
])('runWorker() answers a call whose method throws %s', async (_, thrown, message) => {
  const handle = start(() => {
    throw thrown;
  });
  expect(await kindOf(handle.call('odd', 0))).toBe('rejected');
  expect(await kindOf(handle.call('stream', 0).next())).toBe('rejected');
  expect(await handle.call('odd', 1)).toBe(1);
  expect((await handle.ping()).lastError).toMatchObject({ message });
  expect(handle.stats()).toMatchObject({ accepted: 3, failed: 2, succeeded: 1, inFlight: 0 });
  await handle.close();
});

class Unruly extends Promise<unknown> {
  override then(): never {
    throw new Error('no reaction');
  }
}

const oddPromise = (properties: PropertyDescriptorMap): unknown =>
  Object.defineProperties(Promise.resolve(1), properties);
const callBothTwice = (resolve: (value: unknown) => void, reject: (error: unknown) => void): void => {
  resolve(1);
  resolve(2);
  reject(new Error('both'));
};

test.each([
  ['a promise whose then() throws', () => new Unruly(() => {}), 'rejected'],
  ['a proxy of a promise', () => new Proxy(Promise.resolve(1), {}), 'rejected'],
  ['a promise whose constructor throws', () => oddPromise({ constructor: { get: thrower } }), 'rejected'],
  ['a promise whose then() calls both back, twice', () => oddPromise({ then: { value: callBothTwice } }), 'number'],
  ['a function with a then()', () => Object.assign(() => {}, { then: callBothTwice }), 'number'],
])('runWorker() answers a call whose result is %s', async (_, odd, kind) => {
  const handle = start(odd);
  expect(await kindOf(handle.call('odd', 0))).toBe(kind);
  expect(await handle.call('odd', 1)).toBe(1);
  expect(handle.stats()).toMatchObject({ accepted: 2, succeeded: kind === 'number' ? 2 : 1, inFlight: 0 });
  await handle.close();
});

test('runWorker() counts a call as failed whose result is a function with a then() that rejects', async () => {
  const handle = start(() =>
    Object.assign(() => {}, { then: (_: unknown, reject: (error: Error) => void) => reject(new Error('no')) }),
  );
  await expect(handle.call('odd', 0)).rejects.toThrow('no');
  expect(handle.stats()).toMatchObject({ succeeded: 0, failed: 1 });
  await handle.close();
});

test('runWorker() fails with a load error when warmup() throws an object without a prototype', async () => {
  const { handle, channels } = createWorkerChannels({ odd: operation<number, number>() });
  const warmup = () => {
    throw Object.create(null);
  };
  await expect(runWorker({ odd: (n) => n, warmup }, channels)).rejects.toMatchObject({ code: 'ERR_WORKER_LOAD' });
  await handle.close();
});

test('WorkerHandle.ping() is answered when health() throws an object without a prototype', async () => {
  const { handle, channels } = createWorkerChannels({ odd: operation<number, number>() });
  const health = () => {
    throw Object.create(null);
  };
  runWorker({ odd: (n) => n, health }, channels);
  expect((await handle.ping()).model).toBe('something that has no text');
  await handle.close();
});

test('RunWorkerOptions.onProgress that throws is an uncaught exception, and no answer', async () => {
  const code = `
    import { createWorkerChannels, operation, runWorker } from ${JSON.stringify(worker)};
    process.on('uncaughtException', (error) => console.log(error.message));
    const { handle, channels } = createWorkerChannels({ same: operation() });
    const onProgress = ({ phase }) => { throw new Error(phase); };
    runWorker({ same: async (value) => value }, channels, { onProgress });
    console.log(await handle.call('same', 1), await handle.call('same', 2), handle.stats().inFlight);
    await handle.close();`;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', code]);
  expect(stdout.trim().split('\n').sort()).toEqual(['1 2 0', 'enter', 'enter', 'leave', 'leave']);
});

test('runWorker() does not run a call that is given up by who is told that it was taken', async () => {
  const { handle, channels } = createWorkerChannels({ note: operation<string, string>() });
  const ran: string[] = [];
  const controller = new AbortController();
  const onStep = (event: unknown): void => {
    if ((event as { to: string }).to === 'processing') controller.abort('not now');
  };
  const note = (text: string): string => {
    ran.push(text);
    return text;
  };
  runWorker({ note }, channels);
  await handle.state.waitFor('ready');
  subscribe('millrace:worker:state', onStep);
  await expect(handle.call('note', 'given up', { signal: controller.signal })).rejects.toBe('not now');
  unsubscribe('millrace:worker:state', onStep);
  expect(await handle.call('note', 'wanted')).toBe('wanted');
  expect(ran).toEqual(['wanted']);
  expect(handle.stats()).toMatchObject({ accepted: 2, succeeded: 1, cancelled: 1, lateResults: 0, inFlight: 0 });
  await handle.close();
});

test('RunWorkerOptions.onProgress that gives the call up leaves the method its input', async () => {
  const { handle, channels } = createWorkerChannels({ note: operation<string, void>() });
  const seen: unknown[] = [];
  const controller = new AbortController();
  const note = (text: string, { signal }: CallContext): void => void seen.push(text, signal.aborted);
  runWorker({ note }, channels, { onProgress: () => controller.abort('not now') });
  await expect(handle.call('note', 'here', { signal: controller.signal })).rejects.toBe('not now');
  expect(seen).toEqual(['here', true]);
  await handle.close();
});

test('ReplyStream.return() returns the iterator of the model once', async () => {
  const { handle, channels } = createWorkerChannels({ count: operation.stream<number, number>({ chunkCapacity: 1 }) });
  let next = 0;
  let returned = 0;
  const iterator: AsyncIterableIterator<number> = {
    next: async () => ({ done: false, value: next++ }),
    return: async () => ({ done: true, value: returned++ }),
    [Symbol.asyncIterator]() {
      return this;
    },
  };
  runWorker({ count: () => iterator }, channels);
  const stream = handle.call('count', 1);
  expect(await stream.next()).toEqual({ done: false, value: 0 });
  await stream.return();
  while (handle.stats().inFlight > 0) await new Promise((resolve) => setImmediate(resolve));
  expect(returned).toBe(1);
  await handle.close();
});

test('runWorker() runs a call that a method makes to its own worker in the context of that call', async () => {
  const context = new AsyncLocalStorage<string>();
  const { handle, channels } = createWorkerChannels({
    outer: operation<number, number>(),
    inner: operation<number, unknown>(),
  });
  let inner: Promise<unknown> | undefined;
  const model = {
    outer(value: number) {
      inner = context.run('inner', () => handle.call('inner', value));
      return value;
    },
    inner: () => context.getStore(),
  };
  runWorker(model as never, channels, { concurrency: 2 });
  await context.run('warm', () => handle.call('inner', 0));
  await context.run('outer', () => handle.call('outer', 1));
  expect(await inner).toBe('inner');
  await handle.close();
});

test('runWorker() answers a call whose result throws when it is asked whether it is a promise, and serves on', async () => {
  const { handle, channels } = createWorkerChannels({
    same: operation<number, number>(),
    odd: operation<number, unknown>(),
  });
  const model = {
    same: (value: number) => value,
    odd: () => ({
      get then(): never {
        throw new Error('no promise');
      },
    }),
  };
  runWorker(model as never, channels);
  await handle.call('same', 1);
  await expect(handle.call('odd', 1)).rejects.toThrow('no promise');
  expect(await handle.call('same', 2)).toBe(2);
  expect(handle.stats()).toMatchObject({ inFlight: 0 });
  await handle.close();
});
