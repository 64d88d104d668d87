import {
  type Clock,
  requireBoolean,
  requireFunction,
  requireMilliseconds,
  requireNonNegativeInteger,
  requireNumber,
  requireOneOf,
  requireOptions,
  requirePositiveInteger,
  requireString,
  systemClock,
} from '../core/index.js';
import type { ModelContext, ModelOf, Operations, SpareHost, WorkerHost } from '../worker/index.js';
import { type BreakerRules, requireBreakerRules } from './breaker.js';
import { requireClock } from './clock.js';
import { autoWorkers, availableCores } from './cores.js';
import { MemoryGovernor, processMemoryGovernor } from './memory/governor.js';
import type { PooledWorker } from './pooled-worker.js';
import type { PriorityShares } from './priority.js';
import { guarded, leastLoaded, powerOfTwoChoices, type Routing, roundRobin } from './routing.js';
import type { ScalingRules } from './scaling.js';

/** A prom-client registry, seen without the package. */
export type MetricsRegistry = object;

/** Starts one worker; `spawnWorker` of `millrace/worker` unless replaced. */
export type SpawnPooledWorker = (options: WorkerStart) => PooledWorker;

/** What {@link SpawnPooledWorker} is given. */
export interface WorkerStart extends WorkerPart {
  readonly host: WorkerHost;
  readonly operations: Operations;
  readonly concurrency: number;
  readonly idleTimeoutMs: number;
  readonly clock: Clock;
  /** A process that was started ahead, to be taken over. It is ended if it is not. */
  readonly spare?: SpareHost;
}

/** Processes that are kept ready for workers to start in, so that a start waits for its model alone. */
export interface SpareHostSettings extends Pick<WorkerPart, 'env' | 'cwd' | 'execArgv' | 'stdio' | 'heapMb'> {
  /** How many. */
  readonly count: number;
  /** URL of a model module to import ahead; what it exports as `preload` is called. */
  readonly module?: string | URL;
}

/** Options of {@link createPool}. */
export interface PoolOptions {
  /** The pool's name, in events, metrics and errors. `'pool'` by default. */
  readonly name?: string;
  /** Who grants memory to workers. One governor for all pools of the process by default. */
  readonly governor?: MemoryGovernor;
  /** How long `close()` lets accepted requests finish, in ms. 5,000 by default. */
  readonly shutdownMs?: number;
  /** A prom-client registry to put the metrics into. A private one by default. Pools that share one need different names. */
  readonly registry?: MetricsRegistry;
  /**
   * Processes that are kept ready for workers to start in: how many, or also how they are started and what they import ahead. A worker of any model
   * with the process host takes one over, if it is started in the same way (`env`, `cwd`, `execArgv`, `stdio`, `heapMb`). None by default.
   */
  readonly spareHosts?: number | SpareHostSettings;
  /** The time source. */
  readonly clock?: Clock;
  /** How a worker is started. */
  readonly spawn?: SpawnPooledWorker;
}

/** The part of a model's options that goes to its workers unchanged. */
export interface WorkerPart {
  /** The module whose default export (or `createModel`) makes the model. */
  readonly module?: string | URL;
  /** Makes the model, for the inline host. */
  readonly load?: (context: ModelContext) => unknown;
  /** What the module's factory is given. */
  readonly options?: unknown;
  /** How long a load may take, in ms. 120,000 by default. */
  readonly loadTimeoutMs?: number;
  /** How long a worker may make no progress before it is killed, in ms. */
  readonly stallTimeoutMs?: number;
  /** Environment of a worker; the parent's by default. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Working directory (process host only). */
  readonly cwd?: string;
  /** Node flags. */
  readonly execArgv?: readonly string[];
  /** What becomes of what a worker prints. `'inherit'` by default. */
  readonly stdio?: 'inherit' | 'ignore';
  /** What is moved to a worker's thread and back instead of copied (thread host only). */
  readonly transfer?: { readonly inputs?: boolean; readonly results?: boolean };
  /** Limit of a worker's JavaScript heap, in MB. Native memory is not part of it. */
  readonly heapMb?: number;
}

