import { requireSpawnOptions, type SpawnWorkerOptions, spawnWorker } from '../worker/index.js';
import type { WorkerStart } from './options.js';
import type { PooledWorker } from './pooled-worker.js';

/** Starts a worker of a pool. */
export function spawnPooledWorker(start: WorkerStart): PooledWorker {
  return spawnWorker(spawnOptionsOf(start)) as unknown as PooledWorker;
}

/** Checks what workers will be started with, long before the first is. */
export function requireWorkerStart(action: string, start: WorkerStart): void {
  requireSpawnOptions(spawnOptionsOf(start), action);
}

function spawnOptionsOf(start: WorkerStart): SpawnWorkerOptions<WorkerStart['operations']> {
  return start as unknown as SpawnWorkerOptions<WorkerStart['operations']>;
}
