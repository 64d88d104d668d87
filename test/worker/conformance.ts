import { inspect } from 'node:util';
import { afterEach, describe, expect, test } from 'vitest';
import { operation, type WorkerEvent, type WorkerHandle } from '../../src/worker/index.js';
import { settled } from '../support/settlement.js';

/** What the conformance model can do; `fixtures/conformance-model.mjs` does it. */
export const conformanceOperations = {
  echo: operation<unknown, unknown>({ capacity: 4, idempotent: true }),
  hold: operation<string, string>({ capacity: 4 }),
  release: operation<string, boolean>({ capacity: 4 }),
  journal: operation<undefined, string[]>({ capacity: 4 }),
  sum: operation<Float32Array, Float32Array>({ capacity: { items: 4, bytes: 4_000 } }),
  fail: operation<{ name?: string; message: string; code?: string }, never>(),
  trace: operation<undefined, { traceparent: string | undefined; hasDeadline: boolean }>(),
  list: operation.stream<undefined, number>(),
  count: operation.stream<{ to: number; failAt?: number; holdAt?: number }, number>({ capacity: 2, chunkCapacity: 2 }),
};

export type ConformanceHandle = WorkerHandle<typeof conformanceOperations>;

/** How the suite makes a worker in one host. */
export interface ConformanceHost {
  readonly name: 'inline' | 'thread' | 'process';
  /** Starts a worker on `fixtures/conformance-model.mjs`. */
  spawn(options: { concurrency: number; idleTimeoutMs?: number }): ConformanceHandle | Promise<ConformanceHandle>;
}

export const conformanceModel: URL = new URL('./fixtures/conformance-model.mjs', import.meta.url);

/** Polls without a timer: each attempt is a round trip, or a turn of the event loop. */
async function until(check: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await check())) await new Promise<void>((resolve) => setImmediate(resolve));
}

