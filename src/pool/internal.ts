/** What sister layers take of pools beside their public face: workers of another kind, and what this machine has. */
export { type BreakerState, breakerTransitions } from './breaker.js';
export { availableMemory, residentBytes } from './machine.js';
export { intakeOf, type ModelIntake } from './model-intake.js';
export type { InternalPoolOptions } from './pool-options.js';
export {
  type PooledWorker,
  type SpawnPooledWorker,
  spawnPooledWorker,
  type WorkerFinder,
  type WorkerSource,
  type WorkerStart,
} from './pooled-worker.js';
export { type Priority, priorities } from './priority.js';
