/** Registers a model with the pool below: its places, memory cost, coalescing keys and worker module. */
import { isError, isMillraceError } from '../../core/index.js';
import {
  autoWorkers,
  availableCores,
  type ModelHandle,
  type Pool,
  type PoolOptions,
  processMemoryGovernor,
} from '../../pool/index.js';
import { DeadlineExceededError, registerErrorClass } from '../../worker/index.js';
import { packageUrl } from '../../worker/internal.js';
import { imageErrorClasses } from '../image-errors.js';
import { isOnCpu } from '../inference/session.js';
import { modelErrorClasses } from '../model/model-errors.js';
import type { ModelSpec } from '../model/model-spec.js';
import { type BulkImage, declareImageOperations, type ImageOperations, type ModelDescription } from '../operations.js';
import type { WorkerModelOptions } from '../pipeline/worker-model.js';
import { waitFor } from '../wait-for.js';
import type { FacadeSettings } from './pool-options.js';

/** Sampled positions of a buffer, and bytes at each. */
const PLACES = 64;
const PLACE_BYTES = 8;

interface Known {
  readonly offset: number;
  readonly length: number;
  readonly sample: Uint8Array;
  /** The coalescing key. */
  readonly key: object;
}

/** The last known content of each buffer. */
const known = new WeakMap<ArrayBufferLike, Known>();

/**
 * A coalescing key that is equal only for the same range of the same buffer with the same image. Callers may refill a buffer while a call is in progress,
 * so sampled bytes are compared, which differ between encoded images. Nothing is hashed: this runs on the caller's event loop.
 */
export function memoryKey({ buffer, byteOffset: offset, byteLength: length }: Uint8Array): object {
  // A detached buffer is empty too.
  if (length === 0) return {};
  const before = known.get(buffer);
  const sample = sampleOf(new Uint8Array(buffer, offset, length));
  if (before?.offset === offset && before.length === length && isEqual(before.sample, sample)) return before.key;
  const key = {};
  known.set(buffer, { offset, length, sample, key });
  return key;
}

function sampleOf(bytes: Uint8Array): Uint8Array {
  if (bytes.length <= PLACES * PLACE_BYTES) return bytes.slice();
  const sample = new Uint8Array(PLACES * PLACE_BYTES);
  const step = (bytes.length - PLACE_BYTES) / (PLACES - 1);
  for (let place = 0; place < PLACES; place += 1) {
    const from = Math.floor(place * step);
    for (let index = 0; index < PLACE_BYTES; index += 1) {
      sample[place * PLACE_BYTES + index] = bytes[from + index] as number;
    }
  }
  return sample;
}

function isEqual(one: Uint8Array, other: Uint8Array): boolean {
  return one.every((byte, index) => byte === other[index]);
}

/** The module that workers run. */
const workerModule = (): URL => packageUrl('image-embedding/pipeline/worker-model.js');

/** Batches in a worker besides the images in decoding: one that runs, and one that bulk leaves to single images. */
const WINDOW_BATCHES = 2;

/**
 * The size of a large model in bytes. Batches above `maxLargeBatch` gain nothing there: one image keeps the CPU busy, and memory bandwidth for the
 * weights is no longer the limit.
 */
const LARGE_BYTES = 16e6;

/** Fetches that a worker may wait for in addition to its places, so that dead hosts block no other image. */
const MAX_FETCHES = 64;

/** A registered model. */
export interface LoadedModel {
  readonly key: string;
  readonly spec: ModelSpec;
  /** The most images in one run. */
  readonly maxBatch: number;
  readonly handle: ModelHandle<ImageOperations>;
  /** The worker's description, requested once and shared. */
  describe(options: {
    readonly signal?: AbortSignal | undefined;
    readonly timeoutMs?: number | undefined;
  }): Promise<ModelDescription>;
}

/** A model to register. */
export interface ModelRegistration {
  readonly key: string;
  /** Its name in metrics. */
  readonly label: string;
  readonly spec: ModelSpec;
  /** The folder of the model prepared for this machine, if there is one. */
  readonly prepared: string | undefined;
  /** The size of its files. */
  readonly bytes: number;
  /** The estimated cost of a worker in MB, used until it is measured. */
  readonly costMb: number;
}

