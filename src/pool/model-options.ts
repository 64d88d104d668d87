import {
  definedOf,
  type Filled,
  fillOptions,
  type Given,
  group,
  millisecondsOrInfinity,
  numberFrom,
  type OptionTable,
  oneOf,
  option,
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
import type { CommonWorkerOptions, InputOf, ModelContext, ModelOf, Operations, WorkerHost } from '../worker/index.js';
import { type BreakerRules, requireBreakerRules } from './breaker.js';
import { autoWorkers, availableCores } from './machine.js';
import { type PoolSettings, passedOn } from './pool-options.js';
import type { WorkerStart } from './pooled-worker.js';
import type { PriorityShares } from './priority.js';
import { guarded, leastLoaded, powerOfTwoChoices, type Routing, roundRobin } from './routing.js';

/** The part of a model's options that goes to its workers unchanged. */
export interface WorkerPart
  extends Pick<
    CommonWorkerOptions<Operations>,
    | 'options'
    | 'loadTimeoutMs'
    | 'stallTimeoutMs'
    | 'blockedTimeoutMs'
    | 'transfer'
    | 'env'
    | 'cwd'
    | 'execArgv'
    | 'execPath'
    | 'stdio'
    | 'threadPoolSize'
    | 'heapMb'
  > {
  /** The module whose default export (or `createModel`) makes the model. */
  readonly module?: string | URL | undefined;
  /** Makes the model, for the inline host. */
  readonly load?: ((context: ModelContext) => unknown) | undefined;
}

/** Where a model comes from, and where its workers run: a module for any host, or a function for the inline host. */
export type ModelOrigin<Ops extends Operations = Operations> =
  | {
      /** The module whose default export (or `createModel`) makes the model. Either this or `load`. */
      readonly module: string | URL;
      readonly load?: undefined;
      /** Where the workers run. `'process'` for a module, `'inline'` for `load`. */
      readonly host?: WorkerHost | undefined;
    }
  | {
      /** Makes the model in this process (inline host). Either this or `module`. */
      readonly load: (context: ModelContext) => ModelOf<Ops> | Promise<ModelOf<Ops>>;
      readonly module?: undefined;
      readonly host?: 'inline' | undefined;
    };

/** Options of `pool.register()`: what is common to all, and one origin of the model. */
export type ModelOptions<Ops extends Operations = Operations> = CommonModelOptions<Ops> & ModelOrigin<Ops>;

/** Options of `pool.register()`, but for where the model comes from. */
export interface CommonModelOptions<Ops extends Operations = Operations>
  extends Omit<WorkerPart, 'load' | 'module' | 'blockedTimeoutMs'> {
  /** What the model can do: the types of everything else flow from here. */
  readonly operations: Ops;
  /** What metrics call the model; its key by default. No two models of a pool may share one. */
  readonly label?: string | undefined;
  /**
   * How long one call may keep a worker's thread past a deadline before the worker is killed, in ms. `stallTimeoutMs` by default. `'measured'`: several
   * times the 99th percentile of the answers so far, between 2 and 30 seconds, for a model whose `warmup()` runs it once.
   */
  readonly blockedTimeoutMs?: number | 'measured' | undefined;
  /** Calls inside one worker's model at once, and how many requests a worker is given at once. 1 by default. */
  readonly concurrency?: number | undefined;
  /** The largest batch that the model gathers, where it gathers any: a worker is then given at least twice that many requests at once. */
  readonly maxBatch?: number | undefined;
  /**
   * How many requests a worker may have beyond that while as many of its calls wait for something else than itself, such as a server: it tells by a number
   * `parked` in what its model's `health()` answers with, and is asked when requests wait for a place. 0 by default: it is never asked.
   */
  readonly maxParked?: number | undefined;
  /** Places of a worker that requests of the class `'batch'` never take, so that the others find a worker open to them. 0 by default. */
  readonly reserve?: number | undefined;
  /** Workers that are kept, idle or not. 0 by default. */
  readonly minWorkers?: number | undefined;
  /**
   * Workers at most. min(4, cores) by default; `'auto'` for one for each core that the process may use (see {@link availableCores}), as far as the
   * governor's memory goes where `costMb` says what one costs.
   */
  readonly maxWorkers?: number | 'auto' | undefined;
  /** The resident memory that one worker costs, in MB (10^6 bytes), until it was measured. */
  readonly costMb?: number | undefined;
  /** How long a start waits for memory to come free, in ms. 5,000 by default. */
  readonly memoryWaitMs?: number | undefined;
  /** Requests of all operations together that may wait. Bounded by the operations' capacities alone by default. */
  readonly queueLimit?: number | undefined;
  /** The deadline of a call that sets none, in ms, or `Infinity`. 30,000 by default. */
  readonly timeoutMs?: number | undefined;
  /** How often a request of an idempotent operation is run again after a crash of a worker that held nothing else; 0 for never, whatever it held. 1 by default. */
  readonly retries?: number | undefined;
  /** How long all workers must be busy before another is started, in ms. 100 by default. */
  readonly scaleUpAfterMs?: number | undefined;
  /** How long a worker must be idle, in ms, before it may be evicted, or `Infinity`. 300,000 by default. */
  readonly idleTimeoutMs?: number | undefined;
  /** Which worker gets the next request. Power of two choices by default. */
  readonly routing?: 'powerOfTwoChoices' | 'leastLoaded' | 'roundRobin' | Routing | undefined;
  /** What the less urgent classes get at least. `{ normal: 0.2, batch: 0.05 }` by default. */
  readonly shares?: Given<PriorityShares> | undefined;
  /** When calls are refused because the model fails. False for never. */
  readonly breaker?: Given<BreakerRules> | false | undefined;
  /** Whether a call whose deadline cannot be met at the current rate is refused at once. False by default. */
  readonly refuseEarly?: boolean | undefined;
  /** Per operation, what makes two inputs the same: identical requests in flight then share a run. None by default. */
  readonly coalesce?:
    | { readonly [K in keyof Ops & string]?: ((input: InputOf<Ops[K]>) => unknown) | undefined }
    | undefined;
  /** Workers that may die within a minute while they load or before their first answer, and are replaced at once; then one is started every five seconds. 5 by default. */
  readonly restartsPerMinute?: number | undefined;
  /** The shortest back-off after a failed load, in ms; it doubles each time, up to 60 times this. 500 by default. */
  readonly backOffMs?: number | undefined;
}

/** Options that are something else when they are filled. */
type OtherwiseFilled =
  | keyof WorkerPart
  | 'concurrency'
  | 'maxWorkers'
  | 'costMb'
  | 'routing'
  | 'shares'
  | 'breaker'
  | 'coalesce';

/**
 * Model options, checked and filled.
 *
 * @internal
 */
export interface ModelSettings extends Filled<Omit<CommonModelOptions, OtherwiseFilled>> {
  readonly maxWorkers: number;
  readonly key: string;
  readonly host: WorkerHost;
  readonly worker: WorkerPart;
  /** What every worker is started with. */
  readonly start: WorkerStart;
  /** Whether how long a call may keep a worker's thread is measured. */
  readonly isBlockedMeasured: boolean;
  /** How many requests a worker is given at once. */
  readonly window: number;
  readonly costBytes: number | undefined;
  readonly routing: Routing;
  readonly shares: PriorityShares;
  readonly breaker: BreakerRules | undefined;
  readonly coalesce: ReadonlyMap<string, (input: never) => unknown>;
}

const DEFAULT_BREAKER: BreakerRules = {
  failures: 5,
  failureRate: 0.5,
  windowMs: 60_000,
  openMs: 60_000,
  probes: 3,
};
const SHARES = {
  normal: option(numberFrom(0, 1), 0.2),
  batch: option(numberFrom(0, 1), 0.05),
} satisfies OptionTable<PriorityShares>;
const ROUTINGS = { powerOfTwoChoices, leastLoaded, roundRobin } as const;

/** What goes to the workers, and is checked as their options are. */
const WORKER_OPTIONS = {
  module: passedOn(),
  load: option(requireFunction<NonNullable<WorkerPart['load']>>),
  options: passedOn(),
  loadTimeoutMs: passedOn(),
  stallTimeoutMs: passedOn(),
  env: passedOn(),
  cwd: passedOn(),
  execArgv: passedOn(),
  stdio: passedOn(),
  execPath: passedOn(),
  threadPoolSize: passedOn(),
  transfer: passedOn(),
  heapMb: option(requirePositiveInteger),
} satisfies OptionTable<Omit<WorkerPart, 'blockedTimeoutMs'>>;
const MODEL_OPTIONS = {
  ...WORKER_OPTIONS,
  blockedTimeoutMs: passedOn<number | 'measured'>(),
  operations: option(requireOperations),
  label: option(requireString),
  host: option(oneOf(['inline', 'thread', 'process'])),
  concurrency: option(requirePositiveInteger, 1),
  maxBatch: option(requirePositiveInteger),
  maxParked: option(requireNonNegativeInteger, 0),
  reserve: option(requireNonNegativeInteger, 0),
  minWorkers: option(requireNonNegativeInteger, 0),
  maxWorkers: option(requireMaxWorkers),
  costMb: option(numberFrom(0, 1e9)),
  memoryWaitMs: option(requireMilliseconds, 5_000),
  queueLimit: option(requirePositiveInteger, Number.MAX_SAFE_INTEGER),
  timeoutMs: option(millisecondsOrInfinity, 30_000),
  retries: option(requireNonNegativeInteger, 1),
  scaleUpAfterMs: option(requireMilliseconds, 100),
  idleTimeoutMs: option(millisecondsOrInfinity, 300_000),
  routing: option(requireRouting, 'powerOfTwoChoices'),
  shares: group(SHARES),
  breaker: option(requireBreaker, DEFAULT_BREAKER),
  refuseEarly: option(requireBoolean, false),
  coalesce: passedOn<object>(),
  restartsPerMinute: option(requirePositiveInteger, 5),
  backOffMs: option(requireMilliseconds, 500),
};

/**
 * Checks the options of a model and fills them.
 *
 * @internal
 */
export function requireModelOptions<Ops extends Operations>(
  key: string,
  options: ModelOptions<Ops>,
  { governor, clock }: Pick<PoolSettings, 'governor' | 'clock'>,
): ModelSettings {
  const action = `Cannot register model '${requireString('Cannot register model', 'key', key)}'`;
  const given = fillOptions(action, options, MODEL_OPTIONS);
  const operations = requireOperations(action, 'operations', given.operations);
  if ((given.module === undefined) === (given.load === undefined)) {
    throw new TypeError(`${action}: either module or load must be given`);
  }
  const host = given.host ?? (given.load === undefined ? 'process' : 'inline');
  if (given.load !== undefined && host !== 'inline') {
    throw new TypeError(`${action}: load needs the inline host, another host needs module, received host '${host}'`);
  }
  const { concurrency, maxBatch, maxParked, reserve, minWorkers, idleTimeoutMs, blockedTimeoutMs, shares } = given;
  const window = maxBatch === undefined ? concurrency : Math.max(concurrency, 2 * maxBatch);
  if (reserve >= window) {
    throw new RangeError(
      `${action}: reserve must be less than a worker's places, which are ${window}, received ${reserve}`,
    );
  }
  const costBytes = given.costMb === undefined ? undefined : 1e6 * given.costMb;
  const maxWorkers = maxWorkersOf(given.maxWorkers, minWorkers, () => autoWorkers(costBytes, governor.limitBytes));
  if (minWorkers > maxWorkers) {
    throw new RangeError(
      `${action}: minWorkers must be at most maxWorkers, which is ${maxWorkers}, received ${minWorkers}`,
    );
  }
  requireNumber(action, 'shares.batch', shares.batch, 0, 1 - shares.normal);
  const isBlockedMeasured = blockedTimeoutMs === 'measured';
  const worker: WorkerPart = Object.freeze(
    definedOf({
      ...Object.fromEntries(Object.keys(WORKER_OPTIONS).map((name) => [name, given[name as keyof WorkerPart]])),
      blockedTimeoutMs: isBlockedMeasured ? undefined : blockedTimeoutMs,
    }),
  );
  return Object.freeze({
    ...given,
    key,
    label: given.label ?? key,
    operations,
    host,
    worker,
    // Parked calls are inside the model, too.
    start: Object.freeze({ ...worker, host, operations, concurrency: concurrency + maxParked, idleTimeoutMs, clock }),
    maxBatch: maxBatch ?? concurrency,
    isBlockedMeasured,
    window,
    maxWorkers,
    costBytes,
    routing: typeof given.routing === 'function' ? guarded(given.routing) : ROUTINGS[given.routing](),
    coalesce: requireCoalesce(action, operations, given.coalesce),
  });
}

function requireOperations(action: string, name: string, operations: unknown): Operations {
  if (typeof operations !== 'object' || operations === null || Object.keys(operations).length === 0) {
    throw new TypeError(`${action}: ${name} must be an object of operations by name`);
  }
  return operations as Operations;
}

function requireMaxWorkers(action: string, name: string, value: unknown): number | 'auto' {
  return value === 'auto' ? value : requirePositiveInteger(action, name, value);
}

function maxWorkersOf(given: number | 'auto' | undefined, minWorkers: number, auto: () => number): number {
  if (given === undefined) return Math.max(minWorkers, Math.min(4, availableCores()));
  return given === 'auto' ? Math.max(minWorkers, auto()) : given;
}

function requireRouting(action: string, name: string, value: unknown): keyof typeof ROUTINGS | Routing {
  if (typeof value === 'function') return value as Routing;
  return requireOneOf(action, name, value, Object.keys(ROUTINGS) as (keyof typeof ROUTINGS)[]);
}

function requireBreaker(action: string, name: string, value: unknown): BreakerRules | undefined {
  if (value === false) return undefined;
  return requireBreakerRules(action, { ...DEFAULT_BREAKER, ...definedOf(value as Given<BreakerRules>) }, name);
}

function requireCoalesce(
  action: string,
  operations: Operations,
  coalesce: object | undefined,
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
