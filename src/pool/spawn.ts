import type { PooledWorker } from './pooled-worker.js';
import type { WorkerStart } from './options.js';

/** Starts a worker of the pool: replacing and retrying are the pool's business, so the worker itself does neither. */
export function spawnPooledWorker(_options: WorkerStart): PooledWorker {
  throw new Error('not there yet');
}
