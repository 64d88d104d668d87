import type { Operations, WorkerHandle, WorkerStateView } from '../worker/index.js';

/** What a pool needs of a worker: a part of its handle, so that a simulated one is quickly made. */
export type PooledWorker = Pick<
  WorkerHandle<Operations>,
  'id' | 'call' | 'stats' | 'released' | 'ping' | 'close' | 'destroy'
> & {
  readonly state: Omit<WorkerStateView, 'subscribe'>;
};
