/** What an image embedding pool can be told, checked once and filled. */

import path from 'node:path';
import {
  requireBoolean,
  requireMilliseconds,
  requireNonNegativeInteger,
  requireOneOf,
  requireOptions,
  requirePositiveInteger,
} from '../../core/index.js';
import { availableCores, type ModelOptions, type PoolOptions } from '../../pool/index.js';
import { inheritedExecArgv, type WorkerHost } from '../../worker/index.js';
import type { PreprocessMode } from '../decode/preprocessor.js';
import { type HubOptions, type HubSettings, requireHubOptions } from '../hub/hub-options.js';
import type { SessionOptions } from '../inference/session.js';
import { type ModelSource, requireModelSource } from '../model/resolve-model.js';
import { MAX_WAITING_BYTES } from '../operations.js';
import { type PrepareOptions, type PrepareSettings, requirePrepareOption } from '../prepare/prepare.js';
import { type ImageLimitOptions, type ImageLimits, resolveImageLimits } from '../sources/limits.js';
import { callersFolder } from './image-input.js';

/** How many workers a model has. */
export interface WorkerCount {
  /** Workers that are started with the model and kept. */
  readonly min?: number | undefined;
  /** Workers at most; `'auto'` for one for each core that the process may use, as far as the memory goes. */
  readonly max?: number | 'auto' | undefined;
}

/** What of a model's options the pool below takes as it is. */
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
  /** The model of calls that name none: `'default'` (MobileNetV1, comes with the package), a folder, a hub name, a reference or a spec. */
  readonly model?: ModelSource | undefined;
  /** Further models by the name that calls use. */
  readonly models?: Readonly<Record<string, ModelSource>> | undefined;
  /**
   * Workers of each model: a number starts and keeps that many; `'auto'` stands for `{ max: 'auto' }`; `{ min: 0, max: min(4, cores) }` by default.
   */
  readonly workers?: number | 'auto' | WorkerCount | undefined;
  /** Processes kept ready, with what a model needs imported, so that a cold start waits for its model alone; 0 by default (process host only). */
  readonly spareHosts?: number | undefined;
  /** Where the model runs: `'process'` by default; `'inline'` and `'thread'` let inference stop an event loop that is yours. */
  readonly host?: WorkerHost | undefined;
  /**
   * The most images in one run of the model: by default 8, and 4 for a model of more than 16 MB on the CPU. More gain nothing on a CPU, and take
   * memory.
   */
  readonly maxBatch?: number | undefined;
  /** How long the first image of a batch waits for company while the model is free, in ms; 0 by default. */
  readonly maxDelayMs?: number | undefined;
  /** How many images a worker decodes at once; one batch by default, and not less. */
  readonly decodeConcurrency?: number | undefined;
  /** How many URLs of one host a worker fetches at once, 8 by default. */
  readonly fetchConcurrency?: number | undefined;
  /** How many requests of each operation may wait, 64 by default. */
  readonly capacity?: number | undefined;
  /** How closely resampling follows Pillow's, `'fast'` by default. */
  readonly preprocess?: PreprocessMode | undefined;
  /** Limits of what may come in: bytes, pixels, paths, URLs. */
  readonly limits?: ImageLimitOptions | undefined;
  /** How models are brought from the Hugging Face hub. */
  readonly hub?: HubOptions | undefined;
  /** How onnxruntime runs the model. */
  readonly session?: SessionOptions | undefined;
  /**
   * Whether large models are prepared for this machine before their first use, which takes as long as loading them a few times; every later
   * worker, of any process, then maps them: it starts in a fraction of the time, and all share one copy of the weights. `'auto'` by default.
   */
  readonly prepare?: 'auto' | 'off' | PrepareOptions | undefined;
  /** Whether identical images in flight share one run, true by default. */
  readonly coalesce?: boolean | undefined;
  /** Options of the pool below: its name, governor, metrics registry, clock. */
  readonly pool?: PoolOptions | undefined;
}

