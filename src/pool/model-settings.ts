import {
  definedOf,
  type Given,
  requireBoolean,
  requireFunction,
  requireMilliseconds,
  requireNonNegativeInteger,
  requireNumber,
  requireOneOf,
  requireOptions,
  requirePositiveInteger,
  requireString,
} from '../core/index.js';
import type { Operations, WorkerHost } from '../worker/index.js';
import { BREAKER_KEYS, type BreakerRules, requireBreakerRules } from './breaker.js';
import { autoWorkers, availableCores } from './cores.js';
import type { ModelOptions, WorkerPart, WorkerStart } from './options.js';
import type { PoolSettings } from './pool-settings.js';
import type { PriorityShares } from './priority.js';
import { guarded, leastLoaded, powerOfTwoChoices, type Routing, roundRobin } from './routing.js';
import type { ScalingRules } from './scaling.js';

/** Model options, checked and filled. */
export interface ModelSettings extends ScalingRules {
  readonly key: string;
  readonly label: string;
  readonly operations: Operations;
  readonly host: WorkerHost;
  readonly worker: WorkerPart;
  /** What every worker is started with. */
  readonly start: WorkerStart;
  readonly concurrency: number;
  /** The most items in one run. */
  readonly maxBatch: number;
  /** Whether how long a call may keep a worker's thread is measured. */
  readonly isBlockedMeasured: boolean;
  readonly window: number;
  readonly maxParked: number;
  readonly reserve: number;
  readonly memoryBytes: number | undefined;
  readonly memoryWaitMs: number;
  readonly queueLimit: number;
  readonly timeoutMs: number;
  readonly retries: number;
  readonly routing: Routing;
  readonly shares: PriorityShares;
  readonly breaker: BreakerRules | undefined;
  readonly refuseEarly: boolean;
  readonly coalesce: ReadonlyMap<string, (input: never) => unknown>;
  readonly costOf: ((operation: string, input: unknown) => number) | undefined;
  readonly restartsPerMinute: number;
  readonly backOffMs: number;
}

const WORKER_KEYS = [
  'module',
  'load',
  'options',
  'loadTimeoutMs',
  'stallTimeoutMs',
  'env',
  'cwd',
  'execArgv',
  'stdio',
  'execPath',
  'threadPoolSize',
  'transfer',
  'heapMb',
] as const;
const MODEL_KEYS = [
  ...WORKER_KEYS,
  'blockedTimeoutMs',
  'label',
  'operations',
  'host',
  'concurrency',
  'maxBatch',
  'window',
  'maxParked',
  'reserve',
  'minWorkers',
  'maxWorkers',
  'memoryMb',
  'memoryWaitMs',
  'queueLimit',
  'timeoutMs',
  'retries',
  'scaleUpAfterMs',
  'idleTimeoutMs',
  'cooldownMs',
  'routing',
  'shares',
  'breaker',
  'refuseEarly',
  'coalesce',
  'costOf',
  'restartsPerMinute',
  'backOffMs',
] as const;

const DEFAULT_BREAKER: BreakerRules = {
  failures: 5,
  failureRate: 0.5,
  windowMs: 60_000,
  openMs: 60_000,
  probes: 3,
};
const DEFAULT_SHARES: PriorityShares = { normal: 0.2, batch: 0.05 };

