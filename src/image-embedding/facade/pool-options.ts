/** Options of an image embedding pool, checked and filled once. */
import path from 'node:path';
import {
  type Check,
  type Filled,
  fillOptions,
  group,
  nonNegativeIntegerUpTo,
  type OptionTable,
  oneOf,
  option,
  positiveIntegerUpTo,
  requireBoolean,
  requireMilliseconds,
} from '../../core/index.js';
import { availableCores, type ModelOptions, type PoolOptions } from '../../pool/index.js';
import { inheritedExecArgv, type WorkerHost } from '../../worker/index.js';
import type { PreprocessMode } from '../decode/preprocessor.js';
import { HUB_OPTIONS, type HubOptions, type HubSettings, withEnvironment } from '../hub/hub-options.js';
import { requireSessionOptions, type SessionOptions } from '../inference/session.js';
import { type ModelSource, modelSource, requireModelSource } from '../model/resolve-model.js';
import { MAX_WAITING_BYTES } from '../operations.js';
import { type PrepareOptions, type PrepareSettings, requirePrepareOption } from '../prepare/prepare.js';
import { IMAGE_LIMITS, type ImageLimitOptions, type ImageLimits } from '../sources/limits.js';
import { callersFolder } from './image-input.js';

/** The number of workers of a model. */
export interface WorkerCount {
  /** Workers that start with the model and stay. */
  readonly min?: number | undefined;
  /** The most workers; `'auto'` is one per available core, limited by memory. */
  readonly max?: number | 'auto' | undefined;
}

/** Model options that are passed to the pool below unchanged. */
export type PassedModelOptions = Pick<
  ModelOptions,
  | 'loadTimeoutMs'
  | 'stallTimeoutMs'
  | 'blockedTimeoutMs'
  | 'timeoutMs'
  | 'retries'
  | 'idleTimeoutMs'
  | 'scaleUpAfterMs'
  | 'costMb'
  | 'routing'
  | 'shares'
  | 'breaker'
  | 'refuseEarly'
  | 'env'
  | 'execArgv'
  | 'stdio'
  | 'execPath'
>;

/** Options of {@link createImageEmbeddingPool}. */
export interface ImageEmbeddingPoolOptions extends PassedModelOptions {
  /** The default model of calls: `'default'` (MobileNetV1, included in the package), a folder, a hub name, a reference or a spec. */
  readonly model?: ModelSource | undefined;
  /** Further models, by the name that calls use. */
  readonly models?: Readonly<Record<string, ModelSource>> | undefined;
  /**
   * Workers of each model: a number starts and keeps that many; `'auto'` is `{ max: 'auto' }`; `{ min: 0, max: min(4, cores) }` by default.
   */
  readonly workers?: number | 'auto' | WorkerCount | undefined;
  /** Spare processes with the runtime already imported, so that a cold start only loads the model; 0 by default (process host only). */
  readonly spareHosts?: number | undefined;
  /** Where the model runs: `'process'` by default; with `'inline'` and `'thread'` inference blocks an event loop of your process. */
  readonly host?: WorkerHost | undefined;
  /**
   * The most images in one run of the model: by default 8, and 4 for a model above 16 MB on the CPU. Larger batches gain nothing on a CPU and take
   * memory. It is also the number of images that a worker decodes at once.
   */
  readonly maxBatch?: number | undefined;
  /** How long the first image of a batch waits for others while the model is free, in ms; 0 by default. */
  readonly maxDelayMs?: number | undefined;
  /** The most waiting requests of each operation; 64 by default. */
  readonly capacity?: number | undefined;
  /** How closely resampling follows Pillow's, `'fast'` by default. */
  readonly preprocess?: PreprocessMode | undefined;
  /** Limits of inputs: bytes, pixels, paths, URLs. */
  readonly limits?: ImageLimitOptions | undefined;
  /** Downloads from the Hugging Face hub. */
  readonly hub?: HubOptions | undefined;
  /** Options of onnxruntime. */
  readonly session?: SessionOptions | undefined;
  /**
   * Whether large models are prepared for this machine before their first use, which takes as long as a few loads. Every later worker of any process
   * then maps the prepared file: it starts in a fraction of the time, and all workers share one copy of the weights. `'auto'` by default.
   */
  readonly prepare?: 'auto' | 'off' | PrepareOptions | undefined;
  /** Whether identical images in progress share one run; true by default. */
  readonly coalesce?: boolean | undefined;
  /** Options of the underlying pool: name, governor, metrics registry, clock. */
  readonly pool?: PoolOptions | undefined;
}

