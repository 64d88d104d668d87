/** Which metrics a pool has, and where their values come from. */
import type * as Prom from 'prom-client';
import type { BreakerState } from '../breaker.js';
import type { RegisteredModel } from '../model/registered-model.js';
import type { PoolSettings } from '../pool-settings.js';
import { gatherBatchSizes } from './batch-sizes.js';
import type { Histogram } from './histogram.js';

type Labels = Record<string, string>;
type Sample = readonly [labels: Labels, value: number];
type HistogramSample = readonly [labels: Labels, histogram: Histogram];

/** A pool that shows itself in a registry. */
export interface MetricsSource {
  readonly settings: PoolSettings;
  readonly models: () => Iterable<RegisteredModel>;
}

const BREAKER_STATES: readonly BreakerState[] = ['closed', 'open', 'half-open'];
const OUTCOMES = ['succeeded', 'failed', 'expired', 'cancelled'] as const;

/** Defines the metrics in a registry, over all pools that share it. */
export function defineMetrics(prom: typeof Prom, registry: Prom.Registry, sources: ReadonlySet<MetricsSource>): void {
  const perModel = (of: (model: RegisteredModel, labels: Labels) => Iterable<Sample>) =>
    function* (): Iterable<Sample> {
      for (const { settings, models } of sources) {
        for (const model of models()) yield* of(model, { pool: settings.name, model: model.settings.label });
      }
    };
  const one = (of: (model: RegisteredModel) => number) => perModel((model, labels) => [[labels, of(model)]]);
  const perOperation = (of: (operation: OperationOf) => Iterable<readonly [Labels, number]>) =>
    perModel(function* (model, labels) {
      for (const operation of model.dispatcher.operations.values()) {
        for (const [more, value] of of(operation)) yield [{ ...labels, operation: operation.name, ...more }, value];
      }
    });
  const counter = (name: string, help: string, labelNames: string[], samples: () => Iterable<Sample>) => {
    new prom.Counter({
      name: `millrace_pool_${name}_total`,
      help,
      labelNames,
      registers: [registry],
      collect() {
        this.reset();
        for (const [labels, value] of samples()) this.inc(labels, value);
      },
    });
  };
  const gauge = (name: string, help: string, labelNames: string[], samples: () => Iterable<Sample>) => {
    new prom.Gauge({
      name: `millrace_pool_${name}`,
      help,
      labelNames,
      registers: [registry],
      collect() {
        this.reset();
        for (const [labels, value] of samples()) this.set(labels, value);
      },
    });
  };
  const M = ['pool', 'model'];
  const O = [...M, 'operation'];

  counter(
    'requests_accepted',
    'Requests that were accepted.',
    O,
    perOperation((each) => [[{}, each.ledger.accepted]]),
  );
  counter(
    'requests_settled',
    'Accepted requests by how they ended.',
    [...O, 'outcome'],
    perOperation((each) => OUTCOMES.map((outcome) => [{ outcome }, each.ledger[outcome]])),
  );
  counter(
    'requests_refused',
    'Requests that were turned away.',
    O,
    perOperation((each) => [[{}, each.ledger.refused]]),
  );
  counter(
    'requests_retried',
    'Runs repeated after a crash.',
    O,
    perOperation((each) => [[{}, each.ledger.retried]]),
  );
  counter(
    'requests_coalesced',
    'Requests that shared a run.',
    O,
    perOperation((each) => [[{}, each.ledger.coalesced]]),
  );
  counter(
    'worker_starts',
    'Workers that were started.',
    M,
    one((model) => model.fleet.starts),
  );
  counter(
    'worker_restarts',
    'Workers that replaced a crashed one.',
    M,
    one((model) => model.fleet.restarts),
  );
  counter(
    'worker_crashes',
    'Workers that ended unasked.',
    M,
    one((model) => model.fleet.crashes),
  );
  counter(
    'worker_evictions',
    'Workers that were evicted.',
    M,
    one((model) => model.fleet.evictions),
  );
  counter(
    'load_failures',
    'Workers that could not be started.',
    M,
    one((model) => model.fleet.loadFailures),
  );
  counter(
    'breaker_rejections',
    'Calls the breaker refused.',
    M,
    one((model) => model.dispatcher.breakerRejections),
  );
  gauge(
    'workers',
    'Workers by state.',
    [...M, 'state'],
    perModel((model, labels) =>
      Object.entries(model.fleet.workersByState()).map(([state, count]) => [{ ...labels, state }, count]),
    ),
  );
  gauge(
    'queue_depth',
    'Requests that wait for a worker.',
    O,
    perOperation((each) => [[{}, each.queued]]),
  );
  gauge(
    'admission_waiting',
    'Calls that wait for room in the queue.',
    M,
    one((model) => model.dispatcher.outside),
  );
  gauge(
    'in_flight',
    'Requests with a worker.',
    O,
    perOperation((each) => [[{}, each.running]]),
  );
  gauge(
    'memory_bytes',
    'Memory held by workers.',
    M,
    one((model) => model.fleet.slots.heldBytes),
  );
  gauge('memory_limit_bytes', 'Memory that workers may hold.', ['pool'], function* () {
    for (const { settings } of sources) yield [{ pool: settings.name }, settings.governor.limitBytes];
  });
  gauge(
    'breaker_state',
    'State of the circuit breaker, 1 for the one it is in.',
    [...M, 'state'],
    perModel((model, labels) =>
      BREAKER_STATES.map((state) => [{ ...labels, state }, model.dispatcher.breaker?.state === state ? 1 : 0]),
    ),
  );

  const histogram = (
    name: string,
    help: string,
    labelNames: string[],
    samples: () => Iterable<HistogramSample> | Promise<Iterable<HistogramSample>>,
  ) => {
    const metric = new prom.Histogram({ name: `millrace_pool_${name}`, help, labelNames, registers: [registry] });
    // prom-client cannot be handed counted buckets; it renders whatever a metric's `get` answers with.
    const get = async () => ({
      name: `millrace_pool_${name}`,
      help,
      type: 'histogram' as unknown as Prom.MetricType,
      aggregator: 'sum' as const,
      values: [...(await samples())].flatMap(([labels, counted]) =>
        bucketsOf(`millrace_pool_${name}`, labels, counted),
      ),
    });
    Object.assign(metric, { get, getForPromString: get });
  };
  const histograms = (of: (operation: OperationOf) => Histogram) =>
    function* (): Iterable<HistogramSample> {
      for (const { settings, models } of sources) {
        for (const model of models()) {
          for (const operation of model.dispatcher.operations.values()) {
            yield [{ pool: settings.name, model: model.settings.label, operation: operation.name }, of(operation)];
          }
        }
      }
    };
  histogram(
    'queue_wait_seconds',
    'From the call to a worker.',
    O,
    histograms((each) => each.waitSeconds),
  );
  histogram('batch_size', 'Sizes of the batches that the models ran.', M, async () => {
    const gathered: Promise<HistogramSample>[] = [];
    for (const { settings, models } of sources) {
      for (const model of models()) {
        const labels = { pool: settings.name, model: model.settings.label };
        gathered.push(gatherBatchSizes(model.fleet).then((sizes) => [labels, sizes] as const));
      }
    }
    return await Promise.all(gathered);
  });
  histogram(
    'service_seconds',
    'From a worker to the answer.',
    O,
    histograms((each) => each.serviceSeconds),
  );
}

type OperationOf =
  RegisteredModel['dispatcher']['operations'] extends ReadonlyMap<string, infer Operation> ? Operation : never;

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
