import { afterEach, describe, expect, test } from 'vitest';
import { operation, spawnWorker, type WorkerHandle } from '../../../src/worker/index.js';
import { eventually, testModel } from './spawn-test-worker.js';

const operations = {
  block: operation<number, number>({ capacity: 64 }),
  spin: operation<number, number>({ capacity: 64 }),
  echo: operation<number, number>({ capacity: 4 }),
  length: operation<Float32Array, number>({ capacity: { items: 64, bytes: 4_000 } }),
  count: operation.stream<number, number>({ capacity: 64 }),
  calls: operation<undefined, number>(),
};

type Handle = WorkerHandle<typeof operations>;

/** Long enough that a busy machine gives the test its turn meanwhile. */
const BLOCKED_MS = 800;

const open: Handle[] = [];

afterEach(async () => {
  for (const handle of open.splice(0)) await handle.destroy();
});

type HostName = 'inline' | 'thread' | 'process';

async function spawnReady(host: HostName): Promise<Handle> {
  const handle = spawnWorker({ host, operations, module: testModel, stdio: 'ignore', concurrency: 64 });
  open.push(handle);
  await handle.state.waitFor('ready');
  return handle;
}

/** Waits until the model of another thread or process is inside its first call. The own thread is as soon as it lets go. */
async function untilBlocked(handle: Handle): Promise<void> {
  await eventually(() => handle.stats().inFlight === 1, 15_000);
}

function outcomes(calls: readonly Promise<unknown>[]): Promise<unknown[]> {
  return Promise.all(
    calls.map((call) =>
      call.then(
        (value) => value,
        (error) => (error instanceof Error ? ((error as { code?: unknown }).code ?? error.message) : error),
      ),
    ),
  );
}

for (const host of ['inline', 'thread', 'process'] as const) {
  for (const how of ['block', 'spin'] as const) {
    const where = how === 'block' ? 'a native call' : 'a JavaScript loop';

    describe(`a ${host} worker inside ${where}`, () => {
      test('is never sent so much that more than the capacity is accepted and not taken', async () => {
        const handle = await spawnReady(host);
        const blocked = handle.call(how, BLOCKED_MS);
        if (host !== 'inline') await untilBlocked(handle);
        const echoes = Array.from({ length: 20 }, (_, n) => handle.call('echo', n));
        const lengths = Array.from({ length: 5 }, () => handle.call('length', new Float32Array(250)));
        const before = handle.stats();
        // One that blocks, and what the queues hold: 4 requests here, 4,000 bytes there.
        expect(before).toMatchObject({ accepted: 1 + 4 + 4, waiting: 16 + 1 });
        expect(before.queueDepth).toMatchObject({ echo: 4, length: 4 });
        await expect(handle.tryCall('echo', 20)).rejects.toMatchObject({ code: 'ERR_WORKER_FULL' });
        // Whatever has been sent meanwhile, the host has taken nothing of it.
        for (let turn = 0; host !== 'inline' && turn < 20; turn++) {
          await new Promise((resolve) => setImmediate(resolve));
          expect(handle.stats()).toMatchObject({ accepted: 9, waiting: 17, inFlight: 1, queued: 8 });
        }
        expect(await blocked).toBe(BLOCKED_MS);
        expect(await Promise.all(echoes)).toEqual(Array.from({ length: 20 }, (_, n) => n));
        expect(await Promise.all(lengths)).toEqual([250, 250, 250, 250, 250]);
        expect(handle.stats()).toMatchObject({ queued: 0, waiting: 0, inFlight: 0, pending: 0 });
      });

      test('runs none of the requests that expired meanwhile', async () => {
        const handle = await spawnReady(host);
        const blocked = handle.call(how, BLOCKED_MS);
        if (host !== 'inline') await untilBlocked(handle);
        const calls = Array.from({ length: 20 }, (_, n) => handle.call(how, n, { timeoutMs: 50 }));
        const streams = Array.from({ length: 5 }, () => handle.call('count', 3, { timeoutMs: 50 }).next());
        expect(new Set(await outcomes([...calls, ...streams]))).toEqual(new Set(['ERR_DEADLINE_EXCEEDED']));
        expect(await blocked).toBe(BLOCKED_MS);
        // The one that blocked.
        expect(await handle.call('calls', undefined)).toBe(1);
        await eventually(() => handle.stats().queued === 0, 15_000);
        expect(handle.stats()).toMatchObject({ accepted: 27, expired: 25, succeeded: 2, inFlight: 0 });
      });

      test('runs none of the requests that were given up meanwhile', async () => {
        const handle = await spawnReady(host);
        const blocked = handle.call(how, BLOCKED_MS);
        if (host !== 'inline') await untilBlocked(handle);
        const controller = new AbortController();
        const { signal } = controller;
        const calls = Array.from({ length: 20 }, (_, n) => handle.call(how, n, { signal }));
        const streams = Array.from({ length: 5 }, () => handle.call('count', 3, { signal }).next());
        if (host !== 'inline')
          for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
        controller.abort('given up');
        expect(new Set(await outcomes([...calls, ...streams]))).toEqual(new Set(['given up']));
        expect(await blocked).toBe(BLOCKED_MS);
        expect(await handle.call('calls', undefined)).toBe(1);
        await eventually(() => handle.stats().queued === 0, 15_000);
        expect(handle.stats()).toMatchObject({ accepted: 27, cancelled: 25, succeeded: 2, inFlight: 0 });
      });
    });
  }
}

for (const host of ['thread', 'process'] as const) {
  test(`a ${host} worker that was sent calls of one turn runs none that expired behind the first of them`, async () => {
    const handle = await spawnReady(host);
    const controller = new AbortController();
    const first = handle.call('block', 400);
    const overdue = Array.from({ length: 10 }, (_, n) => handle.call('block', n, { timeoutMs: 100 }));
    const abandoned = Array.from({ length: 10 }, (_, n) => handle.call('block', n, { signal: controller.signal }));
    setTimeout(() => controller.abort('given up'), 50);
    const [late, dropped] = await Promise.all([outcomes(overdue), outcomes(abandoned)]);
    expect(new Set(late)).toEqual(new Set(['ERR_DEADLINE_EXCEEDED']));
    expect(new Set(dropped)).toEqual(new Set(['given up']));
    expect(await first).toBe(400);
    expect(await handle.call('calls', undefined)).toBe(1);
  });
}
