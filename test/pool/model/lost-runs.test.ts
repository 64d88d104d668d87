/** What a pool makes of runs that it lost with their worker and that no other worker can repeat. */
import { expect, test, vi } from 'vitest';
import { createPool } from '../../../src/pool/index.js';
import { operation } from '../../../src/worker/index.js';
import { codeOf } from '../../support/outcomes.js';

// On a machine that has other things to do, a thread takes seconds to start.
vi.setConfig({ testTimeout: 90_000 });

const module = new URL('../fixtures/ending-model.mjs', import.meta.url);

test('a crash counts once for the breaker, however many streams were being read', async () => {
  await using pool = createPool();
  const model = pool.register('m', {
    operations: { chunks: operation.stream<string, string>({ idempotent: true }), end: operation<void, never>() },
    host: 'thread',
    module,
    concurrency: 4,
    maxWorkers: 1,
    breaker: { failures: 2, failureRate: 1e-9, windowMs: 60_000, openMs: 60_000, probes: 1 },
  });
  const streams = ['a', 'b', 'c'].map((each) => model.call('chunks', each));
  for (const stream of streams) expect(await stream.next()).toMatchObject({ done: false });
  const ended = model.call('end').catch(codeOf);
  for (const stream of streams) await expect(stream.next()).rejects.toMatchObject({ code: 'ERR_WORKER_CRASHED' });
  expect(await ended).toBe('ERR_WORKER_CRASHED');
  expect(pool.health().models.m).toMatchObject({ breaker: 'closed' });
  expect(pool.stats()).toMatchObject({ accepted: 4, failed: 4, pending: 0, retried: 0 });
});

test('a request whose input was moved into a worker is not run again when that crashes, and its caller is told of the crash', async () => {
  await using pool = createPool();
  const model = pool.register('m', {
    operations: { endOver: operation<Float32Array, number>({ idempotent: true }) },
    host: 'thread',
    module,
    transfer: { inputs: true },
    maxWorkers: 1,
  });
  // Too small to be moved: it is still here, and is run again until the retries are spent.
  await expect(model.call('endOver', new Float32Array(8))).rejects.toMatchObject({ code: 'ERR_WORKER_CRASHED' });
  expect(pool.stats()).toMatchObject({ failed: 1, retried: 1 });
  const input = new Float32Array(100_000);
  await expect(model.call('endOver', input)).rejects.toMatchObject({ code: 'ERR_WORKER_CRASHED' });
  expect(input.length).toBe(0);
  expect(pool.stats()).toMatchObject({ failed: 2, retried: 1 });
});
