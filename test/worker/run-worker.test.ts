import { AsyncLocalStorage } from 'node:async_hooks';
import { getEventListeners } from 'node:events';
import { expect, test, vi } from 'vitest';
import { SimulatedClock } from '../../src/core/index.js';
import {
  createWorkerChannels,
  type ModelOf,
  operation,
  type RunWorkerOptions,
  runWorker,
  type WorkerChannelsOptions,
  type WorkerProgress,
} from '../../src/worker/index.js';
import { deferred, settled, turn } from '../support/settlement.js';

const operations = {
  echo: operation<number, number>({ capacity: 64 }),
  other: operation<number, number>({ capacity: 64 }),
  third: operation<number, number>({ capacity: 64 }),
};
type Model = ModelOf<typeof operations>;

const identity: Model = { echo: async (n) => n, other: async (n) => n, third: async (n) => n };

function start(model: Partial<Model>, options?: RunWorkerOptions, channelsOptions?: WorkerChannelsOptions) {
  const { handle, channels } = createWorkerChannels(operations, channelsOptions);
  const done = runWorker({ ...identity, ...model }, channels, options);
  return { handle, channels, done };
}

test('WorkerStateView.waitFor() refuses a state that there is not', async () => {
  const { handle } = createWorkerChannels({ work: operation<number, number>() });
  await expect(handle.state.waitFor('redy' as never)).rejects.toThrow(/state must be one of .*, received 'redy'/);
  await expect(handle.state.waitFor(['ready', 'gone'] as never)).rejects.toThrow(/received 'gone'/);
  await handle.close();
});

test('runWorker() serves methods that are not async', async () => {
  const { handle } = start({
    echo: (n) => n + 1,
    other: () => {
      throw new RangeError('sync');
    },
  });
  expect(await handle.call('echo', 1)).toBe(2);
  await expect(handle.call('other', 1)).rejects.toThrow(new RangeError('sync'));
  expect(await handle.call('echo', 2)).toBe(3);
  await handle.close();
});

test('runWorker() calls warmup() before the first request and dispose() after the last', async () => {
  const order: string[] = [];
  const warm = deferred<void>();
  const { handle, done } = start({
    warmup: async () => {
      order.push('warmup');
      await warm.promise;
    },
    echo: async (n) => {
      order.push('echo');
      return n;
    },
    dispose: () => void order.push('dispose'),
  });
  const call = handle.call('echo', 1);
  await turn();
  expect(handle.state.current).toBe('loading');
  expect(order).toEqual(['warmup']);
  warm.resolve();
  await call;
  await handle.close();
  await done;
  expect(order).toEqual(['warmup', 'echo', 'dispose']);
});

test('runWorker() of a model without a method for an operation fails with a coded error', async () => {
  const { handle, channels } = createWorkerChannels(operations);
  const waiting = settled(handle.call('echo', 1));
  const done = runWorker({ echo: identity.echo, other: identity.other } as Model, channels);
  await expect(done).rejects.toMatchObject({ code: 'ERR_MODEL_CONTRACT', message: /'third'/ });
  expect((await waiting).error).toMatchObject({ code: 'ERR_MODEL_CONTRACT' });
  expect(handle.state.borrow()).toMatchObject({ state: 'failed', cause: { code: 'ERR_MODEL_CONTRACT' } });
  await expect(handle.call('echo', 1)).rejects.toMatchObject({
    code: 'ERR_WORKER_CLOSED',
    cause: { code: 'ERR_MODEL_CONTRACT' },
  });
  await expect(handle.state.waitFor('ready')).rejects.toMatchObject({ code: 'ERR_WORKER_CLOSED' });
  await handle.close();
  expect(handle.state.current).toBe('dead');
});

test('runWorker() refuses what is no model, and lifecycle members that are no methods', async () => {
  for (const model of [undefined, null, 7, { ...identity, dispose: true }]) {
    const { channels } = createWorkerChannels(operations);
    await expect(runWorker(model as unknown as Model, channels)).rejects.toMatchObject({ code: 'ERR_MODEL_CONTRACT' });
  }
});