/** Registers a model with the pool below. */
export function registerModel(
  pool: Pool,
  { key, label, spec, prepared, bytes, costMb }: ModelRegistration,
  settings: FacadeSettings,
): LoadedModel {
  const { maxDelayMs, limits, preprocess } = settings;
  const { session, maxWorkers } = fitToMachine(settings, settings.passed.costMb ?? costMb);
  const isLarge = bytes >= LARGE_BYTES && isOnCpu(session);
  const maxBatch = isLarge ? settings.maxLargeBatch : settings.maxBatch;
  const options: WorkerModelOptions = {
    spec,
    session,
    prepared,
    preprocess,
    limits,
    maxBatch,
    maxDelayMs,
    coalesce: settings.coalesce,
    isThrifty: isLarge,
  };
  // A worker decodes one batch ahead: with fewer decodes a run would end before the next batch is decoded.
  const places = maxBatch + WINDOW_BATCHES * maxBatch;
  for (const each of [...imageErrorClasses, ...modelErrorClasses]) registerErrorClass(each);
  const handle = pool.register<ImageOperations>(key, {
    label,
    ...(settings.host === 'process' ? { costMb } : {}),
    // A run is a native call that blocks the thread. Decoding and fetching do not block it and have their own limits.
    ...(settings.passed.stallTimeoutMs === undefined ? { blockedTimeoutMs: 'measured' } : {}),
    ...settings.passed,
    ...(settings.host === 'process' ? settings.start : {}),
    operations: declareImageOperations(settings.capacity),
    module: workerModule(),
    options,
    host: settings.host,
    concurrency: places,
    maxBatch,
    maxParked: MAX_FETCHES,
    reserve: maxBatch,
    minWorkers: settings.minWorkers,
    maxWorkers,
    ...(settings.coalesce ? { coalesce: COALESCE } : {}),
  });
  let described: Promise<ModelDescription> | undefined;
  return {
    key,
    spec,
    maxBatch,
    handle,
    async describe({ signal, timeoutMs }) {
      if (described === undefined) {
        const asked = handle.call('describe', undefined, {});
        described = asked;
        // A failure is not cached.
        asked.catch(() => {
          if (described === asked) described = undefined;
        });
      }
      try {
        const error = () => new DeadlineExceededError(`Cannot describe ${key}: no answer in time`, timeoutMs as number);
        return await waitFor(described, signal, timeoutMs === undefined ? undefined : { ms: timeoutMs, error });
      } catch (error) {
        throw plainError(error);
      }
    },
  };
}

/** The option for spare hosts, which start like workers and preload their module. */
export function spareHosts(settings: FacadeSettings): PoolOptions {
  const { spareHosts: count, host } = settings;
  if (count === 0 || host !== 'process') return {};
  return { spareHosts: { count, module: workerModule(), ...settings.start } };
}

/** With `'auto'` one worker per core; when memory allows fewer, the remaining cores become their threads. */
function fitToMachine(
  { isAuto, host, minWorkers, maxWorkers, session, pool }: FacadeSettings,
  costMb: number,
): Pick<FacadeSettings, 'session' | 'maxWorkers'> {
  if (!isAuto) return { session, maxWorkers };
  const { limitBytes } = pool?.governor ?? processMemoryGovernor();
  const fitting = autoWorkers(host === 'process' ? 1e6 * costMb : undefined, limitBytes);
  const threads = Math.max(1, Math.floor(availableCores() / fitting));
  return { session: { intraOpNumThreads: threads, ...session }, maxWorkers: Math.max(minWorkers, fitting) };
}

/**
 * Coalescing keys before anything is read: the path, the URL, the base64 text or the buffer. The worker detects equal contents by their digest. Base64
 * needs no prefix: no path or URL key looks like it.
 */
const COALESCE = {
  embedImage: (path: string) => path,
  embedImageUrl: (url: string) => url,
  embedImageBase64: (data: string) => data,
  embedImageBytes: memoryKey,
  batchEmbedImages: ({ kind, input }: BulkImage) =>
    typeof input !== 'string' ? memoryKey(input) : kind === 'base64' ? input : `${kind}:${input}`,
} as const;

/** Unwraps the error of the model from the worker's load error. */
export function plainError(error: unknown): unknown {
  for (let each = error; isError(each); each = each.cause) {
    if (isMillraceError(each) && /^ERR_(MODEL|DEPENDENCY)_/.test(each.code)) return each;
  }
  return error;
}
