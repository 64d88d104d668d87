import {
  type Clock,
  requireFunction,
  requireMilliseconds,
  requireNonNegativeInteger,
  requireOptions,
  requireString,
  systemClock,
} from '../core/index.js';
import { requireClock } from './clock.js';
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

const POOL_KEYS = ['name', 'governor', 'shutdownMs', 'registry', 'spareHosts', 'clock', 'spawn'] as const;

/** Checks the options of a pool and fills them. */
export function requirePoolOptions(options: PoolOptions | undefined): PoolSettings {
  const action = 'Cannot create pool';
  const given = requireOptions<PoolOptions>(action, options, POOL_KEYS);
  if (given.governor !== undefined && !(given.governor instanceof MemoryGovernor)) {
    throw new TypeError(`${action}: governor must be a MemoryGovernor`);
  }
  return Object.freeze({
    name: given.name === undefined ? 'pool' : requireString(action, 'name', given.name),
    governor: given.governor ?? processMemoryGovernor(),
    shutdownMs: given.shutdownMs === undefined ? 5_000 : requireMilliseconds(action, 'shutdownMs', given.shutdownMs),
    registry: given.registry === undefined ? undefined : requireRegistry(action, given.registry),
    spareHosts: requireSpareHosts(action, given.spareHosts),
    clock: given.clock === undefined ? systemClock : requireClock(action, given.clock),
    spawn: given.spawn === undefined ? undefined : requireFunction<SpawnPooledWorker>(action, 'spawn', given.spawn),
  });
}

function requireRegistry(action: string, registry: MetricsRegistry): MetricsRegistry {
  requireFunction(action, 'registry.registerMetric', (registry as { registerMetric?: unknown } | null)?.registerMetric);
  return registry;
}

function requireSpareHosts(action: string, given: PoolOptions['spareHosts']): SpareHostSettings | undefined {
  if (given === undefined) return undefined;
  const keys = ['count', 'module', 'env', 'cwd', 'execPath', 'execArgv', 'stdio', 'threadPoolSize', 'heapMb'] as const;
  const settings =
    typeof given === 'number'
      ? { count: given }
      : (requireOptions<SpareHostSettings>(`${action}: spareHosts`, given, keys) as SpareHostSettings);
  requireNonNegativeInteger(action, 'spareHosts.count', settings.count, 64);
  // The rest is checked as the first is started, which is now.
  return settings.count === 0 ? undefined : Object.freeze({ ...settings });
}
