import type { Clock } from '../core/index.js';
import type { Operations, SpareHost, SpawnWorkerOptions, WorkerHost, WorkerStateView } from '../worker/index.js';
import { requireSpawnOptions, spawnCheckedWorker, type Worker } from '../worker/internal.js';
import type { WorkerPart } from './model-options.js';

/** What a pool needs of a worker, be it started here, simulated, or on another machine: it is given requests that were admitted, and tells its state. */
export type PooledWorker = Pick<Worker, 'id' | 'start' | 'ping' | 'close' | 'destroy'> &
  // What stands in for a worker may not know.
  Partial<Pick<Worker, 'isSilent'>> & { readonly state: Omit<WorkerStateView, 'subscribe'> };

/** What a worker is started with. */
export interface WorkerStart extends WorkerPart {
  readonly host: WorkerHost;
  readonly operations: Operations;
  readonly concurrency: number;
  readonly idleTimeoutMs: number;
  readonly clock: Clock;
  /** A process that was started ahead, to be taken over. It is ended if it is not. */
  readonly spare?: SpareHost | undefined;
}

/** Starts one worker. Tests and sister layers give a pool another one. */
export type SpawnPooledWorker = (start: WorkerStart) => PooledWorker;

/** Starts a worker in one of the hosts of this machine. */
export const spawnPooledWorker: SpawnPooledWorker = (start) =>
  spawnCheckedWorker(requireSpawnOptions(start as SpawnWorkerOptions<Operations>, 'Cannot start worker'));

/** Checks what workers will be started with, long before the first is. */
export function requireWorkerStart(action: string, start: WorkerStart): void {
  requireSpawnOptions(start as SpawnWorkerOptions<Operations>, action);
}