test('runWorker() releases a model whose warmup() throws, and tells of the warmup alone', async () => {
  let disposed = 0;
  const { handle } = start({
    warmup: () => Promise.reject(new Error('cold')),
    dispose: async () => {
      disposed++;
      throw new Error('stuck');
    },
  });
  await expect(handle.call('echo', 1)).rejects.toMatchObject({ cause: { message: 'cold' } });
  expect(disposed).toBe(1);
});

test('runWorker() tells of a warmup() that throws though dispose() never ends', async () => {
  const { handle } = start({
    warmup: () => Promise.reject(new Error('cold')),
    dispose: () => new Promise(() => {}),
  });
  await expect(handle.call('echo', 1)).rejects.toMatchObject({ cause: { message: 'cold' } });
  expect(handle.state.current).toBe('failed');
});

test('runWorker() refuses channels that have a loop already, which goes on', async () => {
  const { handle, channels } = createWorkerChannels({ work: operation<number, number>() });
  const model = { work: (n: number) => n };
  const seen: string[] = [];
  runWorker(model, channels, { onProgress: () => seen.push('first') });
  const again = (): unknown => runWorker(model, channels, { onProgress: () => seen.push('second') });
  expect(again).toThrow('channels must have no loop yet');
  expect(await handle.call('work', 1)).toBe(1);
  expect(seen).toEqual(['first', 'first']);
  await handle.close();
  expect(() => runWorker(model, channels)).toThrow(TypeError);
});

test('runWorker() whose warmup() throws fails with a load error, and nobody has to listen', async () => {
  const why = new Error('no such file');
  const { handle } = start({ warmup: () => Promise.reject(why) });
  const { error } = await settled(handle.call('echo', 1));
  expect(error).toMatchObject({ code: 'ERR_WORKER_LOAD', cause: why, fault: 'model' });
  expect(handle.stats()).toMatchObject({ accepted: 1, failed: 1, pending: 0 });
  await handle.destroy();
  expect(handle.state.current).toBe('dead');
});

test('runWorker() refuses options that make no sense', () => {
  const { channels } = createWorkerChannels(operations);
  expect(() => runWorker(identity, channels, { concurrency: 0 })).toThrow(RangeError);
  expect(() => runWorker(identity, channels, { idleTimeoutMs: Number.NaN })).toThrow(RangeError);
  expect(() => runWorker(identity, channels, { parallel: 2 } as object)).toThrow(/unknown option 'parallel'/);
  expect(() => runWorker(identity, {} as typeof channels)).toThrow(/must come from createWorkerChannels/);
});

test('runWorker() becomes idle by its timer with nobody sending, and leaves it on the next request', async () => {
  const clock = new SimulatedClock();
  const { handle } = start({}, { idleTimeoutMs: 1_000 }, { clock });
  await clock.advance(0);
  expect(handle.state.current).toBe('ready');
  await clock.advance(999);
  expect(handle.state.current).toBe('ready');
  await clock.advance(1);
  expect(handle.state.borrow()).toEqual({ state: 'idle', enteredAt: 1_000 });
  await clock.advance(5_000);
  expect(handle.state.current).toBe('idle');
  const seen: string[] = [];
  const receiver = handle.state.subscribe();
  const call = handle.call('echo', 1);
  await receiver.changed();
  seen.push(receiver.borrow().state);
  expect(await call).toBe(1);
  expect(['processing', 'ready']).toContain(seen[0]);
  expect(handle.state.current).toBe('ready');
  // The time counts from the last request on.
  await clock.advance(999);
  expect(handle.state.current).toBe('ready');
  await clock.advance(1);
  expect(handle.state.current).toBe('idle');
  await handle.close();
  await clock.advance(0);
  expect(clock.pendingTimers).toBe(0);
});

test('runWorker() is not idle while a long call runs, nor too soon after it', async () => {
  const clock = new SimulatedClock();
  const slow = deferred<number>();
  const { handle } = start({ echo: () => slow.promise }, { idleTimeoutMs: 1_000 }, { clock });
  await clock.advance(500);
  const call = handle.call('echo', 1);
  await clock.advance(5_000);
  expect(handle.state.current).toBe('processing');
  slow.resolve(2);
  expect(await call).toBe(2);
  await clock.advance(999);
  expect(handle.state.current).toBe('ready');
  await clock.advance(1_001);
  expect(handle.state.current).toBe('idle');
  await handle.close();
});