/** Options of `pool.register()`. */
export interface ModelOptions<Ops extends Operations = Operations> extends Omit<WorkerPart, 'load'> {
  /** What the model can do: the types of everything else flow from here. */
  readonly operations: Ops;
  /** Makes the model in this process (inline host). Either this or `module`. */
  readonly load?: (context: ModelContext) => ModelOf<Ops> | Promise<ModelOf<Ops>>;
  /** Where the workers run. `'process'` for a module, `'inline'` for `load`. */
  readonly host?: WorkerHost;
  /** Calls inside one worker's model at once. 1 by default. */
  readonly concurrency?: number;
  /** The largest batch that the model gathers, where it gathers any: the window is then twice that. */
  readonly maxBatch?: number;
  /** How many requests a worker may hold at once. Twice `maxBatch`, else `concurrency`. */
  readonly window?: number;
  /** Places of the window that requests of the class `'batch'` never take, so that the others find a worker open to them. 0 by default. */
  readonly reserve?: number;
  /** Workers that are kept, idle or not. 0 by default. */
  readonly minWorkers?: number;
  /**
   * Workers at most. min(4, cores) by default; `'auto'` for one for each core that the process may use (see {@link availableCores}), as far as the
   * governor's memory goes where `memoryMb` says what one costs.
   */
  readonly maxWorkers?: number | 'auto';
  /** What one worker costs, in MB (10^6 bytes), until it was measured. */
  readonly memoryMb?: number;
  /** How long a start waits for memory to come free, in ms. 5,000 by default. */
  readonly memoryWaitMs?: number;
  /** Requests of all operations together that may wait. Bounded by the operations' capacities alone by default. */
  readonly queueLimit?: number;
  /** The deadline of a call that sets none, in ms, or `Infinity`. 30,000 by default. */
  readonly timeoutMs?: number;
  /** How often a request of an idempotent operation is run again after a crash. 1 by default. */
  readonly retries?: number;
  /** How long all workers must be busy before another is started, in ms. 100 by default. */
  readonly scaleUpAfterMs?: number;
  /** How long a worker must be idle, in ms, before it may be evicted. 300,000 by default. */
  readonly idleTimeoutMs?: number;
  /** What is added to that, in ms, so that load at the edge does not make workers come and go. 10,000 by default. */
  readonly cooldownMs?: number;
  /** Which worker gets the next request. Power of two choices by default. */
  readonly routing?: 'powerOfTwoChoices' | 'leastLoaded' | 'roundRobin' | Routing;
  /** What the less urgent classes get at least. `{ normal: 0.2, batch: 0.05 }` by default. */
  readonly shares?: Partial<PriorityShares>;
  /** When calls are refused because the model fails. False for never. */
  readonly breaker?: Partial<BreakerRules> | false;
  /** Whether a call whose deadline cannot be met at the current rate is refused at once. False by default. */
  readonly refuseEarly?: boolean;
  /** Per operation, what makes two inputs the same: identical requests in flight then share a run. None by default. */
  readonly coalesce?: { readonly [K in keyof Ops & string]?: (input: never) => unknown };
  /** What a request weighs for routing. 1 by default. */
  readonly costOf?: (operation: string, input: unknown) => number;
  /** Crashes within a minute after which no worker is started until the minute is over. 5 by default. */
  readonly restartsPerMinute?: number;
  /** The shortest back-off after a failed load, in ms; it doubles each time, up to 60 times this. 500 by default. */
  readonly backOffMs?: number;
}

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

/** Model options, checked and filled. */
export interface ModelSettings extends ScalingRules {
  readonly key: string;
  readonly operations: Operations;
  readonly host: WorkerHost;
  readonly worker: WorkerPart;
  /** What every worker is started with. */
  readonly start: WorkerStart;
  readonly concurrency: number;
  readonly window: number;
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
  readonly coalesce: Readonly<Record<string, (input: never) => unknown>>;
  readonly costOf: ((operation: string, input: unknown) => number) | undefined;
  readonly restartsPerMinute: number;
  readonly backOffMs: number;
}

