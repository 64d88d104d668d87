/** What the page is told: one whole state a second, so that a tick that is skipped costs nothing but its freshness. */
import type { WorkerState } from '../../worker/index.js';
import type { Tally } from './tallies.js';

/** The state of a server, as JSON. Times of the clock in ms since 1970, durations in ms, memory in MB. */
export interface DashboardState {
  readonly at: number;
  readonly version: string;
  readonly startedAt: number;
  readonly status: string;
  /** Whether warm, evict and restart can be asked for at all: the server has keys. */
  readonly hasKeys: boolean;
  readonly hasThumbnails: boolean;
  readonly memory: { readonly heldMb: number; readonly limitMb: number };
  readonly server: {
    readonly underWay: number;
    readonly limit: number;
    readonly refused: number;
    readonly bodyMb: number;
    readonly bodyLimitMb: number;
  };
  /** The names that requests may use. */
  readonly served: readonly string[];
  readonly models: readonly DashboardModel[];
  readonly workers: readonly DashboardWorker[];
  readonly errors: readonly DashboardError[];
  readonly answers: readonly DashboardAnswer[];
}

/** A model of the pool. */
export interface DashboardModel {
  readonly key: string;
  readonly status: string;
  readonly breaker: string;
  readonly queued: number;
  readonly waiting: number;
  readonly inFlight: number;
  readonly memoryMb: number;
  readonly succeeded: number;
  readonly failed: number;
  readonly expired: number;
  readonly cancelled: number;
  readonly refused: number;
  readonly p50Ms: number | undefined;
  readonly p99Ms: number | undefined;
  /** Answers a second, the oldest of five minutes first. */
  readonly rates: readonly number[];
  readonly waitMs: Tally;
  readonly decodeMs: Tally;
  readonly runMs: Tally;
  readonly batchSizes: Tally;
}

/** A worker. */
export interface DashboardWorker {
  readonly model: string;
  readonly worker: string;
  readonly state: WorkerState;
  readonly pid: number | undefined;
  readonly memoryMb: number | undefined;
  readonly inFlight: number;
  readonly served: number;
  readonly ageMs: number;
  readonly restarts: number;
  readonly lastError: string | undefined;
}

/** An error, and how often it came in a row. Never holds inputs. */
export interface DashboardError {
  readonly at: number;
  readonly code: string;
  readonly message: string;
  readonly count: number;
}

/** An answered picture or text. */
export interface DashboardAnswer {
  readonly id: number;
  readonly at: number;
  readonly model: string;
  readonly kind: 'picture' | 'text';
  readonly isOk: boolean;
  /** Of pictures that were answered: in the pool's queue, and with a worker. */
  readonly waitMs: number | undefined;
  readonly serviceMs: number | undefined;
  /** A data URL, where thumbnails are shown. */
  readonly thumbnail: string | undefined;
}