test('runWorker() with an infinite idle timeout starts no timer', async () => {
  const clock = new SimulatedClock();
  const { handle } = start({}, { idleTimeoutMs: Number.POSITIVE_INFINITY }, { clock });
  await handle.call('echo', 1);
  expect(clock.pendingTimers).toBe(0);
  await handle.close();
  expect(clock.pendingTimers).toBe(0);
});

test('WorkerHandle.call() keeps one clock timer for any number of deadlines', async () => {
  const clock = new SimulatedClock();
  const { handle } = start(
    { echo: () => new Promise(() => {}) },
    { idleTimeoutMs: Number.POSITIVE_INFINITY },
    { clock },
  );
  const calls = Array.from({ length: 500 }, (_, n) => settled(handle.call('echo', n, { timeoutMs: 1_000 + n })));
  await clock.advance(0);
  expect(clock.pendingTimers).toBe(1);
  await clock.advance(1_000);
  expect(handle.stats()).toMatchObject({ expired: 1 });
  await clock.advance(10_000);
  for (const { error } of await Promise.all(calls)) expect(error).toMatchObject({ code: 'ERR_DEADLINE_EXCEEDED' });
  expect(clock.pendingTimers).toBe(0);
  const { expired, refused } = handle.stats();
  expect(expired + refused).toBe(500);
  void handle.destroy();
  await clock.advance(10_000);
  expect(handle.state.current).toBe('dead');
});

test('runWorker() gives saturated operations equal shares, within 10 %', async () => {
  for (const concurrency of [1, 3]) {
    const served = { echo: 0, other: 0, third: 0 };
    let left = 3_000;
    const finished = deferred<void>();
    const count = (name: keyof typeof served) => async (n: number) => {
      served[name]++;
      if (--left === 0) finished.resolve();
      return n;
    };
    const { handle } = start({ echo: count('echo'), other: count('other'), third: count('third') }, { concurrency });
    // Unequal numbers of clients, each of which calls again as soon as it is answered.
    const clients = { echo: 60, other: 20, third: 8 };
    let isOver = false;
    const running = Object.entries(clients).flatMap(([name, number]) =>
      Array.from({ length: number }, async () => {
        while (!isOver) await handle.call(name as keyof typeof served, 1);
      }),
    );
    await finished.promise;
    const shares = Object.values(served).map((each) => each / (3_000 / 3));
    isOver = true;
    for (const share of shares) expect(Math.abs(share - 1)).toBeLessThan(0.1);
    await Promise.all(running);
    await handle.close();
  }
});

test('runWorker() lets timers and I/O run however fast its callers are', async () => {
  const { handle } = start({});
  let isOver = false;
  let calls = 0;
  const clients = Array.from({ length: 16 }, async () => {
    while (!isOver) {
      await handle.call('echo', 1);
      calls++;
    }
  });
  await new Promise((resolve) => setTimeout(resolve, 5));
  isOver = true;
  await Promise.all(clients);
  expect(calls).toBeGreaterThan(16);
  await handle.close();
});

test('runWorker() runs each method in the async context of its caller', async () => {
  const storage = new AsyncLocalStorage<string>();
  const inner = operation.stream<number, string>();
  const declared = { where: operation<number, string>(), stream: inner };
  const { handle, channels } = createWorkerChannels(declared);
  storage.run('the loop', () =>
    runWorker(
      {
        where: async () => {
          await turn();
          return storage.getStore() ?? 'nowhere';
        },
        async *stream() {
          yield storage.getStore() ?? 'nowhere';
          await turn();
          yield storage.getStore() ?? 'nowhere';
        },
      },
      channels,
    ),
  );
  const calls = ['a', 'b', 'c'].map((name) => storage.run(name, () => handle.call('where', 1)));
  expect(await Promise.all(calls)).toEqual(['a', 'b', 'c']);
  expect(await handle.call('where', 1)).toBe('nowhere');
  const chunks: string[] = [];
  for await (const chunk of storage.run('d', () => handle.call('stream', 1))) chunks.push(chunk);
  expect(chunks).toEqual(['d', 'd']);
  await handle.close();
});