/** Pool options, checked and filled. */
export interface FacadeSettings {
  readonly model: ModelSource;
  readonly models: Readonly<Record<string, ModelSource>>;
  readonly minWorkers: number;
  /** With `isAuto` as many as the cores: a model that memory does not allow as many of has fewer. */
  readonly maxWorkers: number;
  readonly isAuto: boolean;
  readonly spareHosts: number;
  readonly host: WorkerHost;
  readonly maxBatch: number;
  /** The same for a large model on the CPU. */
  readonly maxLargeBatch: number;
  readonly maxDelayMs: number;
  /** Undefined: as many as a batch. */
  readonly decodeConcurrency: number | undefined;
  readonly fetchConcurrency: number;
  readonly capacity: number;
  readonly preprocess: PreprocessMode;
  readonly limits: ImageLimits;
  /** The most bytes of an image that the caller's process sends to a worker. */
  readonly maxBytes: number;
  readonly hub: HubSettings;
  readonly session: SessionOptions;
  readonly prepare: PrepareSettings | undefined;
  readonly coalesce: boolean;
  readonly pool: PoolOptions | undefined;
  readonly passed: PassedModelOptions;
  /** The folder that relative names of models are meant from: the caller's, when the pool was made. */
  readonly folder: string | undefined;
  /** How the processes of workers and spares are started. */
  readonly start: ProcessStart;
}

const PASSED = [
  'loadTimeoutMs',
  'stallTimeoutMs',
  'blockedTimeoutMs',
  'timeoutMs',
  'retries',
  'idleTimeoutMs',
  'scaleUpAfterMs',
  'costMb',
  'routing',
  'shares',
  'breaker',
  'refuseEarly',
  'env',
  'execArgv',
  'stdio',
  'execPath',
] as const;

const KNOWN = [
  ...PASSED,
  'model',
  'models',
  'workers',
  'spareHosts',
  'host',
  'maxBatch',
  'maxDelayMs',
  'decodeConcurrency',
  'fetchConcurrency',
  'capacity',
  'preprocess',
  'limits',
  'hub',
  'session',
  'prepare',
  'coalesce',
  'pool',
] as const;

const SESSION_KEYS = [
  'executionProviders',
  'intraOpNumThreads',
  'interOpNumThreads',
  'graphOptimizationLevel',
  'extra',
] as const;

/** Checks the options of a pool and fills them. */
export function requireFacadeOptions(options: ImageEmbeddingPoolOptions | undefined): FacadeSettings {
  const action = 'Cannot create image embedding pool';
  const given = requireOptions<ImageEmbeddingPoolOptions>(action, options, KNOWN);
  const positive = (name: 'maxBatch' | 'decodeConcurrency' | 'fetchConcurrency' | 'capacity', fallback: number) =>
    given[name] === undefined ? fallback : requirePositiveInteger(action, name, given[name], 65_536);
  const models = given.models ?? {};
  if (typeof models !== 'object' || models === null || Array.isArray(models)) {
    throw new TypeError(`${action}: models must be an object of models by name`);
  }
  for (const [name, source] of Object.entries(models)) requireModelSource(`${action}: models.${name}`, source);
  const passed: Record<string, unknown> = {};
  for (const name of PASSED) if (given[name] !== undefined) passed[name] = given[name];
  const workers = requireWorkers(action, given.workers);
  const limits = absoluteRoots(resolveImageLimits(given.limits, action));
  return Object.freeze({
    model: requireModelSource(action, given.model ?? 'default'),
    models: Object.freeze({ ...models }),
    ...workers,
    spareHosts:
      given.spareHosts === undefined ? 0 : requireNonNegativeInteger(action, 'spareHosts', given.spareHosts, 64),
    host: requireOneOf(action, 'host', given.host ?? 'process', ['inline', 'thread', 'process']),
    maxBatch: positive('maxBatch', 8),
    maxLargeBatch: positive('maxBatch', 4),
    maxDelayMs: given.maxDelayMs === undefined ? 0 : requireMilliseconds(action, 'maxDelayMs', given.maxDelayMs),
    decodeConcurrency: given.decodeConcurrency === undefined ? undefined : positive('decodeConcurrency', 1),
    fetchConcurrency: positive('fetchConcurrency', 8),
    capacity: positive('capacity', 64),
    preprocess: requireOneOf(action, 'preprocess', given.preprocess ?? 'fast', ['fast', 'exact']),
    limits,
    maxBytes: Math.min(limits.maxBytes, MAX_WAITING_BYTES),
    hub: absoluteCache(requireHubOptions(action, given.hub)),
    session: requireOptions<SessionOptions>(action, given.session, SESSION_KEYS),
    prepare: requirePrepareOption(action, given.prepare),
    coalesce: given.coalesce === undefined ? true : requireBoolean(action, 'coalesce', given.coalesce),
    pool: given.pool,
    passed: Object.freeze(passed) as PassedModelOptions,
    folder: callersFolder(),
    start: planProcessStart(passed as PassedModelOptions, workers.maxWorkers),
  });
}

