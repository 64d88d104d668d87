import {
  type Clock,
  describeReceived,
  type Filled,
  requireBoolean,
  requireClock,
  requireFunction,
  requireMilliseconds,
  requireOneOf,
  requireOptions,
  requirePositiveInteger,
  requireString,
  systemClock,
} from '../core/index.js';

import { type HostOptions, requireHostOptions, requireModuleUrl, type WorkerStdio } from './executor/host.js';
import { SpareHost } from './executor/spare-host.js';
import type { ModelContext, ModelOf, WorkerHost } from './model.js';
import { type Operations, requireOperations } from './operation.js';

/** What is moved to another thread instead of copied, where the host is a thread. */
export interface TransferOptions {
  /** Whether the buffers of inputs are moved: the caller's typed arrays are empty afterwards, and a pool never runs such a request again. False by default. */
  readonly inputs?: boolean | undefined;
  /** Whether the buffers of results are moved: a model must not keep what it returns. True by default. */
  readonly results?: boolean | undefined;
}

/** Where a worker's model comes from, and where it runs: a module for any host, or the model itself for the inline host. */
export type WorkerSource<Ops extends Operations> =
  | {
      /**
       * Where the model runs. `'process'` (the default) for native models: it can be killed in the middle of a call, and takes a crash with it.
       * `'thread'` for JavaScript and WebAssembly. `'inline'` for models that truly await: they share the caller's event loop.
       */
      readonly host?: WorkerHost | undefined;
      /** URL of the model module (`new URL('./model.js', import.meta.url)`): its default export, or `createModel`, makes the model. */
      readonly module: URL | string;
      readonly model?: undefined;
      readonly load?: undefined;
    }
  | {
      readonly host: 'inline';
      /** The model itself (inline host only). */
      readonly model: ModelOf<Ops>;
      readonly module?: undefined;
      readonly load?: undefined;
    }
  | {
      readonly host: 'inline';
      /** Makes the model (inline host only). */
      readonly load: (context: ModelContext) => ModelOf<Ops> | Promise<ModelOf<Ops>>;
      readonly module?: undefined;
      readonly model?: undefined;
    };

/** Options of `spawnWorker`: what is common to all, and one source of the model. */
export type SpawnWorkerOptions<Ops extends Operations> = CommonWorkerOptions<Ops> & WorkerSource<Ops>;

/** Options of `spawnWorker`, but for where the model comes from. */
export interface CommonWorkerOptions<Ops extends Operations> {
  /** What the worker can do. */
  readonly operations: Ops;
  /** What the module's function is given. It crosses to the host, so it must be data. */
  readonly options?: unknown;
  /** The worker's name, in events and reports. */
  readonly id?: string | undefined;
  /** How many calls may be inside the model at once. 1 by default. */
  readonly concurrency?: number | undefined;
  /** After how long without requests the worker calls itself idle, in ms; `Infinity` for never. 300,000 by default. */
  readonly idleTimeoutMs?: number | undefined;
  /** How long the model may take to load, in ms. 120,000 by default. */
  readonly loadTimeoutMs?: number | undefined;
  /**
   * How long a worker may go without progress past a deadline, or after a caller has given up, before it is killed, in ms. 30,000 by default. `Infinity`
   * for ever: it is then never killed, also not while it is stopped, which is otherwise noticed within two or three seconds.
   */
  readonly stallTimeoutMs?: number | undefined;
  /**
   * The same for a worker whose thread is kept by one call, such as a native one, so that its event loop does not answer: in ms, or a function that is
   * asked each time. `stallTimeoutMs` by default.
   */
  readonly blockedTimeoutMs?: number | (() => number) | undefined;
  /** What is moved instead of copied (thread host only). */
  readonly transfer?: TransferOptions | undefined;
  /** Environment of the worker; the parent's by default. `NODE_OPTIONS` loses its inspector flags either way. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Working directory (process host only). */
  readonly cwd?: string | undefined;
  /**
   * The program that runs the worker, a Node (process host only). By default the one that runs this process; in Electron that one as Node. A single
   * executable is no Node: there it has to be given.
   */
  readonly execPath?: string | undefined;
  /** Node flags; by default the parent's, without inspector ports and what says what the parent itself runs. */
  readonly execArgv?: readonly string[] | undefined;
  /** Limit of the worker's JavaScript heap, in MB. Native memory is not part of it. */
  readonly memoryMb?: number | undefined;
  /** Threads of libuv's pool, for files, name lookups and addons: `UV_THREADPOOL_SIZE`, unless `env` sets it (process host only). 4 by default. */
  readonly threadPoolSize?: number | undefined;
  /** What becomes of what the worker prints, `'inherit'` by default. Its last stderr lines are kept either way. */
  readonly stdio?: WorkerStdio | undefined;
  /**
   * A process that was started ahead, which the worker then takes over instead of starting one (process host only): its environment, flags, folder and
   * output are as it was started with. One that is taken or has ended is passed over.
   */
  readonly spare?: SpareHost | undefined;
  /** The time source. The system's by default. */
  readonly clock?: Clock | undefined;
}

