import type { Clock } from '../core/index.js';
import type { Operations, SpareHost, SpawnWorkerOptions, WorkerHost, WorkerStateView } from '../worker/index.js';
import { requireSpawnOptions, spawnCheckedWorker, type Worker } from '../worker/internal.js';
import type { WorkerPart } from './model-options.js';
import type { Priority } from './priority.js';

/** What a pool needs of a worker, be it started here, simulated, or on another machine: it is given requests that were admitted, and tells its state. */
export type PooledWorker = Pick<Worker, 'id' | 'start' | 'ping' | 'close' | 'destroy'> &
  // What stands in for a worker may not know.
  Partial<Pick<Worker, 'isSilent'>> & {
    readonly state: Omit<WorkerStateView, 'subscribe'>;
    /** How many requests it may have at once, where it knows. As many as its model's options say by default. */
    readonly places?: number | undefined;
    /** Whether it takes a request of that class now, where it decides that itself. */
    readonly hasRoom?: ((priority: Priority) => boolean) | undefined;
  };

/** Is told of the workers that a source finds. */
export interface WorkerFinder {
  /** How many requests wait. */
  readonly waiting: number;
  /** One is there. When it is gone its state says so. */
  found(worker: PooledWorker): void;
  /** One of them takes requests again. */
  hasRoom(): void;
  /** None is there, and requests shall wait no longer: they are answered with this. */
  failWaiting(error: unknown): void;
}

/** Finds workers that are there already, such as those of other machines, where others are started. */
export interface WorkerSource {
  /** Why no worker is there, where that is known: what a call that does not wait is refused with. */
  readonly absence: Error | undefined;
  /** Begins to look for workers. Called once. */
  open(finder: WorkerFinder): void;
  /** Whether requests wait, and no worker is there, may have changed. */
  noteWaiting(isWaiting: boolean): void;
  /** Ends the search; resolves once nothing of it is left. Its workers are ended by the fleet. */
  close(): Promise<void>;
}

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

/** Options of a single start, beside those that all workers of a model share. */
export interface StartExtras {
  readonly spare?: SpareHost;
  readonly blockedTimeoutMs?: () => number;
}

/** Starts one worker of a model. */
export type StartWorker = (extras: StartExtras) => PooledWorker;

/** Starts one worker. Tests and sister layers give a pool another one. */
export type SpawnPooledWorker = (start: WorkerStart) => PooledWorker;

/** Answers what starts the workers of a model, in one of the hosts of this machine. Their options are checked here, long before the first is started. */
export function workerStarter(action: string, start: WorkerStart): StartWorker {
  const settings = requireSpawnOptions(start as SpawnWorkerOptions<Operations>, action);
  return (extras) => spawnCheckedWorker({ ...settings, ...extras });
}

/** Starts a worker in one of the hosts of this machine. */
export const spawnPooledWorker: SpawnPooledWorker = (start) => workerStarter('Cannot start worker', start)({});
