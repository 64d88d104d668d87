/**
 * Pools: many workers per model, many models per machine, under load and under memory pressure.
 *
 * `createPool()`, then `pool.register(key, …)` answers a typed model to call. Everything else is looking at it (`health`, `stats`, `metrics`,
 * `events`) and ending it (`drain`, `close`, `destroy`). {@link closeOnSignal} closes pools on SIGTERM.
 *
 * What a pool is made of can be replaced or shared: routing strategies, {@link MemoryGovernor}, {@link CircuitBreaker}.
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
export { type BreakerRules, type BreakerState, type BreakerTicket, CircuitBreaker } from './breaker.js';
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
export { autoWorkers, availableCores } from './machine.js';
export {
  MemoryGovernor,
  type MemoryGovernorOptions,
  type MemoryGuard,
  type MemoryReclaimer,
  processMemoryGovernor,
} from './memory-governor.js';
export type { CallInfo } from './model/job.js';
export type { PoolCallOptions } from './model/registered-model.js';
export type { ModelHandle, UnaryName } from './model-handle.js';
export type { CommonModelOptions, ModelOptions, ModelOrigin, WorkerPart } from './model-options.js';
export type { TracedCall, TracedRun } from './observe/call-trace.js';
export type { LedgerCounts, Outcome } from './observe/counts.js';
export type {
  PoolBreakerEvent,
  PoolCallMessage,
  PoolCrashEvent,
  PoolEvent,
  PoolLifeEvent,
  PoolLoadFailureEvent,
  PoolWorkerEvent,
} from './observe/events.js';
export type { HealthStatus, ModelHealth, ModelStats, PoolHealth, PoolStats, WorkerReport } from './observe/reports.js';
export { createPool, type Pool, type PoolCloseOptions } from './pool.js';
export type { MetricsRegistry, PoolOptions, SpareHostSettings } from './pool-options.js';
export type { Priority, PriorityShares } from './priority.js';
export { leastLoaded, powerOfTwoChoices, type Routing, type RoutingCandidate, roundRobin } from './routing.js';
