import { expect, test } from 'vitest';
import { createPool, type ModelOptions } from '../../src/pool/index.js';
import { operation, spawnWorker } from '../../src/worker/index.js';

const operations = { double: operation<number, number>({ capacity: undefined, idempotent: undefined }) };
const model = { double: (n: number) => 2 * n };

/** The same with every option that was not given as undefined. */
function withUndefined<T extends object>(given: T, ...names: string[]): T {
  return { ...Object.fromEntries(names.map((name) => [name, undefined])), ...given };
}

test('a worker takes every option that is undefined as one that is not given', async () => {
  const handle = spawnWorker({
    operations,
    host: 'inline',
    model,
    id: undefined,
    concurrency: undefined,
    idleTimeoutMs: undefined,
    loadTimeoutMs: undefined,
    stallTimeoutMs: undefined,
    blockedTimeoutMs: undefined,
    transfer: { inputs: undefined, results: undefined },
    clock: undefined,
  });
  expect(await handle.call('double', 21, { timeoutMs: undefined, signal: undefined, traceparent: undefined })).toBe(42);
  await handle.close({ timeoutMs: undefined });
});

test('a pool and its models take every option that is undefined as one that is not given', async () => {
  const pool = createPool(
    withUndefined({}, 'name', 'governor', 'shutdownMs', 'registry', 'spareHosts', 'clock', 'spawn'),
  );
  const options: ModelOptions<typeof operations> = {
    operations,
    load: () => model,
    host: undefined,
    shares: { normal: undefined, batch: 0.1 },
    breaker: { failures: undefined, failureRate: undefined, windowMs: undefined, openMs: undefined, probes: undefined },
    coalesce: { double: undefined },
  };
  const names = ['label', 'concurrency', 'maxBatch', 'reserve', 'minWorkers', 'maxWorkers', 'costMb'];
  const more = ['memoryWaitMs', 'queueLimit', 'timeoutMs', 'retries', 'scaleUpAfterMs', 'idleTimeoutMs'];
  const rest = ['routing', 'refuseEarly', 'restartsPerMinute', 'backOffMs', 'env', 'cwd', 'execArgv', 'stdio'];
  const registered = pool.register('model', withUndefined(options, ...names, ...more, ...rest));
  const call = { priority: undefined, signal: undefined, timeoutMs: undefined };
  expect(await registered.call('double', 21, call)).toBe(42);
  expect((await registered.callDetailed('double', 4)).value).toBe(8);
  await pool.close({ timeoutMs: undefined });
});
