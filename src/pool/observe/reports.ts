import type { WorkerState } from '../../worker/index.js';
import type { BreakerState } from '../breaker.js';
import type { MemoryHolding } from '../errors.js';
import type { RegisteredModel } from '../model/registered-model.js';
import { type LedgerCounts, sumLedgers } from './counts.js';

/** How a model or a pool is. */
export type HealthStatus = 'healthy' | 'degraded' | 'unhealthy';

/** How a model is. */
export interface ModelHealth {
  /**
   * Unhealthy: the breaker is open, or nothing can be started for now. Degraded: something failed lately, a queue is full, or a worker is a second past
   * the end of a call's time or gives no sign of life.
   */
  readonly status: HealthStatus;
  readonly workers: Readonly<Partial<Record<WorkerState, number>>>;
  readonly queued: number;
  /** Calls that wait for room in the queue. */
  readonly waiting: number;
  readonly inFlight: number;
  /** Time inside a worker, in ms; undefined before the first answer. */
  readonly latency: {
    readonly meanMs: number | undefined;
    readonly p50Ms: number | undefined;
    readonly p99Ms: number | undefined;
  };
  readonly memoryBytes: number;
  readonly breaker: BreakerState | 'off';
}

/** How a pool is. */
export interface PoolHealth {
  /** The worst of the models'. */
  readonly status: HealthStatus;
  readonly models: Readonly<Record<string, ModelHealth>>;
  readonly memory: { readonly limitBytes: number; readonly heldBytes: number; readonly held: readonly MemoryHolding[] };
}

/** What a model has done and is doing. */
export interface ModelStats extends LedgerCounts {
  readonly operations: Readonly<Record<string, LedgerCounts>>;
  readonly queued: number;
  readonly waiting: number;
  readonly inFlight: number;
  readonly workers: number;
  readonly starts: number;
  /** Workers that replaced one that had crashed. */
  readonly restarts: number;
  readonly crashes: number;
  readonly evictions: number;
  readonly loadFailures: number;
  readonly breakerRejections: number;
}

/** What a pool has done and is doing: the sum, and each model's part. */
export interface PoolStats extends LedgerCounts {
  readonly models: Readonly<Record<string, ModelStats>>;
}

/** How one worker is. */
export interface WorkerReport {
  /** The key of its model. */
  readonly model: string;
  /** Its name, as it stands in events. */
  readonly worker: string;
  readonly state: WorkerState;
  /** Its process; that of the caller where it has none of its own, and undefined before it has told. */
  readonly pid: number | undefined;
  /** What its process occupies, in MB (10^6 bytes); undefined where it has no process of its own, or was not measured yet. */
  readonly memoryMb: number | undefined;
  /** Requests that it has been given and has not let go of. */
  readonly inFlight: number;
  /** Requests that it has answered. */
  readonly served: number;
  /** Since when it is there, in ms. */
  readonly ageMs: number;
  /** How many workers in its place have crashed before it. */
  readonly restarts: number;
  /** What the last of those crashed with. */
  readonly lastError: unknown;
  /** What its model last told of itself: whatever its `health()` answers with. */
  readonly health: unknown;
}

const SEVERITY: readonly HealthStatus[] = ['healthy', 'degraded', 'unhealthy'];

/** The worst of several. */
export function worstOf(statuses: Iterable<HealthStatus>): HealthStatus {
  let worst = 0;
  for (const status of statuses) worst = Math.max(worst, SEVERITY.indexOf(status));
  return SEVERITY[worst] as HealthStatus;
}

/**
 * How a model is now.
 *
 * @internal
 */
export function healthOf(model: RegisteredModel): ModelHealth {
  const { dispatcher, fleet } = model;
  const breaker = dispatcher.breaker?.state ?? 'off';
  const busiest = [...model.operations.values()].sort((a, b) => b.serviceSeconds.count - a.serviceSeconds.count)[0];
  const quantileMs = (q: number) => {
    const seconds = busiest?.serviceSeconds.quantile(q);
    return seconds === undefined ? undefined : seconds * 1000;
  };
  const hasFailed = fleet.backOffMs > 0;
  let status: HealthStatus = 'healthy';
  if (breaker === 'open' || (hasFailed && fleet.workers.accepting === 0)) status = 'unhealthy';
  else if (breaker === 'half-open' || hasFailed || dispatcher.outside > 0 || fleet.workers.hasStuck)
    status = 'degraded';
  return {
    status,
    workers: fleet.workersByState(),
    queued: dispatcher.queued,
    waiting: dispatcher.outside,
    inFlight: dispatcher.running,
    latency: { meanMs: dispatcher.rate.serviceMs, p50Ms: quantileMs(0.5), p99Ms: quantileMs(0.99) },
    memoryBytes: fleet.workers.heldBytes,
    breaker,
  };
}

/**
 * A model's counts now.
 *
 * @internal
 */
export function statsOf(model: RegisteredModel): ModelStats {
  const { dispatcher, fleet } = model;
  const pages = [...model.operations].map(([name, each]) => [name, each.ledger.counts()] as const);
  return {
    ...sumLedgers(pages.map(([, counts]) => counts)),
    operations: Object.fromEntries(pages),
    queued: dispatcher.queued,
    waiting: dispatcher.outside,
    inFlight: dispatcher.running,
    workers: fleet.workers.size,
    starts: fleet.starts,
    restarts: fleet.restarts,
    crashes: fleet.crashes,
    evictions: fleet.evictions,
    loadFailures: fleet.loadFailures,
    breakerRejections: model.breakerRejections,
  };
}

/**
 * How each worker of a model is, once each was asked and measured.
 *
 * @internal
 */
export async function workersOf(model: RegisteredModel, now: () => number): Promise<WorkerReport[]> {
  const { fleet, key } = model;
  await fleet.look();
  return [...fleet.workers].map((slot) => ({
    model: key,
    worker: slot.id,
    state: slot.worker.state.current,
    pid: slot.pid,
    memoryMb: slot.measuredBytes === undefined ? undefined : slot.measuredBytes / 1e6,
    inFlight: slot.pending,
    served: slot.served,
    ageMs: now() - slot.spawnedAt,
    restarts: slot.restarts,
    lastError: slot.lastError,
    health: slot.modelHealth,
  }));
}
