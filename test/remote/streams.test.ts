import { afterEach, expect, test } from 'vitest';
import { createPool } from '../../src/pool/index.js';
import { createRemotePool, SimulatedBus, type SimulatedBusOptions, servePool } from '../../src/remote/index.js';
import { loadValueCodec } from '../../src/remote/internal.js';
import { Kind, readMessage } from '../../src/remote/wire/messages.js';
import { operation } from '../../src/worker/index.js';

const operations = { count: operation.stream<number, number>({ chunkCapacity: 4, idempotent: true }) };
const codec = await loadValueCodec();
const open: AsyncDisposable[] = [];

afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each[Symbol.asyncDispose]();
});

async function until(check: () => boolean): Promise<void> {
  while (!check()) await new Promise<void>((resolve) => setImmediate(resolve));
}

async function makeWorld(options: SimulatedBusOptions = {}) {
  const network = new SimulatedBus(options);
  const made = { chunks: 0, returned: 0 };
  const pool = createPool();
  pool.register('m', {
    operations,
    load: () => ({
      async *count(to: number) {
        try {
          for (let n = 0; n < to; n += 1) {
            made.chunks += 1;
            yield n;
          }
        } finally {
          made.returned += 1;
        }
      },
    }),
  });
  const hostBus = network.connect();
  const host = await servePool(pool, { bus: hostBus, service: 'm', operations: ['count'] });
  const remote = createRemotePool({ bus: network.connect(), probeMs: 20, suspectMs: 200 });
  open.push(pool, host, remote);
  return { made, hostBus, host, remote, model: remote.connect('m', { operations }) };
}

test('a slow reader holds the model back', async () => {
  const { made, model } = await makeWorld();
  const stream = model.call('count', 1_000);
  expect((await stream.next()).value).toBe(0);
  await until(() => made.chunks >= 5);
  for (let turn = 0; turn < 200; turn += 1) await new Promise<void>((resolve) => setImmediate(resolve));
  // What the consumer has room for, what the pool of the host has, and the one that its generator has made.
  expect(made.chunks).toBeLessThanOrEqual(1 + 4 + 4 + 2);
  const rest: number[] = [];
  for await (const chunk of stream) rest.push(chunk);
  expect(rest).toEqual(Array.from({ length: 999 }, (_, n) => n + 1));
});

test('an early return, and an abort, end the generator on the host', async () => {
  const { made, model, host } = await makeWorld();
  for await (const chunk of model.call('count', 1_000_000)) if (chunk === 10) break;
  await until(() => made.returned === 1);
  const controller = new AbortController();
  const stream = model.call('count', 1_000_000, { signal: controller.signal });
  await stream.next();
  controller.abort('enough');
  await expect(
    (async () => {
      for (;;) if ((await stream.next()).done === true) break;
    })(),
  ).rejects.toBe('enough');
  await until(() => made.returned === 2 && host.stats().pending === 0);
});

test('a stream whose host dies at some chunk fails, and is not run again', async () => {
  const { made, model, hostBus, remote } = await makeWorld();
  const stream = model.call('count', 1_000_000);
  for (let n = 0; n < 7; n += 1) expect((await stream.next()).value).toBe(n);
  hostBus.end();
  await expect(
    (async () => {
      for (;;) if ((await stream.next()).done === true) break;
    })(),
  ).rejects.toMatchObject({ code: 'ERR_HOST_LOST' });
  expect(made.returned).toBeLessThanOrEqual(1);
  expect(remote.stats()).toMatchObject({ failed: 1, retried: 0 });
});

test.each([0, 3, 11])('a stream that loses chunk %i fails instead of leaving a gap', async (lost) => {
  let seen = -1;
  const { model } = await makeWorld({
    isDropped: ({ subject, data }) => {
      if (!subject.includes('.to.') || readMessage(codec, data).kind !== Kind.Chunk) return false;
      seen += 1;
      return seen === lost;
    },
  });
  const chunks: number[] = [];
  await expect(
    (async () => {
      for await (const chunk of model.call('count', 12)) chunks.push(chunk);
    })(),
  ).rejects.toMatchObject({ code: 'ERR_ANSWER_LOST' });
  expect(chunks).toEqual(Array.from({ length: chunks.length }, (_, n) => n));
  expect(chunks.length).toBeLessThanOrEqual(lost);
});

test('a stream whose end is lost is ended by the answer to a probe', async () => {
  let isFirst = true;
  const { model, host } = await makeWorld({
    isDropped: ({ subject, data }) => {
      if (!isFirst || !subject.includes('.to.') || readMessage(codec, data).kind !== Kind.End) return false;
      isFirst = false;
      return true;
    },
  });
  const chunks: number[] = [];
  for await (const chunk of model.call('count', 6)) chunks.push(chunk);
  expect(chunks).toEqual([0, 1, 2, 3, 4, 5]);
  expect(host.stats()).toMatchObject({ accepted: 1, settled: 1 });
});