/** Checks the options of a model and fills them. */
export function requireModelOptions<Ops extends Operations>(
  key: string,
  options: ModelOptions<Ops>,
  { governor, clock }: Pick<PoolSettings, 'governor' | 'clock'>,
): ModelSettings {
  const action = `Cannot register model '${requireString('Cannot register model', 'key', key)}'`;
  const given = requireOptions<ModelOptions<Ops>>(action, options, MODEL_KEYS);
  const operations = given.operations;
  if (typeof operations !== 'object' || operations === null || Object.keys(operations).length === 0) {
    throw new TypeError(`${action}: operations must be an object of operations by name`);
  }
  if ((given.module === undefined) === (given.load === undefined)) {
    throw new TypeError(`${action}: either module or load must be given`);
  }
  if (given.load !== undefined) requireFunction(action, 'load', given.load);
  const host = requireOneOf(action, 'host', given.host ?? (given.load === undefined ? 'process' : 'inline'), [
    'inline',
    'thread',
    'process',
  ]);
  if (given.load !== undefined && host !== 'inline') {
    throw new TypeError(`${action}: load needs the inline host, another host needs module, received host '${host}'`);
  }
  const integer = (
    name: 'concurrency' | 'maxBatch' | 'window' | 'queueLimit' | 'restartsPerMinute',
    fallback: number,
  ) => (given[name] === undefined ? fallback : requirePositiveInteger(action, name, given[name]));
  const count = (name: 'minWorkers' | 'retries' | 'reserve' | 'maxParked', fallback: number) =>
    given[name] === undefined ? fallback : requireNonNegativeInteger(action, name, given[name]);
  const ms = (
    name: 'memoryWaitMs' | 'timeoutMs' | 'scaleUpAfterMs' | 'idleTimeoutMs' | 'cooldownMs' | 'backOffMs',
    fallback: number,
    infinite = false,
  ) => (given[name] === undefined ? fallback : requireMilliseconds(action, name, given[name], { infinite }));

  const concurrency = integer('concurrency', 1);
  const maxParked = count('maxParked', 0);
  const window = integer('window', given.maxBatch === undefined ? concurrency : 2 * integer('maxBatch', 1));
  const reserve = count('reserve', 0);
  if (reserve >= window) {
    throw new RangeError(`${action}: reserve must be less than window, which is ${window}, received ${reserve}`);
  }
  const minWorkers = count('minWorkers', 0);
  const memoryBytes =
    given.memoryMb === undefined ? undefined : 1e6 * requireNumber(action, 'memoryMb', given.memoryMb, 0, 1e9);
  const maxWorkers = requireMaxWorkers(action, given.maxWorkers, minWorkers, () =>
    autoWorkers(memoryBytes, governor.limitBytes),
  );
  if (minWorkers > maxWorkers) {
    throw new RangeError(
      `${action}: minWorkers must be at most maxWorkers, which is ${maxWorkers}, received ${minWorkers}`,
    );
  }
  const worker: Record<string, unknown> = {};
  for (const name of WORKER_KEYS) if (given[name] !== undefined) worker[name] = given[name];
  const isBlockedMeasured = given.blockedTimeoutMs === 'measured';
  if (given.blockedTimeoutMs !== undefined && !isBlockedMeasured) worker.blockedTimeoutMs = given.blockedTimeoutMs;
  if (given.heapMb !== undefined) requirePositiveInteger(action, 'heapMb', given.heapMb);
  const idleTimeoutMs = ms('idleTimeoutMs', 300_000, true);
  return Object.freeze({
    key,
    label: given.label === undefined ? key : requireString(action, 'label', given.label),
    operations,
    host,
    worker: Object.freeze(worker) as WorkerPart,
    // What is parked is in the model, too.
    start: Object.freeze({
      ...worker,
      host,
      operations,
      concurrency: concurrency + maxParked,
      idleTimeoutMs,
      clock,
    }) as WorkerStart,
    concurrency,
    maxBatch: given.maxBatch ?? concurrency,
    isBlockedMeasured,
    window,
    maxParked,
    reserve,
    minWorkers,
    maxWorkers,
    memoryBytes,
    memoryWaitMs: ms('memoryWaitMs', 5_000),
    queueLimit: integer('queueLimit', Number.MAX_SAFE_INTEGER),
    timeoutMs: ms('timeoutMs', 30_000, true),
    retries: count('retries', 1),
    scaleUpAfterMs: ms('scaleUpAfterMs', 100),
    idleTimeoutMs,
    cooldownMs: ms('cooldownMs', 10_000),
    routing: requireRouting(action, given.routing),
    shares: requireShares(action, given.shares),
    breaker: given.breaker === false ? undefined : requireBreaker(action, given.breaker),
    refuseEarly: given.refuseEarly === undefined ? false : requireBoolean(action, 'refuseEarly', given.refuseEarly),
    coalesce: requireCoalesce(action, operations, given.coalesce),
    costOf:
      given.costOf === undefined
        ? undefined
        : requireFunction<NonNullable<ModelOptions['costOf']>>(action, 'costOf', given.costOf),
    restartsPerMinute: integer('restartsPerMinute', 5),
    backOffMs: ms('backOffMs', 500),
  });
}

function requireMaxWorkers(
  action: string,
  maxWorkers: ModelOptions['maxWorkers'],
  minWorkers: number,
  auto: () => number,
): number {
  if (maxWorkers === undefined) return Math.max(minWorkers, Math.min(4, availableCores()));
  if (maxWorkers === 'auto') return Math.max(minWorkers, auto());
  return requirePositiveInteger(action, 'maxWorkers', maxWorkers);
}

function requireRouting(action: string, routing: ModelOptions['routing']): Routing {
  if (typeof routing === 'function') return guarded(routing);
  switch (
    requireOneOf(action, 'routing', routing ?? 'powerOfTwoChoices', ['powerOfTwoChoices', 'leastLoaded', 'roundRobin'])
  ) {
    case 'leastLoaded':
      return leastLoaded();
    case 'roundRobin':
      return roundRobin();
    default:
      return powerOfTwoChoices();
  }
}

function requireShares(action: string, shares: Given<PriorityShares> | undefined): PriorityShares {
  const given = requireOptions<PriorityShares>(`${action}: shares`, shares as PriorityShares, ['normal', 'batch']);
  const { normal, batch } = { ...DEFAULT_SHARES, ...definedOf(given) };
  requireNumber(action, 'shares.normal', normal, 0, 1);
  requireNumber(action, 'shares.batch', batch, 0, 1 - normal);
  return Object.freeze({ normal, batch });
}

function requireBreaker(action: string, breaker: Given<BreakerRules> | undefined): BreakerRules {
  const given = requireOptions<BreakerRules>(`${action}: breaker`, breaker as BreakerRules, BREAKER_KEYS);
  return requireBreakerRules(action, 'breaker.', { ...DEFAULT_BREAKER, ...definedOf(given) });
}

function requireCoalesce(
  action: string,
  operations: Operations,
  coalesce: ModelOptions['coalesce'],
): ReadonlyMap<string, (input: never) => unknown> {
  const given = requireOptions(`${action}: coalesce`, coalesce, Object.keys(operations) as never[]) as object;
  const keys = new Map<string, (input: never) => unknown>();
  for (const [name, keyOf] of Object.entries(given)) {
    if (operations[name]?.kind === 'stream') {
      throw new TypeError(`${action}: coalesce.${name} must be a unary operation, a stream cannot be shared`);
    }
    if (keyOf !== undefined) keys.set(name, requireFunction(action, `coalesce.${name}`, keyOf));
  }
  return keys;
}
