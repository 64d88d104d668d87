/**
 * The pool's metrics in a prom-client registry: which there are, and where their values come from. The package is an optional peer, loaded when metrics
 * are first asked for. Counting happens in the pool; here the counts are only copied at a scrape, so a call costs the same with metrics and without.
 */
import type * as Prom from 'prom-client';
import type { BreakerState } from '../breaker.js';
import { MissingPackageError } from '../errors.js';
import type { ModelFleet } from '../model/fleet.js';
import type { OperationQueue } from '../model/job-queue.js';
import type { RegisteredModel } from '../model/registered-model.js';
import type { PoolSettings } from '../pool-options.js';
import { BATCH_BOUNDS, Histogram } from './counts.js';

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
  const sources = settings.registry === undefined ? undefined : sourcesOf.get(settings.registry);
  for (const source of sources ?? []) if (source.settings === settings) sources?.delete(source);
}

/** A pool's metrics as Prometheus text. */
export async function renderMetrics(settings: PoolSettings, models: Models): Promise<string> {
  return await (await publishMetrics(settings, models)).metrics();
}

type Labels = Record<string, string>;
type Sample = readonly [labels: Labels, value: number];
type HistogramSamples = Iterable<readonly [labels: Labels, histogram: Histogram]>;

/** A pool that shows itself in a registry. */
interface MetricsSource {
  readonly settings: PoolSettings;
  readonly models: () => Iterable<RegisteredModel>;
}

/** A metric whose values are copied at a scrape. `of` answers one value, or several with more labels. */
interface Row<T> {
  readonly name: string;
  readonly help: string;
  /** The labels beside those of what is measured. */
  readonly labels?: readonly string[];
  of(measured: T): number | Iterable<Sample>;
}

const BREAKER_STATES: readonly BreakerState[] = ['closed', 'open', 'half-open'];
const OUTCOMES = ['succeeded', 'failed', 'expired', 'cancelled'] as const;
const MODEL = ['pool', 'model'];
const OPERATION = [...MODEL, 'operation'];

const OPERATION_COUNTERS: readonly Row<OperationQueue>[] = [
  { name: 'requests_accepted', help: 'Requests that were accepted.', of: ({ ledger }) => ledger.accepted },
  {
    name: 'requests_settled',
    help: 'Accepted requests by how they ended.',
    labels: ['outcome'],
    of: ({ ledger }) => OUTCOMES.map((outcome) => [{ outcome }, ledger[outcome]]),
  },
  { name: 'requests_refused', help: 'Requests that were turned away.', of: ({ ledger }) => ledger.refused },
  { name: 'requests_retried', help: 'Runs repeated after a crash.', of: ({ ledger }) => ledger.retried },
  { name: 'requests_coalesced', help: 'Requests that shared a run.', of: ({ ledger }) => ledger.coalesced },
];
const MODEL_COUNTERS: readonly Row<RegisteredModel>[] = [
  { name: 'worker_starts', help: 'Workers that were started.', of: ({ fleet }) => fleet.starts },
  { name: 'worker_restarts', help: 'Workers that replaced a crashed one.', of: ({ fleet }) => fleet.restarts },
  { name: 'worker_crashes', help: 'Workers that ended unasked.', of: ({ fleet }) => fleet.crashes },
  { name: 'worker_evictions', help: 'Workers that were evicted.', of: ({ fleet }) => fleet.evictions },
  { name: 'load_failures', help: 'Workers that could not be started.', of: ({ fleet }) => fleet.loadFailures },
  { name: 'breaker_rejections', help: 'Calls the breaker refused.', of: (model) => model.breakerRejections },
];
const MODEL_GAUGES: readonly Row<RegisteredModel>[] = [
  {
    name: 'workers',
    help: 'Workers by state.',
    labels: ['state'],
    of: ({ fleet }) => Object.entries(fleet.workersByState()).map(([state, count]) => [{ state }, count]),
  },
  {
    name: 'admission_waiting',
    help: 'Calls that wait for room in the queue.',
    of: (model) => model.dispatcher.outside,
  },
  { name: 'memory_bytes', help: 'Memory held by workers.', of: ({ fleet }) => fleet.workers.heldBytes },
  {
    name: 'breaker_state',
    help: 'State of the circuit breaker, 1 for the one it is in.',
    labels: ['state'],
    of: ({ dispatcher: { breaker } }) => BREAKER_STATES.map((state) => [{ state }, breaker?.state === state ? 1 : 0]),
  },
];
const OPERATION_GAUGES: readonly Row<OperationQueue>[] = [
  { name: 'queue_depth', help: 'Requests that wait for a worker.', of: (each) => each.queued },
  { name: 'in_flight', help: 'Requests with a worker.', of: (each) => each.running },
];
const POOL_GAUGES: readonly Row<PoolSettings>[] = [
  { name: 'memory_limit_bytes', help: 'Memory that workers may hold.', of: ({ governor }) => governor.limitBytes },
];