const POOL_KEYS = ['name', 'governor', 'shutdownMs', 'registry', 'spareHosts', 'clock', 'spawn'] as const;
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
  'transfer',
  'heapMb',
] as const;
const MODEL_KEYS = [
  ...WORKER_KEYS,
  'operations',
  'host',
  'concurrency',
  'maxBatch',
  'window',
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

const DEFAULT_BREAKER: BreakerRules = { failures: 5, windowMs: 60_000, openMs: 60_000, probes: 3 };
const DEFAULT_SHARES: PriorityShares = { normal: 0.2, batch: 0.05 };

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
  const keys = ['count', 'module', 'env', 'cwd', 'execArgv', 'stdio', 'heapMb'] as const;
  const settings =
    typeof given === 'number'
      ? { count: given }
      : (requireOptions<SpareHostSettings>(`${action}: spareHosts`, given, keys) as SpareHostSettings);
  requireNonNegativeInteger(action, 'spareHosts.count', settings.count, 64);
  // The rest is checked as the first is started, which is now.
  return settings.count === 0 ? undefined : Object.freeze({ ...settings });
}

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
  const count = (name: 'minWorkers' | 'retries' | 'reserve', fallback: number) =>
    given[name] === undefined ? fallback : requireNonNegativeInteger(action, name, given[name]);
  const ms = (
    name: 'memoryWaitMs' | 'timeoutMs' | 'scaleUpAfterMs' | 'idleTimeoutMs' | 'cooldownMs' | 'backOffMs',
    fallback: number,
    infinite = false,
  ) => (given[name] === undefined ? fallback : requireMilliseconds(action, name, given[name], { infinite }));

  const concurrency = integer('concurrency', 1);
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
  if (given.heapMb !== undefined) requirePositiveInteger(action, 'heapMb', given.heapMb);
  const idleTimeoutMs = ms('idleTimeoutMs', 300_000, true);
  return Object.freeze({
    key,
    operations,
    host,
    worker: Object.freeze(worker) as WorkerPart,
    start: Object.freeze({ ...worker, host, operations, concurrency, idleTimeoutMs, clock }) as WorkerStart,
    concurrency,
    window,
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

function requireShares(action: string, shares: Partial<PriorityShares> | undefined): PriorityShares {
  const given = requireOptions<PriorityShares>(`${action}: shares`, shares as PriorityShares, ['normal', 'batch']);
  const { normal, batch } = { ...DEFAULT_SHARES, ...given };
  requireNumber(action, 'shares.normal', normal, 0, 1);
  requireNumber(action, 'shares.batch', batch, 0, 1 - normal);
  return Object.freeze({ normal, batch });
}

function requireBreaker(action: string, breaker: Partial<BreakerRules> | undefined): BreakerRules {
  const keys = ['failures', 'windowMs', 'openMs', 'probes'] as const;
  const given = requireOptions<BreakerRules>(`${action}: breaker`, breaker as BreakerRules, keys);
  return requireBreakerRules(action, 'breaker.', { ...DEFAULT_BREAKER, ...given });
}

function requireCoalesce(
  action: string,
  operations: Operations,
  coalesce: ModelOptions['coalesce'],
): Readonly<Record<string, (input: never) => unknown>> {
  const given = requireOptions(`${action}: coalesce`, coalesce, Object.keys(operations) as never[]) as object;
  const keys: Record<string, (input: never) => unknown> = {};
  for (const [name, keyOf] of Object.entries(given)) {
    if (operations[name]?.kind === 'stream') {
      throw new TypeError(`${action}: coalesce.${name} must be a unary operation, a stream cannot be shared`);
    }
    keys[name] = requireFunction(action, `coalesce.${name}`, keyOf);
  }
  return Object.freeze(keys);
}
