import { afterEach, describe, expect, test } from 'vitest';
import { spawnTestWorker, type TestHandle } from './spawn-test-worker.js';

const open: TestHandle[] = [];

afterEach(async () => {
  for (const handle of open.splice(0)) await handle.destroy();
});

async function reasonOf(promise: Promise<unknown>): Promise<{ name?: string; code?: string }> {
  return promise.then(
    () => expect.unreachable(),
    (error) => error,
  );
}

/** An array on memory that cannot be moved to another thread. */
function pinned(): Float32Array {
  const { Memory } = (
    globalThis as unknown as { WebAssembly: { Memory: new (options: object) => { buffer: ArrayBuffer } } }
  ).WebAssembly;
  return new Float32Array(new Memory({ initial: 1 }).buffer);
}

/** An array whose buffer was moved away before. */
function detached(): Float32Array {
  const array = new Float32Array(8_192);
  structuredClone(array, { transfer: [array.buffer] });
  return array;
}

describe.each(['thread', 'process'] as const)('a channel to a worker in host %s', (host) => {
  function spawn(): TestHandle {
    const handle = spawnTestWorker({ host, concurrency: 2, transfer: { inputs: true } });
    open.push(handle);
    return handle;
  }

  test('an input that cannot be cloned or transferred rejects its own call, frees its slot and leaves the worker alone', async () => {
    const handle = spawn();
    const pid = await handle.call('pid', undefined);
    const { capacity, maxCapacity } = handle.senders.echo;
    expect(capacity).toBe(maxCapacity);
    const whole = new Float32Array(8_192).fill(1);
    const bad: [unknown, string][] = [
      [() => {}, 'DataCloneError'],
      [{ deep: { fn: () => {} } }, 'DataCloneError'],
      [Symbol('no'), 'DataCloneError'],
      [{ whole, fn: () => {} }, 'DataCloneError'],
      [new WeakMap(), 'DataCloneError'],
      [
        {
          get trap() {
            throw new RangeError('a getter that throws');
          },
        },
        'RangeError',
      ],
    ];
    const good = Array.from({ length: 20 }, (_, n) => handle.call('echo', n));
    const refused = bad.map(([input]) => reasonOf(handle.call('echo', input)));
    expect((await Promise.all(refused)).map(({ name }) => name)).toEqual(bad.map(([, name]) => name));
    expect(await Promise.all(good)).toEqual(Array.from({ length: 20 }, (_, n) => n));
    // What went wrong with one input has not taken what else it held.
    expect(whole.length).toBe(8_192);
    expect(handle.senders.echo.capacity).toBe(maxCapacity);
    expect(await handle.call('pid', undefined)).toBe(pid);
    expect(handle.stats()).toMatchObject({ inFlight: 0, pending: 0 });
  });

  test('an array that cannot be moved is refused or copied, and neither hurts the calls around it', async () => {
    const handle = spawn();
    const calls = [
      handle.call('length', new Float32Array(8_192)),
      handle.call('length', pinned()),
      handle.call('length', detached()),
      handle.call('length', new Float32Array(9_000)),
    ];
    const results = await Promise.allSettled(calls);
    expect([results[0], results[3]]).toEqual([
      { status: 'fulfilled', value: 8_192 },
      { status: 'fulfilled', value: 9_000 },
    ]);
    for (const [at, result] of [results[1], results[2]].entries()) {
      if (result?.status === 'fulfilled') expect(result.value).toBe([16_384, 0][at]);
      else expect(result?.reason).toMatchObject({ name: expect.stringMatching(/^(DataClone|Type)Error$/) });
    }
    expect(await handle.call('echo', 'still here')).toBe('still here');
    expect(handle.stats()).toMatchObject({ inFlight: 0, pending: 0 });
  });

  test('a result that cannot be cloned rejects its own call', async () => {
    const handle = spawn();
    const pid = await handle.call('pid', undefined);
    const mixed = [handle.call('echo', 1), handle.call('uncloneable', undefined), handle.call('echo', 2)];
    const [one, none, two] = await Promise.allSettled(mixed);
    expect([one, two]).toEqual([
      { status: 'fulfilled', value: 1 },
      { status: 'fulfilled', value: 2 },
    ]);
    expect(none).toMatchObject({ status: 'rejected', reason: { name: 'DataCloneError' } });
    expect(await handle.call('pid', undefined)).toBe(pid);
    expect(handle.stats()).toMatchObject({ inFlight: 0 });
  });

  test('an abort mid-call neither kills the worker nor leaves its slot taken', async () => {
    const handle = spawn();
    const pid = await handle.call('pid', undefined);
    const before = handle.senders.sleep.capacity;
    for (let round = 0; round < 3; round++) {
      const controller = new AbortController();
      // Two at work, which is all there is room for, and two in the queue behind them.
      const calls = Array.from({ length: 4 }, () =>
        reasonOf(handle.call('sleep', 60_000, { signal: controller.signal })),
      );
      await handle.call('pid', undefined, { timeoutMs: 20 }).catch(() => {});
      controller.abort(new RangeError('enough'));
      for (const reason of await Promise.all(calls)) expect(reason).toBeInstanceOf(RangeError);
      expect(await handle.call('echo', round)).toBe(round);
    }
    expect(await handle.call('pid', undefined)).toBe(pid);
    expect(handle.senders.sleep.capacity).toBe(before);
    expect(handle.stats()).toMatchObject({ inFlight: 0, pending: 0 });
  });
});