/** Defines the metrics in a registry, over all pools that share it. */
function defineMetrics(prom: typeof Prom, registry: Prom.Registry, sources: ReadonlySet<MetricsSource>): void {
  const registers = [registry];
  function* pools(): Iterable<[Labels, PoolSettings]> {
    for (const { settings } of sources) yield [{ pool: settings.name }, settings];
  }
  function* models(): Iterable<[Labels, RegisteredModel]> {
    for (const source of sources) {
      for (const model of source.models()) yield [{ pool: source.settings.name, model: model.settings.label }, model];
    }
  }
  function* operations(): Iterable<[Labels, OperationQueue]> {
    for (const [labels, model] of models()) {
      for (const each of model.operations.values()) yield [{ ...labels, operation: each.name }, each];
    }
  }
  function* samples<T>(measured: Iterable<[Labels, T]>, { of }: Row<T>): Iterable<Sample> {
    for (const [labels, each] of measured) {
      const values = of(each);
      if (typeof values === 'number') yield [labels, values];
      else for (const [more, value] of values) yield [{ ...labels, ...more }, value];
    }
  }
  const define = <T>(
    Kind: typeof prom.Counter | typeof prom.Gauge,
    rows: readonly Row<T>[],
    labels: readonly string[],
    measured: () => Iterable<[Labels, T]>,
  ) => {
    for (const row of rows) {
      new Kind({
        name: `millrace_pool_${row.name}${Kind === prom.Counter ? '_total' : ''}`,
        help: row.help,
        labelNames: [...labels, ...(row.labels ?? [])],
        registers,
        collect(this: Prom.Counter | Prom.Gauge) {
          this.reset();
          for (const [each, value] of samples(measured(), row)) this.inc(each, value);
        },
      });
    }
  };
  const histogram = (
    name: string,
    help: string,
    labelNames: string[],
    counted: () => HistogramSamples | Promise<HistogramSamples>,
  ) => {
    const fullName = `millrace_pool_${name}`;
    const metric = new prom.Histogram({ name: fullName, help, labelNames, registers });
    // prom-client cannot be handed counted buckets; it renders whatever a metric's `get` answers with.
    const get = async () => ({
      name: fullName,
      help,
      type: 'histogram' as unknown as Prom.MetricType,
      aggregator: 'sum' as const,
      values: [...(await counted())].flatMap(([labels, each]) => bucketsOf(fullName, labels, each)),
    });
    Object.assign(metric, { get, getForPromString: get });
  };

  define(prom.Counter, OPERATION_COUNTERS, OPERATION, operations);
  define(prom.Counter, MODEL_COUNTERS, MODEL, models);
  define(prom.Gauge, MODEL_GAUGES, MODEL, models);
  define(prom.Gauge, OPERATION_GAUGES, OPERATION, operations);
  define(prom.Gauge, POOL_GAUGES, ['pool'], pools);
  histogram('queue_wait_seconds', 'From the call to a worker.', OPERATION, () =>
    [...operations()].map(([labels, { waitSeconds }]) => [labels, waitSeconds]),
  );
  histogram('service_seconds', 'From a worker to the answer.', OPERATION, () =>
    [...operations()].map(([labels, { serviceSeconds }]) => [labels, serviceSeconds]),
  );
  histogram('batch_size', 'Sizes of the batches that the models ran.', MODEL, () =>
    Promise.all([...models()].map(async ([labels, { fleet }]) => [labels, await gatherBatchSizes(fleet)] as const)),
  );
}

function bucketsOf(name: string, labels: Labels, histogram: Histogram): object[] {
  const values: object[] = histogram.cumulative().map((count, index) => ({
    labels: { ...labels, le: histogram.bounds[index] },
    value: count,
    metricName: `${name}_bucket`,
  }));
  values.push({ labels: { ...labels, le: '+Inf' }, value: histogram.count, metricName: `${name}_bucket` });
  values.push({ labels, value: histogram.sum, metricName: `${name}_sum` });
  values.push({ labels, value: histogram.count, metricName: `${name}_count` });
  return values;
}

/** Asks a model's workers for their batch sizes, and adds up what all of them ever told. */
async function gatherBatchSizes({ workers, retiredBatchSizes }: ModelFleet): Promise<Histogram> {
  await Promise.all(workers.inState('accepting').map((slot) => slot.ask()));
  const histogram = new Histogram(BATCH_BOUNDS);
  for (const sizes of [retiredBatchSizes, ...[...workers].map((slot) => slot.batchSizes)]) {
    for (const [size, count] of Object.entries(sizes)) histogram.observe(Number(size), count);
  }
  return histogram;
}
