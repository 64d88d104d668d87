/**
 * A pool's counts as observable instruments of a meter, read when its reader collects. They are those that `pool.metrics()` has for Prometheus, by
 * OpenTelemetry's rules for names and units.
 */
import type { Attributes, BatchObservableCallback, Meter, Observable } from '@opentelemetry/api';
import type { LedgerCounts, ModelHealth, ModelStats, PoolHealth, PoolStats } from '../pool/index.js';

/** A pool of any kind: what its instruments are read from. */
export interface ObservedPool {
  stats(): PoolStats;
  health(): PoolHealth;
}

type Kind = 'counter' | 'level';
type Sample = readonly [value: number, attributes?: Attributes];
type Row<T> = readonly [
  kind: Kind,
  name: string,
  unit: string,
  description: string,
  of: (measured: T) => readonly Sample[],
];

const OUTCOMES = ['succeeded', 'failed', 'expired', 'cancelled', 'refused'] as const;
const BREAKER_STATES = ['closed', 'open', 'half-open'] as const;

const OPERATION_ROWS: readonly Row<LedgerCounts>[] = [
  [
    'counter',
    'millrace.pool.calls',
    '{call}',
    'Calls by how they ended.',
    (counts) => OUTCOMES.map((outcome): Sample => [counts[outcome], { 'millrace.outcome': outcome }]),
  ],
  ['level', 'millrace.pool.pending', '{call}', 'Calls accepted and not answered.', ({ pending }) => [[pending]]],
  ['counter', 'millrace.pool.retries', '{run}', 'Runs repeated after a crash.', ({ retried }) => [[retried]]],
  ['counter', 'millrace.pool.coalesced', '{call}', 'Calls that shared a run.', ({ coalesced }) => [[coalesced]]],
];

const MODEL_ROWS: readonly Row<{ readonly stats: ModelStats; readonly health: ModelHealth }>[] = [
  ['level', 'millrace.pool.queue.depth', '{call}', 'Calls that wait for a worker.', ({ stats }) => [[stats.queued]]],
  ['level', 'millrace.pool.waiting', '{call}', 'Calls that wait for room.', ({ stats }) => [[stats.waiting]]],
  ['level', 'millrace.pool.in_flight', '{call}', 'Calls with a worker.', ({ stats }) => [[stats.inFlight]]],
  [
    'level',
    'millrace.pool.workers',
    '{worker}',
    'Workers by state.',
    ({ health }) =>
      Object.entries(health.workers).map(([state, count]): Sample => [count, { 'millrace.state': state }]),
  ],
  ['counter', 'millrace.pool.worker.starts', '{worker}', 'Workers started.', ({ stats }) => [[stats.starts]]],
  ['counter', 'millrace.pool.worker.restarts', '{worker}', 'Workers replaced.', ({ stats }) => [[stats.restarts]]],
  [
    'counter',
    'millrace.pool.worker.crashes',
    '{worker}',
    'Workers that ended unasked.',
    ({ stats }) => [[stats.crashes]],
  ],
  ['counter', 'millrace.pool.worker.evictions', '{worker}', 'Workers evicted.', ({ stats }) => [[stats.evictions]]],
  [
    'counter',
    'millrace.pool.load_failures',
    '{worker}',
    'Workers that could not be started.',
    ({ stats }) => [[stats.loadFailures]],
  ],
  ['level', 'millrace.pool.memory', 'By', 'Memory held by workers.', ({ health }) => [[health.memoryBytes]]],
  [
    'level',
    'millrace.pool.breaker',
    '1',
    'The circuit breaker: 1 for the state that it is in.',
    ({ health }) =>
      BREAKER_STATES.map((state): Sample => [health.breaker === state ? 1 : 0, { 'millrace.state': state }]),
  ],
];

const POOL_ROWS: readonly Row<PoolHealth>[] = [
  ['level', 'millrace.pool.memory.limit', 'By', 'Memory that workers may hold.', ({ memory }) => [[memory.limitBytes]]],
];

/** Reads pools whenever the meter's reader collects. Answers a function that ends it. */
export function observePools(meter: Meter, pools: ReadonlyMap<ObservedPool, string>): () => void {
  const instruments = new Map<string, Observable>();
  for (const [kind, name, unit, description] of [...OPERATION_ROWS, ...MODEL_ROWS, ...POOL_ROWS]) {
    const options = { unit, description };
    const made =
      kind === 'counter'
        ? meter.createObservableCounter(name, options)
        : meter.createObservableUpDownCounter(name, options);
    instruments.set(name, made);
  }
  const collect: BatchObservableCallback = (result) => {
    const tell = <T>(rows: readonly Row<T>[], measured: T, attributes: Attributes): void => {
      for (const [, name, , , of] of rows) {
        for (const [value, more] of of(measured)) {
          result.observe(instruments.get(name) as Observable, value, { ...attributes, ...more });
        }
      }
    };
    for (const [pool, name] of pools) {
      const [stats, health] = [pool.stats(), pool.health()];
      const ofPool = { 'millrace.pool': name };
      tell(POOL_ROWS, health, ofPool);
      for (const [model, modelStats] of Object.entries(stats.models)) {
        const ofModel = { ...ofPool, 'millrace.model': model };
        const modelHealth = health.models[model];
        if (modelHealth !== undefined) tell(MODEL_ROWS, { stats: modelStats, health: modelHealth }, ofModel);
        for (const [operation, counts] of Object.entries(modelStats.operations)) {
          tell(OPERATION_ROWS, counts, { ...ofModel, 'millrace.operation': operation });
        }
      }
    }
  };
  const all = [...instruments.values()];
  meter.addBatchObservableCallback(collect, all);
  return () => meter.removeBatchObservableCallback(collect, all);
}
