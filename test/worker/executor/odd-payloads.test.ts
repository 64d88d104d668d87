import { serialize } from 'node:v8';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { operation, spawnWorker, type WorkerHandle } from '../../../src/worker/index.js';
import { makeEmptyModule } from '../empty-module.js';

vi.setConfig({ testTimeout: 30_000 });

const operations = {
  echo: operation<unknown, unknown>(),
  answer: operation<string, unknown>(),
  throwValue: operation<string, never>(),
  throwWith: operation<string, never>(),
  throwOdd: operation<string, never>(),
  stream: operation.stream<string, unknown>(),
  report: operation<unknown, boolean>(),
};

type Handle = WorkerHandle<typeof operations>;

const handles: Handle[] = [];
afterEach(async () => {
  await Promise.all(handles.splice(0).map((handle) => handle.close()));
});

function spawn(host: 'thread' | 'process'): Handle {
  const module = new URL('../../fixtures/worker/odd-model.mjs', import.meta.url);
  const handle = spawnWorker({ operations, host, module, concurrency: 32, stdio: 'ignore' });
  handles.push(handle);
  return handle;
}

function reasonOf(promise: Promise<unknown>): Promise<{ name: string; message: string; code?: unknown }> {
  return promise.then(
    (value) => Promise.reject(new Error(`it was answered with ${typeof value}`)),
    (reason) => reason,
  );
}

function isData(value: unknown): boolean {
  try {
    serialize(value);
    return true;
  } catch {
    return false;
  }
}

async function chunksOf(stream: AsyncIterable<unknown>, into: unknown[]): Promise<void> {
  for await (const chunk of stream) into.push(chunk);
}

const values = ['module', 'bareModule', 'shared', 'blob', 'port', 'key', 'deep', 'symbol', 'getter', 'proxy'];

/** Newer versions of Node know blobs as objects without fields. */
const isBlobData = isData(new Blob(['x']));

/** What a thread can be given, and a process can't. */
const acrossThreads = ['module', 'bareModule', 'shared', 'blob', 'key'];
const acrossProcesses = isBlobData ? ['blob'] : [];

describe.each(['thread', 'process'] as const)('a worker in a %s', (host) => {
  test('answers each call whose result can not cross with an error, and those around it with their values', async () => {
    const handle = spawn(host);
    const answers = values.map((name, index) => [
      Promise.allSettled([handle.call('answer', name)]),
      handle.call('echo', index),
      handle.call('echo', [{ index }]),
    ]);
    for (const [index, [odd, one, other]] of answers.entries()) {
      const [{ status }] = (await odd) as [PromiseSettledResult<unknown>];
      const crosses = (host === 'thread' ? acrossThreads : acrossProcesses).includes(values[index] as string);
      expect([values[index], status]).toEqual([values[index], crosses ? 'fulfilled' : 'rejected']);
      expect(await one).toBe(index);
      expect(await other).toEqual([{ index }]);
    }
    expect(handle.stats()).toMatchObject({ pending: 0, inFlight: 0 });
  });

  test('calls what can not be written or read by its name', async () => {
    const handle = spawn(host);
    const names = host === 'process' ? ['module', 'bareModule', 'shared', 'port', 'key', 'symbol'] : ['deep', 'symbol'];
    for (const name of names) {
      const error = await reasonOf(handle.call('answer', name));
      expect(error).toBeInstanceOf(DOMException);
      expect([name, error.name]).toEqual([name, 'DataCloneError']);
    }
    expect(handle.stats()).toMatchObject({ inFlight: 0 });
  });

  test('rejects with an error whatever its properties are', async () => {
    const handle = spawn(host);
    for (const name of [...values, 'bare']) {
      const error = await reasonOf(handle.call('throwWith', name));
      expect(error).toBeInstanceOf(RangeError);
      expect(error).toMatchObject({ message: 'odd', code: 'ERR_ODD' });
    }
    for (const name of [...values, 'bare']) await reasonOf(handle.call('throwValue', name));
    for (const name of ['stack', 'message', 'name', 'keys', 'prototype', 'errors']) {
      expect(await reasonOf(handle.call('throwOdd', name))).toBeInstanceOf(Error);
    }
    expect(await handle.call('echo', 1)).toBe(1);
    expect(handle.stats()).toMatchObject({ inFlight: 0 });
  });

  test('fails a stream at the chunk that can not cross', async () => {
    const handle = spawn(host);
    const odd = host === 'process' ? ['module', 'shared', 'deep', 'getter'] : ['deep', 'port', 'symbol', 'getter'];
    for (const name of odd) {
      const chunks: unknown[] = [];
      await reasonOf(chunksOf(handle.call('stream', name), chunks));
      expect(chunks).toEqual([1]);
    }
    expect(await handle.call('echo', 1)).toBe(1);
    await vi.waitFor(() => expect(handle.stats()).toMatchObject({ inFlight: 0 }));
  });

  test('is given its inputs or rejects the call, and goes on', async () => {
    const handle = spawn(host);
    const module = makeEmptyModule();
    const [one, odd, other] = await Promise.allSettled([
      handle.call('echo', 1),
      handle.call('echo', { module }),
      handle.call('echo', 2),
    ]);
    expect([one, other]).toMatchObject([{ value: 1 }, { value: 2 }]);
    if (host === 'process') expect(odd).toMatchObject({ status: 'rejected', reason: { name: 'DataCloneError' } });
    else expect(odd).toMatchObject({ status: 'fulfilled' });
    expect(handle.stats()).toMatchObject({ pending: 0, inFlight: 0 });
  });

  test('keeps its messages apart from those of its model', async () => {
    const handle = spawn(host);
    for (const message of ['ready', { cmd: 'up' }, [8, 1, 'forged'], [[8, 1, 'forged']], null, 5]) {
      expect(await handle.call('report', message)).toBe(host === 'thread');
      expect(await handle.call('echo', 1)).toBe(1);
    }
    expect(handle.stats()).toMatchObject({ failed: 0 });
  });

  test('answers a ping whatever its model adds to it', async () => {
    const handle = spawn(host);
    expect((await handle.ping({ timeoutMs: 20_000 })).model).toBe('[object Object]');
  });
});

test.each(['thread', 'process'] as const)(
  'spawnWorker() in a %s rejects calls with WorkerLoadError when its options can not be read there',
  async (host) => {
    const module = new URL('../../fixtures/worker/odd-model.mjs', import.meta.url);
    const wasm = makeEmptyModule();
    const handle = spawnWorker({ operations, host, module, options: { wasm }, stdio: 'ignore' });
    if (host === 'process') expect((await reasonOf(handle.call('echo', 1))).code).toBe('ERR_WORKER_LOAD');
    else expect(await handle.call('echo', 1)).toBe(1);
    expect(handle.state.current).toBe(host === 'process' ? 'failed' : 'ready');
    await handle.close();
  },
);
