import {
  type Clock,
  fillOptions,
  instanceOf,
  type OptionTable,
  option,
  requireClock,
  requireFunction,
  requireMilliseconds,
  requireNonNegativeInteger,
  requireOptions,
  requireString,
  systemClock,
} from '../core/index.js';
import { MemoryGovernor, processMemoryGovernor } from './memory/governor.js';
import type { MetricsRegistry, PoolOptions, SpareHostSettings, SpawnPooledWorker } from './options.js';

/** Pool options, checked and filled. */
export interface PoolSettings {
  readonly name: string;
  readonly governor: MemoryGovernor;
  readonly shutdownMs: number;
  readonly registry: MetricsRegistry | undefined;
  readonly spareHosts: SpareHostSettings | undefined;
  readonly clock: Clock;
  readonly spawn: SpawnPooledWorker | undefined;
}

const POOL_OPTIONS = {
  name: option(requireString, 'pool'),
  governor: option(instanceOf('a MemoryGovernor', MemoryGovernor)),
  shutdownMs: option(requireMilliseconds, 5_000),
  registry: option(requireRegistry),
  spareHosts: option(requireSpareHosts),
  clock: option(requireClock, systemClock),
  spawn: option(requireFunction<SpawnPooledWorker>),
} satisfies OptionTable<PoolOptions>;

/** Checks the options of a pool and fills them. */
export function requirePoolOptions(options: PoolOptions | undefined): PoolSettings {
  const settings = fillOptions('Cannot create pool', options, POOL_OPTIONS);
  return Object.freeze({ ...settings, governor: settings.governor ?? processMemoryGovernor() });
}

function requireRegistry(action: string, name: string, registry: unknown): MetricsRegistry {
  requireFunction(action, `${name}.registerMetric`, (registry as { registerMetric?: unknown } | null)?.registerMetric);
  return registry as MetricsRegistry;
}

function requireSpareHosts(action: string, name: string, given: unknown): SpareHostSettings | undefined {
  const keys = ['count', 'module', 'env', 'cwd', 'execPath', 'execArgv', 'stdio', 'threadPoolSize', 'heapMb'] as const;
  const settings =
    typeof given === 'number'
      ? { count: given }
      : (requireOptions(`${action}: ${name}`, given as SpareHostSettings, keys) as SpareHostSettings);
  requireNonNegativeInteger(action, `${name}.count`, settings.count, 64);
  // The rest is checked as the first is started, which is now.
  return settings.count === 0 ? undefined : Object.freeze({ ...settings });
}
