/** What models throw and answer that nobody would think of: the call has its answer, and the worker serves on. */
import { expect, test } from 'vitest';
import { createWorkerChannels, operation, runWorker, type WorkerHandle } from '../../src/worker/index.js';

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