/** Relative folders are meant from where the pool was made, whatever its process and those of its workers change to later. */
function absoluteRoots(limits: ImageLimits): ImageLimits {
  const { roots } = limits;
  return roots === undefined ? limits : Object.freeze({ ...limits, roots: roots.map((root) => path.resolve(root)) });
}

function absoluteCache(hub: HubSettings): HubSettings {
  const { cacheDir } = hub;
  return cacheDir === undefined ? hub : Object.freeze({ ...hub, cacheDir: path.resolve(cacheDir) });
}

function requireWorkers(
  action: string,
  workers: number | 'auto' | WorkerCount | undefined,
): Pick<FacadeSettings, 'minWorkers' | 'maxWorkers' | 'isAuto'> {
  if (typeof workers === 'number') {
    const count = requirePositiveInteger(action, 'workers', workers, 1_024);
    return { minWorkers: count, maxWorkers: count, isAuto: false };
  }
  const given = requireOptions<WorkerCount>(action, workers === 'auto' ? { max: workers } : workers, ['min', 'max']);
  const minWorkers = given.min === undefined ? 0 : requireNonNegativeInteger(action, 'workers.min', given.min, 1_024);
  const isAuto = given.max === 'auto';
  if (given.max === undefined || given.max === 'auto') {
    const cores = isAuto ? availableCores() : Math.min(4, availableCores());
    return { minWorkers, maxWorkers: Math.max(minWorkers, cores), isAuto };
  }
  const maxWorkers = requirePositiveInteger(action, 'workers.max', given.max, 1_024);
  if (minWorkers > maxWorkers) {
    throw new RangeError(
      `${action}: workers.min must be at most workers.max, received ${minWorkers} and ${maxWorkers}`,
    );
  }
  return { minWorkers, maxWorkers, isAuto };
}

/**
 * A worker's heap is small, but each image brings buffers of a megabyte. V8 counts them against the room that a heap of 9 MB has to grow, so it
 * would mark the whole heap every few images, and its helper threads would take the core of another worker. With room for five times as much
 * and a small young generation, most of the buffers go with the young objects that hold them. Workers of large models, whose time goes elsewhere,
 * take the room back and collect more often themselves (`PixelGarbage`): so they are started as the others are, and spares are for all.
 */
const WORKER_FLAGS = ['--single-threaded-gc', '--heap-growing-percent=400', '--max-semi-space-size=1', '--expose-gc'];

/** What Node has unless it is told otherwise. */
const MOST_THREADS = 4;

/** What of a model's options says how its process is started. */
export type ProcessStart = Pick<ModelOptions, 'env' | 'execPath' | 'execArgv' | 'stdio' | 'threadPoolSize'>;

/** Adds to what was asked for what workers run best with. */
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

/** The loader of Plug'n'Play makes so much garbage as it starts that a small young generation doubles its time. */
function workerFlags(): readonly string[] {
  if (!('pnp' in process.versions)) return WORKER_FLAGS;
  return WORKER_FLAGS.filter((flag) => !flag.startsWith('--max-semi-space-size'));
}

/** Threads that read and decode: one beyond a worker's share of the cores, so that one can wait. More of them only take turns. */
function decodeThreads(maxWorkers: number): number {
  return Math.min(MOST_THREADS, 1 + Math.ceil(availableCores() / maxWorkers));
}