test('runWorker() runs calls that come one after the other, alone and in pairs, each in the context of its caller', async () => {
  const storage = new AsyncLocalStorage<string>();
  const declared = {
    where: operation<number, string>(),
    there: operation<number, string>(),
    stream: operation.stream<number, string>(),
  };
  const { handle, channels } = createWorkerChannels(declared);
  const where = async (n: number): Promise<string> => {
    const store = storage.getStore() ?? 'nowhere';
    // Stays within the call.
    storage.enterWith('the model');
    if (n % 3 === 0) await null;
    return store;
  };
  const model = {
    where,
    there: where,
    async *stream() {
      yield storage.getStore() ?? 'nowhere';
      await turn();
      yield storage.getStore() ?? 'nowhere';
    },
  };
  storage.run('the loop', () => runWorker(model, channels, { concurrency: 2 }));
  const call = (name: string, n: number): Promise<string> => storage.run(name, () => handle.call('where', n));
  // More than the loop serves without a pause.
  for (let n = 0; n < 3_000; n++) expect(await call(`call ${n}`, n)).toBe(`call ${n}`);
  expect(await handle.call('where', 1)).toBe('nowhere');
  for (let n = 0; n < 2_000; n++) {
    const first = call('a', n);
    for (let hops = n % 4; hops > 0; hops--) await null;
    const second = storage.run('b', () => handle.call(n % 3 === 0 ? 'where' : 'there', n + 1));
    expect(await Promise.all([first, second])).toEqual(['a', 'b']);
  }
  await call('before', 1);
  const chunks: string[] = [];
  for await (const chunk of storage.run('stream', () => handle.call('stream', 1))) chunks.push(chunk);
  expect(chunks).toEqual(['stream', 'stream']);
  await handle.close();
});

test('runWorker() runs a call that is made just before another leaves the model in the context of its caller', async () => {
  const storage = new AsyncLocalStorage<string>();
  const { promise, resolve } = deferred<number>();
  const { handle } = start(
    { echo: () => promise, other: async (n) => (storage.getStore() === 'caller' ? n : -1) },
    { concurrency: 2 },
  );
  await handle.call('third', 0);
  // Before the worker is told.
  const call = promise.then(() => storage.run('caller', () => handle.call('other', 2)));
  const leaving = handle.call('echo', 1);
  await null;
  await null;
  resolve(1);
  expect(await call).toBe(2);
  expect(await leaving).toBe(1);
  await handle.close();
});

test('runWorker() starts calls in the order in which they were made, also while another leaves the model', async () => {
  const started: number[] = [];
  const echo = async (n: number): Promise<number> => {
    started.push(n);
    for (let hops = n % 5; hops > 0; hops--) await null;
    return n;
  };
  const { handle } = start({ echo }, { concurrency: 2 });
  let made = 0;
  const client = async (hops: number): Promise<void> => {
    while (made < 2_000) {
      await handle.call('echo', made++);
      for (let left = hops; left > 0; left--) await null;
      if (made % 7 === 0) await new Promise<void>((resolve) => process.nextTick(resolve));
    }
  };
  await Promise.all([client(0), client(1), client(2), client(3)]);
  expect(started).toEqual(Array.from({ length: made }, (_, n) => n));
  await handle.close();
});

test('runWorker() never runs a call that is aborted in the turn in which it was made, right after another', async () => {
  const started: number[] = [];
  const echo = async (n: number): Promise<number> => {
    started.push(n);
    return n;
  };
  const { handle } = start({ echo });
  for (let n = 0; n < 10; n += 2) {
    await handle.call('echo', n);
    const controller = new AbortController();
    const aborted = settled(handle.call('echo', n + 1, { signal: controller.signal }));
    controller.abort(new Error('no'));
    expect((await aborted).error).toEqual(new Error('no'));
  }
  expect(started).toEqual([0, 2, 4, 6, 8]);
  // On a busy machine one may have come in a pause of the loop, and holds its place until that is over.
  await new Promise((resolve) => setImmediate(resolve));
  expect(handle.stats()).toMatchObject({ accepted: 10, succeeded: 5, cancelled: 5, queued: 0, inFlight: 0 });
  await handle.close();
});

