import {
  type Clock,
  fillOptions,
  instanceOf,
  nonNegativeIntegerUpTo,
  type OptionRow,
  type OptionTable,
  option,
  requireClock,
  required,
  requireFunction,
  requireMilliseconds,
  requireString,
  systemClock,
} from '../core/index.js';
import { MemoryGovernor, processMemoryGovernor } from './memory-governor.js';
import type { WorkerPart } from './model-options.js';
import type { SpawnPooledWorker, WorkerSource } from './pooled-worker.js';

/** A prom-client registry, seen without the package. */
export type MetricsRegistry = object;

/** Processes that are kept ready for workers to start in, so that a start waits for its model alone. */
export interface SpareHostSettings
  extends Pick<WorkerPart, 'env' | 'cwd' | 'execPath' | 'execArgv' | 'stdio' | 'threadPoolSize' | 'heapMb'> {
  /** How many. */
  readonly count: number;
  /** URL of a model module to import ahead; what it exports as `preload` is called. */
  readonly module?: string | URL | undefined;
}

/** Options of {@link createPool}. */
export interface PoolOptions {
  /** The pool's name, in events, metrics and errors. `'pool'` by default. */
  readonly name?: string | undefined;
  /** What grants memory to workers. One governor for all pools of the process by default. */
  readonly governor?: MemoryGovernor | undefined;
  /** How long `close()` lets accepted requests finish, in ms. 5,000 by default. */
  readonly shutdownMs?: number | undefined;
  /** A prom-client registry to put the metrics into. A private one by default. Pools that share one need different names. */
  readonly registry?: MetricsRegistry | undefined;
  /**
   * Processes that are kept ready for workers to start in: how many, or also how they are started and what they import ahead. A worker of any model
   * with the process host takes one over, if it is started in the same way (`env`, `cwd`, `execPath`, `execArgv`, `stdio`, `threadPoolSize`, `heapMb`).
   * None by default.
   */
  readonly spareHosts?: number | SpareHostSettings | undefined;
  /** The time source. */
  readonly clock?: Clock | undefined;
}

/**
 * Options of a pool for sister layers and tests.
 *
 * @internal
 */
export interface InternalPoolOptions extends PoolOptions {
  /** How a worker is started: simulated, on another machine. In one of the hosts of this machine by default. */
  readonly spawn?: SpawnPooledWorker | undefined;
  /** Where the workers of a model are found, instead of being started. */
  readonly find?: ((key: string) => WorkerSource) | undefined;
}

/**
 * An option that is checked with the worker's own options.
 *
 * @internal
 */
export function passedOn<T>(): OptionRow<T | undefined> {
  return option((_action, _name, value) => value as T | undefined);
}

// All but the count is checked as the first spare is started, which is right after.
const SPARE_HOST_OPTIONS = {
  count: required(nonNegativeIntegerUpTo(64)),
  module: passedOn(),
  env: passedOn(),
  cwd: passedOn(),
  execPath: passedOn(),
  execArgv: passedOn(),
  stdio: passedOn(),
  threadPoolSize: passedOn(),
  heapMb: passedOn(),
} satisfies OptionTable<SpareHostSettings>;

const POOL_OPTIONS = {
  name: option(requireString, 'pool'),
  governor: option(instanceOf('a MemoryGovernor', MemoryGovernor)),
  shutdownMs: option(requireMilliseconds, 5_000),
  registry: option(requireRegistry),
  spareHosts: option(requireSpareHosts),
  clock: option(requireClock, systemClock),
  spawn: option(requireFunction<SpawnPooledWorker>),
  find: option(requireFunction<NonNullable<InternalPoolOptions['find']>>),
} satisfies OptionTable<InternalPoolOptions>;

/**
 * Pool options, checked and filled.
 *
 * @internal
 */
export interface PoolSettings {
  readonly name: string;
  readonly governor: MemoryGovernor;
  readonly shutdownMs: number;
  readonly registry: MetricsRegistry | undefined;
  readonly spareHosts: SpareHostSettings | undefined;
  readonly clock: Clock;
  readonly spawn: SpawnPooledWorker | undefined;
  readonly find: ((key: string) => WorkerSource) | undefined;
}

/**
 * Checks the options of a pool and fills them.
 *
 * @internal
 */
export function requirePoolOptions(options: PoolOptions | undefined): PoolSettings {
  const settings = fillOptions('Cannot create pool', options, POOL_OPTIONS);
  return Object.freeze({ ...settings, governor: settings.governor ?? processMemoryGovernor() });
}

function requireRegistry(action: string, name: string, registry: unknown): MetricsRegistry {
  requireFunction(action, `${name}.registerMetric`, (registry as { registerMetric?: unknown } | null)?.registerMetric);
  return registry as MetricsRegistry;
}

function requireSpareHosts(action: string, name: string, given: unknown): SpareHostSettings | undefined {
  const settings = fillOptions(
    action,
    typeof given === 'number' ? { count: given } : (given as object),
    SPARE_HOST_OPTIONS,
    name,
  );
  return settings.count === 0 ? undefined : (settings as SpareHostSettings);
}