/** What every worker does, in whatever host its model runs. */
export function describeWorkerConformance(host: ConformanceHost): void {
  describe(`worker in host ${host.name}`, () => {
    const open: ConformanceHandle[] = [];

    async function spawn(options?: { concurrency?: number; idleTimeoutMs?: number }): Promise<ConformanceHandle> {
      const handle = await host.spawn({ concurrency: 3, ...options });
      open.push(handle);
      return handle;
    }

    afterEach(async () => {
      for (const handle of open.splice(0)) await handle.destroy('the test is over');
    });

    /** Holds every slot of the model. What it answers lets them go. */
    async function saturate(handle: ConformanceHandle, slots: number): Promise<() => Promise<void>> {
      const controller = new AbortController();
      const calls = Array.from({ length: slots }, (_, n) =>
        settled(handle.call('hold', `saturate ${n}`, { signal: controller.signal })),
      );
      await until(() => handle.stats().inFlight === slots);
      return async () => {
        controller.abort(new Error('let go'));
        await Promise.all(calls);
      };
    }

    function expectBalanced(handle: ConformanceHandle): void {
      const { accepted, succeeded, failed, expired, cancelled, pending } = handle.stats();
      expect(succeeded + failed + expired + cancelled + pending).toBe(accepted);
    }

    test('WorkerHandle.call() answers with what the model returns', async () => {
      const handle = await spawn();
      expect(await handle.call('echo', { text: 'ümlaut', list: [1, null, undefined] })).toEqual({
        text: 'ümlaut',
        list: [1, null, undefined],
      });
      expect(await handle.call('echo', undefined)).toBeUndefined();
      expect(await handle.call('echo', new Map([['a', new Date(0)]]))).toEqual(new Map([['a', new Date(0)]]));
    });

    test('WorkerHandle.call() carries typed arrays both ways', async () => {
      const handle = await spawn();
      const answer = await handle.call('sum', new Float32Array([1, 2.5, -3]));
      expect(answer).toEqual(new Float32Array([2, 5, -6]));
      const bytes = new Uint8Array([0, 127, 255]);
      expect(new Uint8Array((await handle.call('echo', bytes)) as Uint8Array)).toEqual(bytes);
    });

    test('OperationSender.call() is a call of its operation', async () => {
      const handle = await spawn();
      expect(await handle.senders.echo.call('x')).toBe('x');
      expect(handle.senders.echo.maxCapacity).toBe(4);
      await until(() => handle.senders.echo.capacity === 4);
      expect(handle.senders.echo.len).toBe(0);
    });

    test('WorkerHandle.call() of an unknown operation rejects', async () => {
      const handle = await spawn();
      const call = handle.call('paint' as 'echo', 1);
      await expect(call).rejects.toMatchObject({ code: 'ERR_UNKNOWN_OPERATION', operation: 'paint' });
    });

    test('WorkerHandle.call() refuses options that make no sense, and nothing else suffers', async () => {
      const handle = await spawn();
      await expect(handle.call('echo', 1, { timeoutMs: -1 })).rejects.toThrow(RangeError);
      await expect(handle.call('echo', 1, { signal: {} as AbortSignal })).rejects.toThrow(TypeError);
      await expect(handle.call('echo', 1, { timeout: 5 } as object)).rejects.toThrow(/unknown option 'timeout'/);
      await expect(handle.call('count', { to: 1 }, { timeoutMs: -1 }).next()).rejects.toThrow(RangeError);
      expect(await handle.call('echo', 1)).toBe(1);
      expect(handle.stats().accepted).toBe(1);
    });

    test('WorkerHandle.call() rejects with the error of the model: class, message, code and cause', async () => {
      const handle = await spawn();
      const { error } = await settled(
        handle.call('fail', { name: 'TypeError', message: 'no good', code: 'E_NO_GOOD' }),
      );
      expect(error).toBeInstanceOf(TypeError);
      expect(error).toMatchObject({ name: 'TypeError', message: 'no good', code: 'E_NO_GOOD' });
      expect((error as Error).cause).toBeInstanceOf(RangeError);
      expect((error as { cause: Error }).cause.message).toBe('the cause');
      expect(handle.stats().failed).toBe(1);
      expect(await handle.call('echo', 'still here')).toBe('still here');
      expectBalanced(handle);
    });

    test('WorkerHandle.call() with an aborted signal rejects before any effect', async () => {
      const handle = await spawn();
      const reason = new Error('before');
      await expect(handle.call('echo', 1, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
      expect(handle.stats()).toMatchObject({ accepted: 0, refused: 1 });
      expect(await handle.call('journal', undefined)).not.toContain('echo');
    });

    test('WorkerHandle.call() aborted in the queue is answered at once and never run', async () => {
      const handle = await spawn();
      const letGo = await saturate(handle, 3);
      const controller = new AbortController();
      const call = settled(handle.call('hold', 'never', { signal: controller.signal }));
      expect(handle.stats().queueDepth.hold).toBe(1);
      controller.abort('changed my mind');
      expect(await call).toEqual({ error: 'changed my mind' });
      expect(handle.stats().inFlight).toBe(3);
      await letGo();
      expect(await handle.call('journal', undefined)).not.toContain('hold never');
      expect(handle.stats()).toMatchObject({ cancelled: 4, queued: 0 });
      expectBalanced(handle);
    });

    test('WorkerHandle.call() expired in the queue is answered and never run', async () => {
      const handle = await spawn();
      const letGo = await saturate(handle, 3);
      const { error } = await settled(handle.call('hold', 'late', { timeoutMs: 5 }));
      expect(error).toMatchObject({ code: 'ERR_DEADLINE_EXCEEDED', timeoutMs: 5 });
      await letGo();
      expect(await handle.call('journal', undefined)).not.toContain('hold late');
      expect(handle.stats().expired).toBe(1);
      expectBalanced(handle);
    });

    test('WorkerHandle.call() that is overdue when its turn comes is never run, however late the timers are', async () => {
      const handle = await spawn();
      const letGo = await saturate(handle, 3);
      const late = settled(handle.call('hold', 'late', { timeoutMs: 5 }));
      const end = performance.now() + 20;
      while (performance.now() < end);
      // No timer has had its turn yet.
      await letGo();
      expect((await late).error).toMatchObject({ code: 'ERR_DEADLINE_EXCEEDED' });
      expect(await handle.call('journal', undefined)).not.toContain('hold late');
      expectBalanced(handle);
    });

    test('WorkerHandle.call() with no time at all is answered as expired and never run', async () => {
      const handle = await spawn();
      await handle.state.waitFor('ready');
      const { error } = await settled(handle.call('hold', 'never', { timeoutMs: 0 }));
      expect(error).toMatchObject({ code: 'ERR_DEADLINE_EXCEEDED', timeoutMs: 0 });
      expect(await handle.call('journal', undefined)).not.toContain('hold never');
      expect(handle.stats()).toMatchObject({ expired: 1, succeeded: 1 });
    });

    test('WorkerHandle.call() aborted while it runs is answered at once, and the model sees its signal', async () => {
      const handle = await spawn();
      const controller = new AbortController();
      const call = settled(handle.call('hold', 'running', { signal: controller.signal }));
      await until(async () => (await handle.call('journal', undefined)).includes('hold running'));
      controller.abort('enough');
      expect(await call).toEqual({ error: 'enough' });
      await until(async () => (await handle.call('journal', undefined)).includes('aborted running'));
      await until(() => handle.stats().inFlight === 0);
      expect(handle.stats()).toMatchObject({ cancelled: 1, failed: 0 });
    });

    test('WorkerHandle.call() past its deadline while it runs is answered, and the model sees its signal', async () => {
      const handle = await spawn();
      const { error } = await settled(handle.call('hold', 'slow', { timeoutMs: 30 }));
      expect(error).toMatchObject({ code: 'ERR_DEADLINE_EXCEEDED' });
      await until(async () => {
        const journal = await handle.call('journal', undefined);
        return journal.includes('aborted slow') || !journal.includes('hold slow');
      });
      expect(handle.stats().expired).toBe(1);
    });

    test('WorkerHandle.call() tells the model the traceparent and that there is a deadline', async () => {
      const handle = await spawn();
      const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
      expect(await handle.call('trace', undefined, { traceparent, timeoutMs: 10_000 })).toEqual({
        traceparent,
        hasDeadline: true,
      });
      expect(await handle.call('trace', undefined)).toEqual({ traceparent: undefined, hasDeadline: false });
    });

    test('WorkerHandle.call() waits for room once the queue holds its capacity', async () => {
      const handle = await spawn();
      const letGo = await saturate(handle, 3);
      const echoes = Array.from({ length: 7 }, (_, n) => handle.call('echo', n));
      const stats = handle.stats();
      expect(stats.queueDepth.echo).toBe(4);
      expect(stats.waiting).toBe(3);
      expect(handle.senders.echo.capacity).toBe(0);
      await letGo();
      expect(await Promise.all(echoes)).toEqual([0, 1, 2, 3, 4, 5, 6]);
      expect(handle.stats()).toMatchObject({ waiting: 0, queued: 0 });
      expectBalanced(handle);
    });

    test('WorkerHandle.call() given up while it waits for room is refused, not accepted', async () => {
      const handle = await spawn();
      const letGo = await saturate(handle, 3);
      const accepted = handle.stats().accepted;
      const echoes = Array.from({ length: 4 }, (_, n) => handle.call('echo', n));
      const controller = new AbortController();
      const waiting = settled(handle.call('echo', 'waiting', { signal: controller.signal }));
      const expiring = settled(handle.call('echo', 'expiring', { timeoutMs: 5 }));
      controller.abort('no');
      expect(await waiting).toEqual({ error: 'no' });
      expect((await expiring).error).toMatchObject({ code: 'ERR_DEADLINE_EXCEEDED' });
      expect(handle.stats()).toMatchObject({ accepted: accepted + 4, refused: 2, waiting: 0 });
      await letGo();
      await Promise.all(echoes);
      expectBalanced(handle);
    });

    test('WorkerHandle.tryCall() is refused at once when the queue is full', async () => {
      const handle = await spawn();
      const letGo = await saturate(handle, 3);
      const echoes = Array.from({ length: 4 }, (_, n) => handle.tryCall('echo', n));
      await expect(handle.tryCall('echo', 4)).rejects.toMatchObject({ code: 'ERR_WORKER_FULL', operation: 'echo' });
      await letGo();
      expect(await Promise.all(echoes)).toEqual([0, 1, 2, 3]);
    });

    test('WorkerHandle.call() counts bytes where the operation limits them', async () => {
      const handle = await spawn();
      const letGo = await saturate(handle, 3);
      const large = new Float32Array(400);
      const first = [handle.call('sum', large), handle.call('sum', large)];
      await expect(handle.tryCall('sum', large)).rejects.toMatchObject({ code: 'ERR_WORKER_FULL' });
      const third = handle.call('sum', large);
      expect(handle.stats()).toMatchObject({ waiting: 1, queueDepth: { sum: 2 } });
      await expect(handle.call('sum', new Float32Array(1_001))).rejects.toThrow(RangeError);
      await letGo();
      expect((await Promise.all([...first, third])).map((each) => each.length)).toEqual([400, 400, 400]);
      expectBalanced(handle);
    });

    test('runWorker() lets as many calls into the model as its concurrency', async () => {
      const handle = await spawn({ concurrency: 2 });
      const letGo = await saturate(handle, 2);
      const third = handle.call('echo', 3);
      expect((await handle.ping()).inFlight).toBe(2);
      expect(handle.stats().queued).toBe(1);
      await letGo();
      expect(await third).toBe(3);
    });

    test('WorkerHandle.call() of a stream answers every chunk in order', async () => {
      const handle = await spawn();
      const chunks: number[] = [];
      for await (const chunk of handle.call('count', { to: 25 })) chunks.push(chunk);
      expect(chunks).toEqual(Array.from({ length: 25 }, (_, n) => n));
      await until(() => handle.stats().succeeded === 1);
      expectBalanced(handle);
    });

    test('ReplyStream holds the generator back while the consumer is slow', async () => {
      const handle = await spawn();
      const stream = handle.call('count', { to: 50 });
      expect(await stream.next()).toEqual({ done: false, value: 0 });
      let produced = -1;
      // It has come to rest when a round trip after another finds it where it was.
      for (let same = 0; same < 5; ) {
        const now = (await handle.call('journal', undefined)).filter((line) => line.startsWith('chunk')).length;
        same = now === produced ? same + 1 : 0;
        produced = now;
      }
      // Two chunks may wait here, two beside the model, and one is in the generator's hand.
      expect(produced).toBeLessThanOrEqual(6);
      let rest = 0;
      for await (const chunk of stream) rest = chunk;
      expect(rest).toBe(49);
    });

    test('ReplyStream.return() gives the request up, and the generator is returned', async () => {
      const handle = await spawn();
      for await (const chunk of handle.call('count', { to: 1_000 })) if (chunk === 3) break;
      await until(async () => (await handle.call('journal', undefined)).includes('count ended'));
      await until(() => handle.stats().inFlight === 0);
      expect(handle.stats().cancelled).toBe(1);
      expectBalanced(handle);
    });

    test('ReplyStream.next() rejects with the error of the generator, after the chunks before it', async () => {
      const handle = await spawn();
      const chunks: number[] = [];
      const consume = async () => {
        for await (const chunk of handle.call('count', { to: 10, failAt: 4 })) chunks.push(chunk);
      };
      await expect(consume()).rejects.toThrow(new TypeError('failed at 4'));
      expect(chunks).toEqual([0, 1, 2, 3]);
      expect(handle.stats().failed).toBe(1);
    });

    test('ReplyStream.next() rejects when the method has returned no async iterable', async () => {
      const handle = await spawn();
      await expect(handle.call('list', undefined).next()).rejects.toThrow(
        new TypeError("Cannot stream list: the model's method must return an async iterable, received object"),
      );
      expect(handle.stats()).toMatchObject({ failed: 1, pending: 0 });
    });

    test('ReplyStream.next() rejects at once when its call is aborted, and the generator ends', async () => {
      const handle = await spawn();
      const controller = new AbortController();
      const stream = handle.call('count', { to: 10, holdAt: 2 }, { signal: controller.signal });
      expect((await stream.next()).value).toBe(0);
      expect((await stream.next()).value).toBe(1);
      const third = settled(stream.next());
      controller.abort('enough');
      expect(await third).toEqual({ error: 'enough' });
      expect(await stream.next()).toEqual({ done: true, value: undefined });
      await until(async () => (await handle.call('journal', undefined)).includes('count ended'));
      expect(handle.stats().cancelled).toBe(1);
    });

    test('ReplyStream.next() rejects when the deadline passes', async () => {
      const handle = await spawn();
      const stream = handle.call('count', { to: 10, holdAt: 0 }, { timeoutMs: 10 });
      await expect(stream.next()).rejects.toMatchObject({ code: 'ERR_DEADLINE_EXCEEDED' });
      expect(handle.stats().expired).toBe(1);
    });

    test('WorkerHandle.ping() tells how the worker is', async () => {
      const handle = await spawn();
      await handle.call('echo', 1);
      await settled(handle.call('fail', { message: 'bad', code: 'E_BAD' }));
      const letGo = await saturate(handle, 3);
      void settled(handle.call('echo', 2));
      const health = await handle.ping();
      expect(health).toMatchObject({
        state: 'processing',
        inFlight: 3,
        processed: 2,
        failed: 1,
        lastError: { name: 'Error', message: 'bad', code: 'E_BAD' },
        model: { held: 3 },
      });
      expect(health.latency.count).toBe(2);
      expect(health.latency.p99).toBeGreaterThanOrEqual(health.latency.p50);
      expect(health.runningMs).toBeGreaterThanOrEqual(0);
      expect(health.uptimeMs).toBeGreaterThan(0);
      expect(health.rss).toBeGreaterThan(1_000_000);
      await letGo();
    });

    test('WorkerHandle.state goes from ready to processing and back', async () => {
      const handle = await spawn();
      const ready = await handle.state.waitFor('ready');
      const held = handle.call('hold', 'state');
      const processing = await handle.state.waitFor('processing');
      expect(processing.enteredAt).toBeGreaterThanOrEqual(ready.enteredAt);
      await until(() => handle.call('release', 'state'));
      await held;
      await handle.state.waitFor('ready');
    });

    test('WorkerHandle.state becomes idle with nobody sending, and leaves it on the next request', async () => {
      const handle = await spawn({ idleTimeoutMs: 20 });
      await handle.state.waitFor('idle');
      const left = handle.state.waitFor(['processing', 'ready']);
      expect(await handle.call('echo', 'awake')).toBe('awake');
      await left;
      await handle.state.waitFor('idle');
    });

    test('WorkerHandle.events() tells of the steps', async () => {
      const handle = await spawn();
      const events: WorkerEvent[] = [];
      const reading = (async () => {
        for await (const event of handle.events()) events.push(event);
      })();
      await handle.state.waitFor('ready');
      await handle.call('echo', 1);
      await handle.close();
      await reading;
      const steps = events.flatMap((event) => (event.type === 'state' ? [event.to] : []));
      expect(steps.slice(-2)).toEqual(['evicting', 'dead']);
      expect(events.every((event) => event.workerId === handle.id)).toBe(true);
    });

    test('WorkerHandle.drain() finishes every call and takes no more', async () => {
      const handle = await spawn();
      const letGo = await saturate(handle, 3);
      const echoes = Array.from({ length: 6 }, (_, n) => handle.call('echo', n));
      let isDrained = false;
      const draining = handle.drain().then(() => {
        isDrained = true;
      });
      await expect(handle.call('echo', 'late')).rejects.toMatchObject({ code: 'ERR_WORKER_CLOSED' });
      expect(isDrained).toBe(false);
      await letGo();
      expect(await Promise.all(echoes)).toEqual([0, 1, 2, 3, 4, 5]);
      await draining;
      expect(handle.stats()).toMatchObject({ pending: 0, waiting: 0 });
    });

    test('WorkerHandle.close() finishes what was accepted, then is dead', async () => {
      const handle = await spawn();
      const echoes = Array.from({ length: 6 }, (_, n) => handle.call('echo', n));
      const closing = handle.close();
      expect(handle.state.current).toBe('evicting');
      expect(await Promise.all(echoes)).toEqual([0, 1, 2, 3, 4, 5]);
      await closing;
      expect(handle.state.current).toBe('dead');
      await handle.close();
      await expect(handle.ping()).rejects.toMatchObject({ code: 'ERR_WORKER_CLOSED' });
      expectBalanced(handle);
    });

    test('WorkerHandle.close() answers what does not finish in time', async () => {
      const handle = await spawn();
      await handle.state.waitFor(['ready', 'processing']);
      const held = Array.from({ length: 4 }, (_, n) => settled(handle.call('hold', `${n}`)));
      await handle.close({ timeoutMs: 10 });
      for (const { error } of await Promise.all(held)) expect(error).toMatchObject({ code: 'ERR_WORKER_CLOSED' });
      expect(handle.state.current).toBe('dead');
      expect(handle.stats()).toMatchObject({ failed: 4, pending: 0 });
    });

    test('WorkerHandle.destroy() answers every call now, with the reason as the cause', async () => {
      const handle = await spawn();
      const letGo = await saturate(handle, 3);
      const calls = Array.from({ length: 7 }, (_, n) => settled(handle.call('echo', n)));
      const stream = handle.call('count', { to: 3 });
      const chunk = settled(stream.next());
      const reason = new Error('the roof is on fire');
      const destroying = handle.destroy(reason);
      for (const { error } of await Promise.all([...calls, chunk])) {
        expect(error).toMatchObject({ code: 'ERR_WORKER_CLOSED', cause: reason });
      }
      await destroying;
      await letGo();
      expect(handle.state.current).toBe('dead');
      expect(handle.stats()).toMatchObject({ pending: 0, waiting: 0 });
      expectBalanced(handle);
    });

    test('WorkerHandle can be disposed of', async () => {
      const handle = await spawn();
      {
        await using worker = handle;
        expect(await worker.call('echo', 1)).toBe(1);
      }
      expect(handle.state.current).toBe('dead');
    });

    test('WorkerHandle prints no inputs', async () => {
      const handle = await spawn();
      const letGo = await saturate(handle, 3);
      void settled(handle.call('echo', 'top secret'));
      expect(inspect(handle, { depth: 10, showHidden: true })).not.toContain('secret');
      expect(inspect(handle)).toContain(handle.id);
      await letGo();
    });
  });
}
