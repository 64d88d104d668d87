import { afterEach, expect, test } from 'vitest';
import { spawnTestWorker, type TestHandle } from './spawn-test-worker.js';

const open: TestHandle[] = [];

afterEach(async () => {
  for (const handle of open.splice(0)) await handle.destroy();
});

/** Aborts every call at some moment: at once, in the queue, on its way, inside the model, or after its answer. */
async function storm(handle: TestHandle, calls: number): Promise<number> {
  let aborted = 0;
  const client = async (first: number): Promise<void> => {
    for (let index = first; index < calls; index += 64) {
      const controller = new AbortController();
      const call =
        index % 2 === 0
          ? handle.call('echo', index, { signal: controller.signal })
          : handle.call('sleep', index % 5, { signal: controller.signal });
      const turns = index % 7;
      for (let turn = 0; turn < turns; turn++) {
        await new Promise<void>((resolve) => (index % 3 === 0 ? setImmediate(resolve) : queueMicrotask(resolve)));
      }
      controller.abort(new Error('given up'));
      await call.then(
        (value) => expect(value).toBe(index % 2 === 0 ? index : index % 5),
        (error: Error) => {
          expect(error.message).toBe('given up');
          aborted++;
        },
      );
    }
  };
  await Promise.all(Array.from({ length: 64 }, (_, first) => client(first)));
  return aborted;
}

for (const host of ['inline', 'thread', 'process'] as const) {
  test(`10,000 calls aborted at many moments are each answered once, and the ${host} worker still serves`, async () => {
    const handle = spawnTestWorker({ host, concurrency: 8 });
    open.push(handle);
    await handle.state.waitFor('ready');
    const aborted = await storm(handle, 10_000);
    expect(aborted).toBeGreaterThan(5_000);
    await handle.drain();
    const { accepted, succeeded, failed, expired, cancelled, pending } = handle.stats();
    expect(succeeded + failed + expired + cancelled).toBe(accepted);
    expect({ failed, expired, pending }).toEqual({ failed: 0, expired: 0, pending: 0 });
    await handle.close();
  });

  test(`a ${host} worker serves after a storm`, async () => {
    const handle = spawnTestWorker({ host, concurrency: 8 });
    open.push(handle);
    await storm(handle, 1_000);
    expect(await Promise.all([1, 2, 3].map((each) => handle.call('echo', each)))).toEqual([1, 2, 3]);
    expect(handle.stats()).toMatchObject({ pending: 0, inFlight: 0, queued: 0 });
  });
}
