/**
 * Pools: many workers per model, many models per machine, under load and under memory pressure.
 *
 * `createPool()`, then `pool.register(key, …)` answers a typed model to call. Everything else is looking at it (`health`, `stats`, `metrics`,
 * `events`) and ending it (`drain`, `close`, `destroy`). {@link closeOnSignal} closes pools on SIGTERM.
 *
 * The pieces are exported for those who build something else of them: routing strategies, {@link CircuitBreaker}, {@link MemoryGovernor},
 * {@link decideScaling}.
 *
 * @module millrace/pool
 */
export {
  type ErrorCode,
  type ErrorOf,
  type Fault,
  isMillraceError,
  MillraceError,
  type MillraceErrorOptions,
  type MillraceErrors,
} from '../core/index.js';
export {
  type BreakerRules,
  type BreakerState,
  type BreakerTicket,
  breakerTransitions,
  CircuitBreaker,
} from './breaker.js';
export { autoWorkers, availableCores } from './cores.js';
export { type Closable, type CloseOnSignalOptions, closeOnSignal } from './close-on-signal.js';
export {
  BreakerOpenError,
  MemoryExhaustedError,
  type MemoryHolding,
  MissingPackageError,
  PoolClosedError,
  PoolOverloadedError,
  UnknownModelError,
} from './errors.js';
export {
  MemoryGovernor,
  type MemoryGovernorOptions,
  type MemoryGuard,
  type MemoryReclaimer,
  processMemoryGovernor,
} from './memory/governor.js';
export { availableMemoryBytes } from './memory/limit.js';
export { residentBytes } from './memory/resident.js';
export type { CallInfo } from './model/job.js';
export type { PoolCallOptions } from './model/registered-model.js';
export type { ModelHandle, UnaryName } from './model-handle.js';
export type {
  PoolBreakerEvent,
  PoolCallMessage,
  PoolCrashEvent,
  PoolEvent,
  PoolLifeEvent,
  PoolLoadFailureEvent,
  PoolWorkerEvent,
} from './observe/events.js';
export type { LedgerCounts, Outcome } from './observe/ledger.js';
export type { HealthStatus, ModelHealth, ModelStats, PoolHealth, PoolStats } from './observe/reports.js';
export type {
  MetricsRegistry,
  CommonModelOptions,
  ModelOptions,
  ModelOrigin,
  PoolOptions,
  SpareHostSettings,
  SpawnPooledWorker,
  WorkerPart,
  WorkerStart,
} from './options.js';
export { createPool, type Pool, type PoolCloseOptions } from './pool.js';
export type { PooledWorker } from './pooled-worker.js';
export type { Priority, PriorityShares } from './priority.js';
export { leastLoaded, powerOfTwoChoices, type Routing, type RoutingCandidate, roundRobin } from './routing.js';
export {
  decideScaling,
  type ScalingDecision,
  type ScalingRules,
  type ScalingSnapshot,
  type ScalingWorker,
} from './scaling.js';
