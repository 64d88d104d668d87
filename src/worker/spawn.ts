import {
  type Check,
  type Clock,
  describeReceived,
  type Filled,
  fillOptions,
  group,
  messageOf,
  millisecondsOrInfinity,
  oneOf,
  option,
  type OptionTable,
  requireBoolean,
  requireClock,
  required,
  requireFunction,
  requirePositiveInteger,
  requireString,
  systemClock,
} from '../core/index.js';
import { accountOf, createWorkerChannels, type WorkerChannels } from './channels.js';
import type { HostInit } from './codec/link.js';
import { WorkerLoadError } from './errors.js';
import type { Executor } from './executor/executor.js';
import { HOST_OPTIONS, type HostOptions, type HostSettings, requireModuleUrl } from './executor/host.js';
import { InlineExecutor } from './executor/inline.js';
import { LinkExecutor } from './executor/link.js';
import { startProcessHost } from './executor/process.js';
import { SpareHost } from './executor/spare-host.js';
import { startThreadHost } from './executor/thread.js';
import type { WorkerHandle } from './handle.js';
import { loadModel } from './host/load-model.js';
import { runLoop } from './loop.js';
import type { ModelContext, ModelOf, WorkerHost } from './model.js';
import { type Operations, requireOperations } from './operation.js';
import type { Request } from './request.js';
import { inNeutralContext } from './trace.js';

/** Buffers that are moved to another thread instead of copied, if the host is a thread. */
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
export interface CommonWorkerOptions<Ops extends Operations> extends HostOptions {
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
  /** Buffers that are moved instead of copied (thread host only). */
  readonly transfer?: TransferOptions | undefined;
  /**
   * A process that was started ahead, which the worker then takes over instead of starting one (process host only): its environment, flags, folder and
   * output are as it was started with. One that is taken or has ended is passed over.
   */
  readonly spare?: SpareHost | undefined;
  /** The time source. The system's by default. */
  readonly clock?: Clock | undefined;
}

/** The options of `spawnWorker`, checked and filled. */
export interface SpawnSettings extends HostSettings {
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
  readonly spare: SpareHost | undefined;
  readonly clock: Clock;
}

const anything: Check<unknown> = (_action, _name, value) => value;

const SPAWN_OPTIONS: OptionTable<SpawnSettings> = {
  ...HOST_OPTIONS,
  operations: required((action, _name, value) => requireOperations(action, value as Operations)),
  host: option<WorkerHost>(oneOf(['inline', 'thread', 'process']), 'process'),
  module: option(requireModuleUrl),
  options: option(anything),
  model: option(anything),
  load: option(requireFunction<(context: ModelContext) => unknown>),
  id: option(requireString),
  concurrency: option<number>(requirePositiveInteger, 1),
  idleTimeoutMs: option(millisecondsOrInfinity, 300_000),
  loadTimeoutMs: option(millisecondsOrInfinity, 120_000),
  stallTimeoutMs: option(millisecondsOrInfinity, 30_000),
  blockedTimeoutMs: option(requireBlockedTimeout, () => Number.POSITIVE_INFINITY),
  transfer: group({ inputs: option(requireBoolean, false), results: option(requireBoolean, true) }),
  spare: option(requireSpare),
  clock: option(requireClock, systemClock),
};

/**
 * Checks the options of `spawnWorker` and fills in the defaults.
 *
 * @param action What messages begin with: a pool checks its models' options when they are registered, which is long before it spawns.
 */
export function requireSpawnOptions<Ops extends Operations>(
  options: SpawnWorkerOptions<Ops>,
  action: string = 'Cannot spawn worker',
): SpawnSettings {
  const settings: SpawnSettings = fillOptions(action, options, SPAWN_OPTIONS as never);
  const { host, spare } = settings;
  const sources = (['module', 'model', 'load'] as const).filter((name) => settings[name] !== undefined);
  if (sources.length !== 1) {
    throw new TypeError(
      `${action}: exactly one of module, model and load must be given, received ${sources.join(', ') || 'none'}`,
    );
  }
  if (host !== 'inline' && settings.module === undefined) {
    throw new TypeError(`${action}: ${sources[0]} can't cross to a ${host} host, give the URL of a module instead`);
  }
  if (spare !== undefined && host !== 'process') {
    throw new TypeError(`${action}: spare is a process, received host '${host}'`);
  }
  return settings;
}

