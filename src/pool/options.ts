import type { Clock, Given } from '../core/index.js';
import type {
  InputOf,
  ModelContext,
  ModelOf,
  Operations,
  SpareHost,
  WorkerHost,
  WorkerStdio,
} from '../worker/index.js';
import type { BreakerRules } from './breaker.js';
import type { MemoryGovernor } from './memory/governor.js';
import type { PooledWorker } from './pooled-worker.js';
import type { PriorityShares } from './priority.js';
import type { Routing } from './routing.js';

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
  readonly spare?: SpareHost | undefined;
}

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
  /** Who grants memory to workers. One governor for all pools of the process by default. */
  readonly governor?: MemoryGovernor | undefined;
  /** How long `close()` lets accepted requests finish, in ms. 5,000 by default. */
  readonly shutdownMs?: number | undefined;
  /** A prom-client registry to put the metrics into. A private one by default. Pools that share one need different names. */
  readonly registry?: MetricsRegistry | undefined;
  /**
   * Processes that are kept ready for workers to start in: how many, or also how they are started and what they import ahead. A worker of any model
   * with the process host takes one over, if it is started in the same way (`env`, `cwd`, `execPath`, `execArgv`, `stdio`, `threadPoolSize`, `heapMb`). None by default.
   */
  readonly spareHosts?: number | SpareHostSettings | undefined;
  /** The time source. */
  readonly clock?: Clock | undefined;
  /** How a worker is started. */
  readonly spawn?: SpawnPooledWorker | undefined;
}

/** The part of a model's options that goes to its workers unchanged. */
export interface WorkerPart {
  /** The module whose default export (or `createModel`) makes the model. */
  readonly module?: string | URL | undefined;
  /** Makes the model, for the inline host. */
  readonly load?: ((context: ModelContext) => unknown) | undefined;
  /** What the module's factory is given. */
  readonly options?: unknown;
  /** How long a load may take, in ms. 120,000 by default. */
  readonly loadTimeoutMs?: number | undefined;
  /** How long a worker may make no progress past a deadline before it is killed, in ms. 30,000 by default. */
  readonly stallTimeoutMs?: number | undefined;
  /** The same while one call keeps its thread, in ms, or what answers it. `stallTimeoutMs` by default. */
  readonly blockedTimeoutMs?: number | (() => number) | undefined;
  /** Environment of a worker; the parent's by default. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Working directory (process host only). */
  readonly cwd?: string | undefined;
  /** Node flags. */
  readonly execArgv?: readonly string[] | undefined;
  /** What becomes of what a worker prints. `'inherit'` by default. */
  readonly stdio?: WorkerStdio | undefined;
  /** Threads of libuv's pool in a worker's process, unless its environment sets them. 4 by default. */
  readonly threadPoolSize?: number | undefined;
  /** The program that runs a process host, a Node. The one that runs this process by default. */
  readonly execPath?: string | undefined;
  /** What is moved to a worker's thread and back instead of copied (thread host only). */
  readonly transfer?: { readonly inputs?: boolean; readonly results?: boolean } | undefined;
  /** Limit of a worker's JavaScript heap, in MB. Native memory is not part of it. */
  readonly heapMb?: number | undefined;
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
   * How long one call may keep a worker's thread past a deadline before the worker is killed, in ms. `stallTimeoutMs` by default. `'measured'`: several times
   * the 99th percentile of the answers so far, between 2 and 30 seconds, for a model whose `warmup()` runs it once.
   */
  readonly blockedTimeoutMs?: number | 'measured' | undefined;
  /** Calls inside one worker's model at once. 1 by default. */
  readonly concurrency?: number | undefined;
  /** The largest batch that the model gathers, where it gathers any: the window is then twice that. */
  readonly maxBatch?: number | undefined;
  /** How many requests a worker may hold at once. Twice `maxBatch`, else `concurrency`. */
  readonly window?: number | undefined;
  /**
   * How many requests a worker may have beyond its window while as many of its calls wait for something else than itself, such as a server: it tells by a
   * number `parked` in what its model's `health()` answers with, and is asked when requests wait for a place. 0 by default: it is never asked.
   */
  readonly maxParked?: number | undefined;
  /** Places of the window that requests of the class `'batch'` never take, so that the others find a worker open to them. 0 by default. */
  readonly reserve?: number | undefined;
  /** Workers that are kept, idle or not. 0 by default. */
  readonly minWorkers?: number | undefined;
  /**
   * Workers at most. min(4, cores) by default; `'auto'` for one for each core that the process may use (see {@link availableCores}), as far as the
   * governor's memory goes where `memoryMb` says what one costs.
   */
  readonly maxWorkers?: number | 'auto' | undefined;
  /** What one worker costs, in MB (10^6 bytes), until it was measured. */
  readonly memoryMb?: number | undefined;
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
  /** How long a worker must be idle, in ms, before it may be evicted. 300,000 by default. */
  readonly idleTimeoutMs?: number | undefined;
  /** What is added to that, in ms, so that load at the edge does not make workers come and go. 10,000 by default. */
  readonly cooldownMs?: number | undefined;
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
  /** What a request weighs for routing. 1 by default. */
  readonly costOf?: ((operation: string, input: unknown) => number) | undefined;
  /** Workers that may die within a minute while they load or before their first answer, and are replaced at once; then one is started every five seconds. 5 by default. */
  readonly restartsPerMinute?: number | undefined;
  /** The shortest back-off after a failed load, in ms; it doubles each time, up to 60 times this. 500 by default. */
  readonly backOffMs?: number | undefined;
}