/** The most workers that a model may have. */
const MAX_WORKERS = 1_024;

/** Pool options, checked and filled. */
export interface FacadeSettings
  extends Filled<
    Pick<
      ImageEmbeddingPoolOptions,
      | 'model'
      | 'models'
      | 'spareHosts'
      | 'host'
      | 'maxBatch'
      | 'maxDelayMs'
      | 'capacity'
      | 'preprocess'
      | 'coalesce'
      | 'session'
    >
  > {
  readonly minWorkers: number;
  /** With `isAuto` the number of cores: a model gets fewer workers when memory does not suffice. */
  readonly maxWorkers: number;
  readonly isAuto: boolean;
  /** `maxBatch` of a large model on the CPU. */
  readonly maxLargeBatch: number;
  readonly limits: ImageLimits;
  /** The most bytes of an image that the caller's process sends to a worker. */
  readonly maxBytes: number;
  readonly hub: HubSettings;
  readonly prepare: PrepareSettings | undefined;
  readonly pool: PoolOptions | undefined;
  readonly passed: PassedModelOptions;
  /** The folder that relative model folders are resolved against: the caller's working folder when the pool was created. */
  readonly folder: string | undefined;
  /** How the processes of workers and spares are started. */
  readonly start: ProcessStart;
}

/** The check of an option that the pool below checks. */
const asGiven: Check<never> = (_action, _name, value) => value as never;

const PASSED: OptionTable<PassedModelOptions> = {
  loadTimeoutMs: option(asGiven),
  stallTimeoutMs: option(asGiven),
  blockedTimeoutMs: option(asGiven),
  timeoutMs: option(asGiven),
  retries: option(asGiven),
  idleTimeoutMs: option(asGiven),
  scaleUpAfterMs: option(asGiven),
  costMb: option(asGiven),
  routing: option(asGiven),
  shares: option(asGiven),
  breaker: option(asGiven),
  refuseEarly: option(asGiven),
  env: option(asGiven),
  execArgv: option(asGiven),
  stdio: option(asGiven),
  execPath: option(asGiven),
};

const POOL_OPTIONS = {
  ...PASSED,
  model: option(modelSource, 'default'),
  models: option(requireModels, {}),
  workers: option(requireWorkers),
  spareHosts: option(nonNegativeIntegerUpTo(64), 0),
  host: option(oneOf(['inline', 'thread', 'process']), 'process'),
  maxBatch: option(positiveIntegerUpTo(65_536)),
  maxDelayMs: option(requireMilliseconds, 0),
  capacity: option(positiveIntegerUpTo(65_536), 64),
  preprocess: option(oneOf(['fast', 'exact']), 'fast'),
  limits: group(IMAGE_LIMITS),
  hub: group(HUB_OPTIONS),
  session: option(requireSessionOptions, {}),
  prepare: option(
    (action, _name, value) => requirePrepareOption(action, value as PrepareOptions),
    requirePrepareOption('', 'auto'),
  ),
  coalesce: option(requireBoolean, true),
  pool: option(asGiven),
} satisfies Record<keyof ImageEmbeddingPoolOptions, unknown>;

const WORKER_COUNT = {
  min: option(nonNegativeIntegerUpTo(MAX_WORKERS), 0),
  max: option((action, name, value) => {
    return value === 'auto' ? value : positiveIntegerUpTo(MAX_WORKERS)(action, name, value);
  }),
} satisfies OptionTable<WorkerCount>;