function requireBlockedTimeout(action: string, name: string, given: unknown): () => number {
  if (typeof given === 'function') return given as () => number;
  const ms = millisecondsOrInfinity(action, name, given);
  return () => ms;
}

function requireSpare(action: string, name: string, spare: unknown): SpareHost {
  if (spare instanceof SpareHost) return spare;
  throw new TypeError(
    `${action}: ${name} must come from startSpareHost() of this copy of the package, received ${describeReceived(spare)}`,
  );
}

/**
 * Starts a worker in a host and answers its handle at once; calls made while it loads wait in their queues.
 *
 * A worker has one life: when its host crashes, exits or hangs, or its model can't be loaded, the worker is `failed`, its state says why, and the calls
 * that it held are rejected with `WorkerCrashedError`. To have it replaced, and idempotent calls run again, register it with a pool of one
 * (`minWorkers: 1, maxWorkers: 1`). An idle worker does not hold the process, and none outlives it.
 *
 * **Cancel safety:** not applicable; it does not wait. Close or destroy the handle to end the worker.
 *
 * @param options See {@link SpawnWorkerOptions}.
 * @returns The worker's handle, the same for every host.
 * @throws TypeError, RangeError When an option is of the wrong type, out of range or unknown.
 * @example
 * ```ts
 * const handle = spawnWorker({
 *   host: 'inline',
 *   operations: { double: operation<number, number>() },
 *   model: { double: async (n) => n * 2 },
 * });
 * await handle.call('double', 21); // => 42
 * await handle.close();
 * handle.state.current; // => 'dead'
 * ```
 */
export function spawnWorker<const Ops extends Operations>(options: SpawnWorkerOptions<Ops>): WorkerHandle<Ops> {
  return spawnCheckedWorker(requireSpawnOptions(options)) as unknown as WorkerHandle<Ops>;
}

/** A worker as a pool sees it: it takes requests that were admitted elsewhere. */
export interface Worker extends WorkerHandle<Operations> {
  /**
   * Hands a request over, at once: it goes to the model where there is a free place, and waits in its operation's queue otherwise. Nothing of it is
   * checked again.
   */
  start(request: Request): void;
}

/** The same as {@link spawnWorker}, for options that were checked before. */
export function spawnCheckedWorker(settings: SpawnSettings): Worker {
  const { operations, clock, id, idleTimeoutMs, loadTimeoutMs } = settings;
  const { handle, channels } = createWorkerChannels(operations, { clock, ...(id === undefined ? {} : { id }) });
  const untyped = channels as unknown as WorkerChannels<never>;
  const source = settings.module ?? 'load()';
  const executor = inNeutralContext(() => makeExecutor(untyped, settings));
  void runLoop(untyped, executor, { idleTimeoutMs, loadTimeoutMs, source });
  return handle as unknown as Worker;
}

function makeExecutor(channels: WorkerChannels<never>, settings: SpawnSettings): Executor {
  const { host, spare, concurrency, operations } = settings;
  const account = accountOf(channels);
  if (host === 'inline') {
    const makeModel = (signal: AbortSignal): Promise<unknown> => loadInline(settings, account.id, signal);
    return new InlineExecutor(account, operations, makeModel, concurrency);
  }
  const startHost =
    host === 'thread' ? () => startThreadHost(settings) : () => spare?.claim() ?? startProcessHost(settings);
  return new LinkExecutor(account, {
    startHost,
    init: describeWorker(account.id, settings),
    transferInputs: settings.transfer.inputs,
    concurrency,
    stallTimeoutMs: settings.stallTimeoutMs,
    blockedTimeoutMs: settings.blockedTimeoutMs,
  });
}

async function loadInline(settings: SpawnSettings, workerId: string, signal: AbortSignal): Promise<unknown> {
  const { module, load, model, options } = settings;
  const context = { signal, workerId, host: 'inline' } as const;
  if (module !== undefined) return loadModel(module, options, context);
  if (load === undefined) return model;
  try {
    return await load(context);
  } catch (error) {
    throw new WorkerLoadError(`Cannot load model: load() threw ${messageOf(error)}`, { cause: error });
  }
}

function describeWorker(workerId: string, settings: SpawnSettings): HostInit {
  return {
    workerId,
    module: settings.module as string,
    options: settings.options,
    operations: Object.fromEntries(Object.entries(settings.operations).map(([name, { kind }]) => [name, kind])),
    transferResults: settings.transfer.results,
  };
}
