/**
 * The pool's metrics in a prom-client registry. The package is an optional peer, loaded when metrics are first asked for. Counting happens in the
 * pool; here the counts are only copied at a scrape, so a call costs the same with metrics and without.
 */
import type * as Prom from 'prom-client';
import { MissingPackageError } from '../errors.js';
import type { RegisteredModel } from '../model/registered-model.js';
import type { MetricsRegistry } from '../options.js';
import type { PoolSettings } from '../pool-settings.js';
import { defineMetrics, type MetricsSource } from './metric-definitions.js';

type Models = () => Iterable<RegisteredModel>;
const sourcesOf = new WeakMap<object, Set<MetricsSource>>();
const withdrawn = new WeakSet<PoolSettings>();
const namesIn = new WeakMap<object, Set<string>>();
const privateRegistries = new WeakMap<PoolSettings, Prom.Registry>();

async function loadPromClient(): Promise<typeof Prom> {
  try {
    const loaded = (await import('prom-client')) as typeof Prom & { default?: typeof Prom };
    return loaded.default ?? loaded;
  } catch (cause) {
    throw new MissingPackageError(
      "Cannot collect metrics: the package 'prom-client' must be installed (npm install prom-client)",
      { cause },
    );
  }
}

/** Takes a pool's name in its registry, where two of one name would write the same series twice. Given back by {@link withdrawMetrics}. */
export function claimName({ registry, name }: PoolSettings): void {
  if (registry === undefined) return;
  let names = namesIn.get(registry);
  if (names === undefined) {
    names = new Set();
    namesIn.set(registry, names);
  }
  if (names.has(name)) {
    throw new TypeError(`Cannot create pool: name must be no other's in its registry, received '${name}'`);
  }
  names.add(name);
}

/** Puts a pool's metrics into its registry, once. */
export async function publishMetrics(settings: PoolSettings, models: Models): Promise<Prom.Registry> {
  const prom = await loadPromClient();
  let registry = (settings.registry ?? privateRegistries.get(settings)) as Prom.Registry | undefined;
  if (registry === undefined) {
    registry = new prom.Registry();
    privateRegistries.set(settings, registry);
  }
  let sources = sourcesOf.get(registry);
  if (sources === undefined) {
    sources = new Set();
    sourcesOf.set(registry, sources);
    defineMetrics(prom, registry, sources);
  }
  // The pool may have been closed while the package was loaded.
  if (settings.registry !== undefined && withdrawn.has(settings)) return registry;
  if (![...sources].some((source) => source.settings === settings)) sources.add({ settings, models });
  return registry;
}

/** Takes a closed pool out of its registry. */
export function withdrawMetrics(settings: PoolSettings): void {
  if (withdrawn.has(settings)) return;
  withdrawn.add(settings);
  if (settings.registry !== undefined) namesIn.get(settings.registry)?.delete(settings.name);
  const sources = settings.registry === undefined ? undefined : sourcesOf.get(settings.registry as MetricsRegistry);
  for (const source of sources ?? []) if (source.settings === settings) sources?.delete(source);
}

/** A pool's metrics as Prometheus text. */
export async function renderMetrics(settings: PoolSettings, models: Models): Promise<string> {
  return await (await publishMetrics(settings, models)).metrics();
}