/** Checks the options of a pool and fills them. */
export function requireFacadeOptions(options: ImageEmbeddingPoolOptions | undefined): FacadeSettings {
  const action = 'Cannot create image embedding pool';
  const { workers, maxBatch, limits, hub, ...given } = fillOptions(action, options, POOL_OPTIONS);
  const passed: PassedModelOptions = Object.fromEntries(
    Object.entries(given).filter(([name, value]) => name in PASSED && value !== undefined),
  );
  const count = workers ?? requireWorkers(action, 'workers', {});
  return Object.freeze({
    ...given,
    ...count,
    maxBatch: maxBatch ?? 8,
    maxLargeBatch: maxBatch ?? 4,
    // Relative folders stay what they are now, whatever this process and its workers change to later.
    limits: Object.freeze({ ...limits, roots: limits.roots?.map((root) => path.resolve(root)) }),
    maxBytes: Math.min(limits.maxBytes, MAX_WAITING_BYTES),
    hub: withEnvironment(hub),
    passed: Object.freeze(passed),
    folder: callersFolder(),
    start: planProcessStart(passed, count.maxWorkers),
  });
}

function requireModels(action: string, name: string, value: unknown): Readonly<Record<string, ModelSource>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new TypeError(`${action}: ${name} must be an object of models by name`);
  }
  for (const [key, source] of Object.entries(value)) requireModelSource(`${action}: ${name}.${key}`, source);
  return Object.freeze({ ...value });
}

function requireWorkers(
  action: string,
  name: string,
  workers: unknown,
): Pick<FacadeSettings, 'minWorkers' | 'maxWorkers' | 'isAuto'> {
  if (typeof workers === 'number') {
    const count = positiveIntegerUpTo(MAX_WORKERS)(action, name, workers);
    return { minWorkers: count, maxWorkers: count, isAuto: false };
  }
  const given = workers === 'auto' ? { max: workers } : (workers as WorkerCount);
  const { min, max } = fillOptions(action, given, WORKER_COUNT, name);
  if (max === undefined || max === 'auto') {
    const cores = max === 'auto' ? availableCores() : Math.min(4, availableCores());
    return { minWorkers: min, maxWorkers: Math.max(min, cores), isAuto: max === 'auto' };
  }
  if (min > max) {
    throw new RangeError(`${action}: workers.min must be at most workers.max, received ${min} and ${max}`);
  }
  return { minWorkers: min, maxWorkers: max, isAuto: false };
}

/**
 * A worker's heap is about 9 MB, and each image adds buffers of a megabyte that V8 counts as external memory. With default settings V8 would mark the
 * whole heap every few images, and its helper threads would compete with other workers. A larger growth factor and a small young generation free most
 * buffers in minor collections. Workers of large models restore the default and trigger minor collections (`PixelGarbage`), so all processes, spares
 * included, start with the same flags.
 */
const WORKER_FLAGS = ['--single-threaded-gc', '--heap-growing-percent=400', '--max-semi-space-size=1', '--expose-gc'];

/** Node's default thread pool size. */
const MOST_THREADS = 4;

/** Model options that apply to the start of a process. */
export type ProcessStart = Pick<ModelOptions, 'env' | 'execPath' | 'execArgv' | 'stdio' | 'threadPoolSize'>;

/** Completes the given options with flags and a thread pool size for image workers. */
export function planProcessStart(
  { env, execPath, execArgv, stdio }: PassedModelOptions,
  maxWorkers: number,
): ProcessStart {
  return Object.freeze({
    ...(env === undefined ? {} : { env }),
    ...(execPath === undefined ? {} : { execPath }),
    execArgv: execArgv ?? [...inheritedExecArgv(), ...workerFlags()],
    ...(stdio === undefined ? {} : { stdio }),
    threadPoolSize: decodeThreads(maxWorkers),
  });
}

/** Yarn Plug'n'Play's loader allocates so much that a small young generation would double the start time. */
function workerFlags(): readonly string[] {
  if (!('pnp' in process.versions)) return WORKER_FLAGS;
  return WORKER_FLAGS.filter((flag) => !flag.startsWith('--max-semi-space-size'));
}

/** Threads that read and decode: one more than a worker's share of the cores, so that one can wait for I/O. */
function decodeThreads(maxWorkers: number): number {
  return Math.min(MOST_THREADS, 1 + Math.ceil(availableCores() / maxWorkers));
}
