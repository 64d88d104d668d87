/**
 * The same memory, given twice while the first call is under way. It may hold another image by then, since callers fill a buffer again: so a few
 * bytes of it are compared, which differ in two encoded images. Nothing is hashed here: this runs on the caller's event loop.
 */
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

/** Places that are looked at, and bytes at each. */
const PLACES = 64;
const PLACE_BYTES = 8;

interface Known {
  readonly offset: number;
  readonly length: number;
  readonly sample: Uint8Array;
  /** What stands for it. */
  readonly key: object;
}

/** What each buffer was last given as. */
const known = new WeakMap<ArrayBufferLike, Known>();

/** A key that is equal for the same stretch of the same buffer with the same image in it, and for nothing else. */
export function memoryKey({ buffer, byteOffset: offset, byteLength: length }: Uint8Array): object {
  // Also what was moved elsewhere since.
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

/** Batches inside a worker beyond what it decodes: one that runs, and one that images of streams and batch operations leave to single ones. */
const WINDOW_BATCHES = 2;

/**
 * From how many bytes on a model is large: it gains nothing from a batch of more than `maxLargeBatch` images: one image has work enough for the CPU, and the
 * weights come out of memory as often as they should.
 */
const LARGE_BYTES = 16e6;

/** Images whose servers a worker may wait for beside all that it has: dead hosts take no place from what is here, or quick. */
const MAX_FETCHES = 64;

/** A model that can be called. */
export interface LoadedModel {
  readonly key: string;
  readonly spec: ModelSpec;
  /** The most images in one run of it. */
  readonly maxBatch: number;
  readonly handle: ModelHandle<ImageOperations>;
  /** What the worker says of it, asked once for all that want to know. */
  describe(options: {
    readonly signal?: AbortSignal | undefined;
    readonly timeoutMs?: number | undefined;
  }): Promise<ModelDescription>;
}

/** A model to register. */
export interface ModelRegistration {
  readonly key: string;
  /** What metrics call it. */
  readonly label: string;
  readonly spec: ModelSpec;
  /** The folder of the model prepared for this machine, if there is one. */
  readonly prepared: string | undefined;
  /** The size of its files. */
  readonly bytes: number;
  /** What a worker will cost, until it was measured, in MB. */
  readonly costMb: number;
}

/** Registers a model with the pool below. */
export function registerModel(
  pool: Pool,
  { key, label, spec, prepared, bytes, costMb }: ModelRegistration,
  settings: FacadeSettings,
): LoadedModel {
  const { maxDelayMs, fetchConcurrency, limits, preprocess } = settings;
  const { session, maxWorkers } = fitToMachine(settings, settings.passed.costMb ?? costMb);
  const isLarge = bytes >= LARGE_BYTES && isOnCpu(session);
  const maxBatch = isLarge ? settings.maxLargeBatch : settings.maxBatch;
  // With fewer decodes than a batch outstanding, a run would end with the next batch half made.
  const decodeConcurrency = Math.max(maxBatch, settings.decodeConcurrency ?? maxBatch);
  const options: WorkerModelOptions = {
    spec,
    session,
    prepared,
    preprocess,
    limits,
    maxBatch,
    maxDelayMs,
    decodeConcurrency,
    fetchConcurrency,
    coalesce: settings.coalesce,
    isThrifty: isLarge,
  };
  const places = decodeConcurrency + WINDOW_BATCHES * maxBatch;
  for (const each of [...imageErrorClasses, ...modelErrorClasses]) registerErrorClass(each);
  const handle = pool.register<ImageOperations>(key, {
    label,
    ...(settings.host === 'process' ? { costMb } : {}),
    // A run is a native call that keeps the thread; decoding and fetching do not, and have limits of their own.
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
        // A failed answer is not kept: the next question asks again.
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

/** Spares that are started as the workers are, with the module that all of them run. */
export function spareHosts(settings: FacadeSettings): PoolOptions {
  const { spareHosts: count, host } = settings;
  if (count === 0 || host !== 'process') return {};
  return { spareHosts: { count, module: workerModule(), ...settings.start } };
}

/** With `'auto'`: a worker for each core, and where memory allows fewer, the cores that are left as threads of those. */
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
 * What makes two images the same before anything is read: where they are, or the very text or memory that holds them. Equal contents are
 * found by the worker, where the bytes are. Base64 stands for itself: its text never begins like that of another kind.
 */
const COALESCE = {
  embedImage: (path: string) => path,
  embedImageUrl: (url: string) => url,
  embedImageBase64: (data: string) => data,
  embedImageBytes: memoryKey,
  batchEmbedImages: ({ kind, input }: BulkImage) =>
    typeof input !== 'string' ? memoryKey(input) : kind === 'base64' ? input : `${kind}:${input}`,
} as const;

/** A load that failed says so in terms of workers; what is wrong with the model is its cause. */
export function plainError(error: unknown): unknown {
  for (let each = error; isError(each); each = each.cause) {
    if (isMillraceError(each) && /^ERR_(MODEL|DEPENDENCY)_/.test(each.code)) return each;
  }
  return error;
}