test('WorkerHandle.call() given up drops and counts the result that comes later', async () => {
  const slow = deferred<number>();
  const { handle } = start({ echo: () => slow.promise });
  const controller = new AbortController();
  const call = settled(handle.call('echo', 1, { signal: controller.signal }));
  const late: unknown[] = [];
  const reading = (async () => {
    for await (const event of handle.events()) if (event.type === 'late') late.push(event.operation);
  })();
  await handle.state.waitFor('processing');
  controller.abort('gone');
  expect(await call).toEqual({ error: 'gone' });
  expect(handle.stats()).toMatchObject({ cancelled: 1, pending: 0, inFlight: 1, lateResults: 0 });
  slow.resolve(7);
  await handle.state.waitFor('ready');
  expect(handle.stats()).toMatchObject({ cancelled: 1, succeeded: 0, inFlight: 0, lateResults: 1 });
  await handle.close();
  await reading;
  expect(late).toEqual(['echo']);
});

test('a request is answered exactly once, whatever the loop does with it', async () => {
  const { handle, channels } = createWorkerChannels(operations);
  channels.enter('loading');
  channels.enter('ready');
  const call = handle.call('echo', 1);
  const { value: request } = await channels.operations.echo.recv();
  if (request === undefined) throw new Error('nothing came');
  expect(request.take()).toBe(true);
  expect(request.reply.isClosed).toBe(false);
  expect(request.reply.send(1)).toBe(true);
  expect(request.reply.send(2)).toBe(false);
  expect(request.reply.fail(new Error('no'))).toBe(false);
  expect(request.take()).toBe(false);
  expect(request.reply.isClosed).toBe(true);
  expect(await call).toBe(1);
  expect(handle.stats()).toMatchObject({ accepted: 1, succeeded: 1, failed: 0, lateResults: 2, inFlight: 0 });
  channels.finish();
});

test('a request frees its place when the loop takes it, and when the loop finds it dead', async () => {
  const { handle, channels } = createWorkerChannels({ one: operation<number, number>({ capacity: 1 }) });
  const controller = new AbortController();
  const first = settled(handle.call('one', 1, { signal: controller.signal }));
  const second = settled(handle.call('one', 2));
  controller.abort('gone');
  await first;
  // The dead one still has its place: a loop that is stuck pushes back.
  expect(handle.stats()).toMatchObject({ queued: 1, waiting: 1 });
  const dead = (await channels.operations.one.recv()).value;
  expect(dead?.take()).toBe(false);
  expect(handle.stats()).toMatchObject({ queued: 1, waiting: 0 });
  const alive = (await channels.operations.one.recv()).value;
  expect(alive?.input).toBe(2);
  expect(handle.stats()).toMatchObject({ queued: 0, inFlight: 1 });
  alive?.reply.send(4);
  expect(await second).toEqual({ value: 4 });
  channels.finish();
});

test('Request.signal is made when it is read, and carries the reason it was given up for', async () => {
  const { handle, channels } = createWorkerChannels(operations);
  const controller = new AbortController();
  const calls = [1, 2].map((n) => settled(handle.call('echo', n, { signal: controller.signal })));
  const [early, late] = await channels.operations.echo.recvMany(2);
  const signal = early?.signal;
  expect(signal?.aborted).toBe(false);
  controller.abort('enough');
  await Promise.all(calls);
  expect(signal?.reason).toBe('enough');
  expect(late?.signal.reason).toBe('enough');
  channels.finish();
});

test('RunWorkerOptions.onProgress is told before and after each call into the model', async () => {
  const clock = new SimulatedClock();
  const seen: WorkerProgress[] = [];
  const slow = deferred<number>();
  const { handle } = start({ echo: () => slow.promise }, { onProgress: (each) => seen.push(each) }, { clock });
  const call = handle.call('echo', 1);
  await clock.advance(40);
  expect(seen).toEqual([{ phase: 'enter', operation: 'echo', inFlight: 1, processed: 0, at: 0 }]);
  expect(await handle.ping()).toMatchObject({ state: 'processing', runningMs: 40, inFlight: 1, uptimeMs: 40 });
  slow.resolve(1);
  await call;
  expect(seen[1]).toEqual({ phase: 'leave', operation: 'echo', inFlight: 0, processed: 1, at: 40 });
  expect(await handle.ping()).toMatchObject({ runningMs: 0, latency: { count: 1, p50: 40, p95: 40, p99: 40 } });
  expect(handle.stats().latency).toEqual({ count: 1, p50: 40, p95: 40, p99: 40 });
  await handle.close();
});

