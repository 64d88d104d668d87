import { spawnWorker } from '../worker/index.js';
import type { WorkerStart } from './options.js';
import type { PooledWorker } from './pooled-worker.js';

/** Starts a worker of a pool. Retrying and replacing are the pool's business, which has other workers: the worker itself does neither. */
export function spawnPooledWorker(start: WorkerStart): PooledWorker {
  const { heapMb, ...options } = start;
  return spawnWorker({
    ...options,
    ...(heapMb === undefined ? {} : { memoryMb: heapMb }),
    retries: 0,
    restart: { maxRestarts: 0 },
  } as Parameters<typeof spawnWorker>[0]) as unknown as PooledWorker;
}