/** The options of `spawnWorker`, checked and filled. */
export interface SpawnSettings {
  readonly operations: Operations;
  readonly host: WorkerHost;
  readonly module: string | undefined;
  readonly options: unknown;
  readonly model: unknown;
  readonly load: ((context: ModelContext) => unknown) | undefined;
  readonly id: string | undefined;
  readonly concurrency: number;
  readonly idleTimeoutMs: number;
  readonly loadTimeoutMs: number;
  readonly stallTimeoutMs: number;
  readonly blockedTimeoutMs: () => number;
  readonly transfer: Filled<TransferOptions>;
  readonly hostOptions: HostOptions;
  readonly spare: SpareHost | undefined;
  readonly clock: Clock;
}

const known = [
  'operations',
  'host',
  'module',
  'options',
  'model',
  'load',
  'id',
  'concurrency',
  'idleTimeoutMs',
  'loadTimeoutMs',
  'stallTimeoutMs',
  'blockedTimeoutMs',
  'transfer',
  'env',
  'cwd',
  'execArgv',
  'memoryMb',
  'execPath',
  'threadPoolSize',
  'stdio',
  'spare',
  'clock',
] as const;

/**
 * Checks the options of `spawnWorker` and fills in the defaults.
 *
 * @param action What messages begin with: a pool checks its models' options when they are registered, which is long before it spawns.
 */
export function requireSpawnOptions<Ops extends Operations>(
  options: SpawnWorkerOptions<Ops>,
  action: string = 'Cannot spawn worker',
): SpawnSettings {
  if (typeof options !== 'object' || options === null) throw new TypeError(`${action}: options must be an object`);
  const given = requireOptions<SpawnWorkerOptions<Ops>>(action, options, known);
  const host = given.host === undefined ? 'process' : requireOneOf(action, 'host', given.host, hosts);
  const ms = (name: 'idleTimeoutMs' | 'loadTimeoutMs' | 'stallTimeoutMs', otherwise: number): number =>
    given[name] === undefined ? otherwise : requireMilliseconds(action, name, given[name], { infinite: true });
  const transfer = requireOptions<TransferOptions>(action, given.transfer, ['inputs', 'results']);
  return {
    operations: requireOperations(action, options.operations),
    host,
    ...requireSource(action, host, given),
    options: given.options,
    id: given.id === undefined ? undefined : requireString(action, 'id', given.id),
    concurrency: given.concurrency === undefined ? 1 : requirePositiveInteger(action, 'concurrency', given.concurrency),
    idleTimeoutMs: ms('idleTimeoutMs', 300_000),
    loadTimeoutMs: ms('loadTimeoutMs', 120_000),
    stallTimeoutMs: ms('stallTimeoutMs', 30_000),
    blockedTimeoutMs: requireBlockedTimeout(action, given.blockedTimeoutMs),
    transfer: {
      inputs: transfer.inputs === undefined ? false : requireBoolean(action, 'transfer.inputs', transfer.inputs),
      results: transfer.results === undefined ? true : requireBoolean(action, 'transfer.results', transfer.results),
    },
    hostOptions: requireHostOptions(action, given),
    spare: requireSpare(action, host, given.spare),
    clock: given.clock === undefined ? systemClock : requireClock(action, 'clock', given.clock),
  };
}

function requireBlockedTimeout(action: string, given: number | (() => number) | undefined): () => number {
  if (typeof given === 'function') return given;
  const ms =
    given === undefined
      ? Number.POSITIVE_INFINITY
      : requireMilliseconds(action, 'blockedTimeoutMs', given, { infinite: true });
  return () => ms;
}

function requireSpare(action: string, host: WorkerHost, spare: SpareHost | undefined): SpareHost | undefined {
  if (spare === undefined) return undefined;
  if (!(spare instanceof SpareHost)) {
    throw new TypeError(
      `${action}: spare must come from startSpareHost() of this copy of the package, received ${describeReceived(spare)}`,
    );
  }
  if (host !== 'process') throw new TypeError(`${action}: spare is a process, received host '${host}'`);
  return spare;
}

const hosts = ['inline', 'thread', 'process'] as const;

/** Exactly one of `module`, `model` and `load` says where the model comes from. */
function requireSource<Ops extends Operations>(
  action: string,
  host: WorkerHost,
  given: Partial<SpawnWorkerOptions<Ops>>,
): Pick<SpawnSettings, 'module' | 'model' | 'load'> {
  const sources = (['module', 'model', 'load'] as const).filter((name) => given[name] !== undefined);
  if (sources.length !== 1) {
    throw new TypeError(
      `${action}: exactly one of module, model and load must be given, received ${sources.join(', ') || 'none'}`,
    );
  }
  if (host !== 'inline' && given.module === undefined) {
    throw new TypeError(`${action}: ${sources[0]} can't cross to a ${host} host, give the URL of a module instead`);
  }
  return {
    module: given.module === undefined ? undefined : requireModuleUrl(action, given.module),
    model: given.model,
    load: given.load === undefined ? undefined : requireFunction(action, 'load', given.load),
  };
}