test('WorkerHandle.ping() tells what went wrong inside the model, and a health() that throws', async () => {
  const clock = new SimulatedClock();
  const { handle } = start(
    {
      echo: () => Promise.reject(Object.assign(new TypeError('bad'), { code: 'E_BAD' })),
      health: () => {
        throw new Error('do not know');
      },
    },
    {},
    { clock },
  );
  await settled(handle.call('echo', 1));
  expect(await handle.ping()).toMatchObject({
    processed: 1,
    failed: 1,
    lastError: { name: 'TypeError', message: 'bad', code: 'E_BAD', at: 0 },
    model: 'do not know',
  });
  await handle.close();
});

test('WorkerHandle.ping() is answered while the model is full, and times out when no loop answers', async () => {
  const clock = new SimulatedClock();
  const { handle } = createWorkerChannels(operations, { clock });
  const ping = settled(handle.ping({ timeoutMs: 100 }));
  await clock.advance(100);
  expect((await ping).error).toMatchObject({ code: 'ERR_TIMEOUT' });
  const controller = new AbortController();
  const aborted = settled(handle.ping({ signal: controller.signal }));
  controller.abort('never mind');
  expect(await aborted).toEqual({ error: 'never mind' });
  await handle.close();
  expect(clock.pendingTimers).toBe(0);
});

test('WorkerHandle.destroy() lets the model go once the last call has left it', async () => {
  const clock = new SimulatedClock();
  const slow = deferred<number>();
  const dispose = vi.fn();
  const { handle, done } = start({ echo: () => slow.promise, dispose }, {}, { clock });
  const call = settled(handle.call('echo', 1));
  await clock.advance(0);
  const destroying = handle.destroy('now');
  expect((await call).error).toMatchObject({ code: 'ERR_WORKER_CLOSED', cause: 'now' });
  await clock.advance(4_999);
  expect(handle.state.current).toBe('evicting');
  // The call hangs: the worker is dead without it, after five seconds.
  await clock.advance(1);
  await destroying;
  expect(handle.state.current).toBe('dead');
  expect(dispose).not.toHaveBeenCalled();
  slow.resolve(1);
  await done;
  expect(dispose).toHaveBeenCalledOnce();
  expect(clock.pendingTimers).toBe(0);
});

test('WorkerHandle.close() while the model loads serves what was called, then ends', async () => {
  const warm = deferred<void>();
  const { handle, done } = start({ warmup: () => warm.promise });
  const call = handle.call('echo', 3);
  const closing = handle.close();
  warm.resolve();
  expect(await call).toBe(3);
  await closing;
  await done;
  expect(handle.state.current).toBe('dead');
});

test('WorkerHandle.close() of a worker that was never run is dead at once', async () => {
  const { handle, channels } = createWorkerChannels(operations);
  const call = settled(handle.call('echo', 3));
  await handle.close({ timeoutMs: 0 });
  expect((await call).error).toMatchObject({ code: 'ERR_WORKER_CLOSED' });
  expect(handle.state.current).toBe('dead');
  // A loop that comes too late ends at once.
  await runWorker(identity, channels);
});

test('dispose() that throws is the reason of the end, and the promise of the loop', async () => {
  const why = new Error('stuck');
  const { handle, done } = start({ dispose: () => Promise.reject(why) });
  await handle.call('echo', 1);
  await handle.close();
  await expect(done).rejects.toBe(why);
  expect(handle.state.borrow()).toMatchObject({ state: 'dead', cause: why });
});

test('a call leaves no listener on its signal, and a signal may serve ten thousand calls', async () => {
  const warnings: unknown[] = [];
  const onWarning = (warning: unknown): void => void warnings.push(warning);
  process.on('warning', onWarning);
  const { handle } = start({}, { concurrency: 4 });
  const controller = new AbortController();
  const { signal } = controller;
  await Promise.all(Array.from({ length: 10_000 }, (_, n) => handle.call('echo', n, { signal })));
  expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  await turn();
  expect(warnings).toEqual([]);
  process.off('warning', onWarning);
  await handle.close();
});
