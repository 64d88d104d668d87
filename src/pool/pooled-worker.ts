import type { Operations, WorkerHandle, WorkerStateView } from '../worker/index.js';

/** What a pool needs of a worker: a part of its handle, so that a simulated one is quickly made. */
export type PooledWorker = Pick<
  WorkerHandle<Operations>,
  'id' | 'call' | 'stats' | 'released' | 'ping' | 'close' | 'destroy'
> &
  // What stands in for a worker may not know.
  Partial<Pick<WorkerHandle<Operations>, 'isSilent'>> & {
    readonly state: Omit<WorkerStateView, 'subscribe'>;
  };
