import { setMaxListeners } from 'node:events';
import PQueue from 'p-queue';
import { isMillraceError, requireBoolean, requirePositiveInteger } from '../../core/index.js';
import {
  createPool,
  type Pool,
  PoolClosedError,
  type PoolCloseOptions,
  type PoolEvent,
  type PoolHealth,
  type PoolStats,
} from '../../pool/index.js';
import { normalizeInPlace, similarity } from '../embedding-vector.js';
import { fetchModel } from '../hub/fetch-model.js';
import { type ModelSource, nameOfSource, resolveModel } from '../model/resolve-model.js';
import type { BatchAnswer, ImageOperations, ModelDescription } from '../operations.js';
import { decodeFailure } from '../pipeline/item-failure.js';
import { BatchError, type BatchFailure } from './batch-error.js';
import { createEmbedStream, type StreamResult } from './embed-stream.js';
import { imageFilesIn } from './image-files.js';
import { type LoadedModel, plainError, registerModel } from './loaded-model.js';
import {
  type EmbedOptions,
  type FacadeSettings,
  type ImageEmbeddingPoolOptions,
  requireEmbedOptions,
  requireFacadeOptions,
} from './pool-options.js';

/** One input of {@link ImageEmbeddingPool.embedImages}: a path, a URL, or the bytes of an image. */
export type ImageInput = string | URL | Uint8Array;

/** Options of {@link ImageEmbeddingPool.batchEmbedImages}. */
export interface BatchEmbedOptions extends EmbedOptions {
  /** Whether images that fail are answered beside those that don't, instead of failing the call. False by default. */
  readonly settle?: boolean;
}

/** Options of {@link ImageEmbeddingPool.embedImages}. */
export interface EmbedImagesOptions extends EmbedOptions {
  /** How many images are under way at most, finished and not yet taken ones included; two batches per worker by default. */
  readonly concurrency?: number;
  /** Whether results come in the order of the source, or as they finish. True by default. */
  readonly ordered?: boolean;
}

/** One image of a settled batch. */
export type SettledEmbedding =
  | { readonly embedding: Float32Array; readonly error?: undefined }
  | { readonly embedding?: undefined; readonly error: Error };

/** A model, and how many of its workers should be ready. */
export interface WarmOptions {
  readonly model?: ModelSource;
  /** How many workers; all that the pool may have by default. */
  readonly workers?: number;
  readonly signal?: AbortSignal;
}

type SingleOperation = 'embedImage' | 'embedImageUrl' | 'embedImageBase64' | 'embedImageBytes';

/** A repeater holds at most this many values that nobody has taken. */
const MAX_STREAM_CONCURRENCY = 1_024;

/** How many chunks of a batch are under way for each worker: one that runs, one that is made ready. */
const CHUNKS_PER_WORKER = 2;

/** Embeds images by models in workers of their own. Made by {@link createImageEmbeddingPool}. */
export class ImageEmbeddingPool implements AsyncDisposable {
  readonly #settings: FacadeSettings;
  readonly #pool: Pool;
  readonly #models = new Map<string, Promise<LoadedModel>>();
  /** Aborted when the pool goes: a download that is under way stops. */
  readonly #downloads = new AbortController();

  /** @internal */
  constructor(settings: FacadeSettings) {
    this.#settings = settings;
    this.#pool = createPool({ name: 'image-embedding', ...settings.pool });
  }

  /**
   * Embeds an image file.
   *
   * **Cancel safety:** the message goes with the call. A call that is given up in the queue is never run.
   *
   * @param path The file. It is opened by the worker, never fetched.
   * @param options See {@link EmbedOptions}.
   * @returns The embedding, of length 1 unless `normalize` is false.
   * @throws ImageNotFoundError, ImageUnsupportedError, ImageCorruptError, ImageTooLargeError, ... What is wrong with the image.
   * @throws ModelNotFoundError, ModelMismatchError, ... What is wrong with the model.
   * @throws DeadlineExceededError, PoolOverloadedError, BreakerOpenError, WorkerCrashedError, PoolClosedError See {@link createPool}.
   */
  embedImage(path: string, options?: EmbedOptions): Promise<Float32Array> {
    return this.#single('embedImage', 'Cannot embed image', path, options);
  }

  /**
   * Fetches and embeds an image. Private addresses are refused unless the pool's limits allow them.
   *
   * **Cancel safety:** as {@link ImageEmbeddingPool.embedImage}; the connection is closed.
   *
   * @param url An http or https URL. It is fetched by the worker, never opened as a file.
   * @throws UrlForbiddenError, UrlFetchError And what {@link ImageEmbeddingPool.embedImage} throws.
   */
  embedImageUrl(url: string | URL, options?: EmbedOptions): Promise<Float32Array> {
    const text = url instanceof URL ? url.href : url;
    return this.#single('embedImageUrl', 'Cannot embed image from URL', text, options);
  }

  /**
   * Embeds an image in base64, or in a base64 data URL.
   *
   * **Cancel safety:** as {@link ImageEmbeddingPool.embedImage}.
   *
   * @throws Base64InvalidError And what {@link ImageEmbeddingPool.embedImage} throws.
   */
  embedImageBase64(data: string, options?: EmbedOptions): Promise<Float32Array> {
    return this.#single('embedImageBase64', 'Cannot embed image from base64', data, options);
  }

  /**
   * Embeds the bytes of an encoded image. They are copied on the way to the worker.
   *
   * **Cancel safety:** as {@link ImageEmbeddingPool.embedImage}.
   */
  embedImageBytes(bytes: Uint8Array, options?: EmbedOptions): Promise<Float32Array> {
    return this.#single('embedImageBytes', 'Cannot embed image from bytes', bytes, options);
  }

  /**
   * Embeds image files, all or nothing: one bad image fails the call with a `BatchError` that names each. With `settle: true` every image is
   * answered for itself.
   *
   * They travel in chunks of one inference batch over all workers, behind single images, which are held up by one inference batch at most.
   *
   * **Cancel safety:** the message goes with the call.
   *
   * @param paths The files.
   * @param options See {@link BatchEmbedOptions}.
   * @returns The embeddings in the order of the paths.
   * @throws BatchError When images failed; what {@link ImageEmbeddingPool.embedImage} throws when the model or the pool did.
   */
  batchEmbedImages(
    paths: readonly string[],
    options: BatchEmbedOptions & { readonly settle: true },
  ): Promise<SettledEmbedding[]>;
  batchEmbedImages(
    paths: readonly string[],
    options?: BatchEmbedOptions & { readonly settle?: false },
  ): Promise<Float32Array[]>;
  async batchEmbedImages(
    paths: readonly string[],
    options?: BatchEmbedOptions,
  ): Promise<Float32Array[] | SettledEmbedding[]> {
    const action = 'Cannot embed batch';
    const given = requireEmbedOptions<BatchEmbedOptions>(action, options, ['settle']);
    if (!Array.isArray(paths)) throw new TypeError(`${action}: paths must be an array of strings`);
    const settle = given.settle === undefined ? false : requireBoolean(action, 'settle', given.settle);
    const results = await this.#batch(paths as readonly string[], given);
    if (settle) return results;
    const failures: BatchFailure[] = [];
    for (const [index, { error }] of results.entries()) {
      if (error !== undefined) failures.push({ index, input: paths[index] as string, error });
    }
    if (failures.length > 0) throw new BatchError(failures, paths.length);
    return results.map(({ embedding }) => embedding as Float32Array);
  }

  /**
   * Embeds any number of images as a stream of results, with backpressure both ways: at most `concurrency` images are between the source and
   * the consumer, so a million paths use constant memory. An image that fails is a result with an `error`; the stream goes on.
   *
   * **Cancel safety:** leaving the loop gives up what is under way and closes the source.
   *
   * @param source Paths, URLs or bytes, in an array or any iterable, or the path of a folder, whose image files are taken.
   * @param options See {@link EmbedImagesOptions}.
   * @returns An async iterator of `{ index, input, embedding }` or `{ index, input, error }`.
   */
  embedImages<Input extends ImageInput = string>(
    source: Iterable<Input> | AsyncIterable<Input> | string,
    options?: EmbedImagesOptions,
  ): AsyncIterableIterator<StreamResult<Input>, void, void> {
    const action = 'Cannot embed images';
    const given = requireEmbedOptions<EmbedImagesOptions>(action, options, ['concurrency', 'ordered']);
    const inputs = (typeof source === 'string' ? imageFilesIn(source) : source) as
      | Iterable<Input>
      | AsyncIterable<Input>;
    if (
      typeof inputs !== 'object' ||
      inputs === null ||
      !(Symbol.iterator in inputs || Symbol.asyncIterator in inputs)
    ) {
      throw new TypeError(`${action}: source must be an iterable of inputs, or a folder`);
    }
    const { maxWorkers, maxBatch } = this.#settings;
    const { signal, concurrency, ordered, ...rest } = given;
    const controller = new AbortController();
    // Every image under way listens.
    setMaxListeners(0, controller.signal);
    return createEmbedStream<Input>({
      source: inputs,
      concurrency:
        concurrency === undefined
          ? Math.min(2 * maxBatch * maxWorkers, MAX_STREAM_CONCURRENCY)
          : requirePositiveInteger(action, 'concurrency', concurrency, MAX_STREAM_CONCURRENCY),
      ordered: ordered === undefined ? true : requireBoolean(action, 'ordered', ordered),
      embed: (input, own) => this.#any(input, { priority: 'batch', ...rest, signal: own }),
      isOwn: isImageFailure,
      signal,
      controller,
    });
  }

  /** The cosine similarity of two embeddings; the same as the function {@link similarity}. */
  similarity(a: ArrayLike<number>, b: ArrayLike<number>): number {
    return similarity(a, b);
  }

  /**
   * What a model is: its input, its output, the length of its embedding. Loads it if no worker has.
   *
   * **Cancel safety:** cancel safe.
   */
  async describe(model?: ModelSource, options?: { readonly signal?: AbortSignal }): Promise<ModelDescription> {
    const loaded = await this.#load(model, options?.signal);
    return loaded.describe({ signal: options?.signal });
  }

  /** The length of a model's embedding. Loads it if no worker has. */
  async embeddingDimension(model?: ModelSource): Promise<number> {
    return (await this.describe(model)).dimension;
  }

  /** Every length that a model's embedding may be cut to with `dimensions`, the full one first. */
  async supportedDimensions(model?: ModelSource): Promise<readonly number[]> {
    return (await this.describe(model)).supportedDimensions;
  }

  /**
   * Resolves a model, downloading it where needed, and starts workers ahead of the first call.
   *
   * **Cancel safety:** an abort stops a download; workers that were started stay.
   *
   * @throws What is wrong with the model.
   */
  async warm(options: WarmOptions = {}): Promise<void> {
    const { key } = await this.#load(options.model, options.signal);
    try {
      await this.#pool.warm(key, options.workers ?? this.#settings.maxWorkers);
    } catch (error) {
      throw plainError(error);
    }
  }

  /** How the pool and each of its models are, now. */
  health(): PoolHealth {
    return this.#pool.health();
  }

  /** What became of the calls. */
  stats(): PoolStats {
    return this.#pool.stats();
  }

  /** The metrics as Prometheus text; needs the package `prom-client`. */
  metrics(): Promise<string> {
    return this.#pool.metrics();
  }

  /** What happens in the pool's life from now on. */
  events(): AsyncIterableIterator<PoolEvent> {
    return this.#pool.events();
  }

  /** How many workers each model may have. */
  get maxWorkers(): number {
    return this.#settings.maxWorkers;
  }

  /** How many images should be under way at once to keep all workers busy. */
  get window(): number {
    return 2 * this.#settings.maxBatch * this.#settings.maxWorkers;
  }

  /** Takes no more calls, and resolves once every accepted one is answered. */
  drain(): Promise<void> {
    return this.#pool.drain();
  }

  /** Drains for at most `timeoutMs`, then answers what is left with `PoolClosedError`, and resolves once every worker is gone. */
  close(options?: PoolCloseOptions): Promise<void> {
    this.#downloads.abort(new PoolClosedError('Cannot use model: the pool is closing'));
    return this.#pool.close(options);
  }

  /** Answers every call now, ends every worker, and resolves once they are gone. */
  destroy(reason?: unknown): Promise<void> {
    this.#downloads.abort(new PoolClosedError('Cannot use model: the pool is destroyed', { cause: reason }));
    return this.#pool.destroy(reason);
  }

  /** The same as `close()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #single(
    operation: SingleOperation,
    action: string,
    input: ImageOperations[SingleOperation] extends never ? never : string | Uint8Array,
    options: EmbedOptions | undefined,
  ): Promise<Float32Array> {
    const given = requireEmbedOptions<EmbedOptions>(action, options);
    const wanted = operation === 'embedImageBytes' ? input instanceof Uint8Array : typeof input === 'string';
    if (!wanted) {
      const expected = operation === 'embedImageBytes' ? 'a Uint8Array' : 'a string';
      throw new TypeError(`${action}: input must be ${expected}, received ${typeof input}`);
    }
    const started = performance.now();
    const loaded = await this.#load(given.model, given.signal);
    const call = callOptions(given, 'normal', performance.now() - started);
    try {
      return finish(await loaded.handle.call(operation, input as never, call), given, loaded);
    } catch (error) {
      throw plainError(error);
    }
  }

  #any(input: ImageInput, options: EmbedOptions): Promise<Float32Array> {
    if (input instanceof URL) return this.embedImageUrl(input, options);
    return typeof input === 'string' ? this.embedImage(input, options) : this.embedImageBytes(input, options);
  }

  async #batch(paths: readonly string[], options: Partial<EmbedOptions>): Promise<SettledEmbedding[]> {
    const results: SettledEmbedding[] = new Array(paths.length);
    if (paths.length === 0) return results;
    const started = performance.now();
    const loaded = await this.#load(options.model, options.signal);
    const { maxBatch, maxWorkers } = this.#settings;
    const controller = new AbortController();
    setMaxListeners(0, controller.signal);
    const onAbort = () => controller.abort(options.signal?.reason);
    if (options.signal?.aborted) onAbort();
    options.signal?.addEventListener('abort', onAbort, { once: true });
    const queue = new PQueue({ concurrency: CHUNKS_PER_WORKER * maxWorkers });
    const embedChunk = async (start: number) => {
      controller.signal.throwIfAborted();
      const chunk = paths.slice(start, start + maxBatch);
      const call = callOptions({ ...options, signal: controller.signal }, 'batch', performance.now() - started);
      unpackBatch(await loaded.handle.call('batchEmbedImages', chunk, call), chunk.length, (index, result) => {
        results[start + index] =
          result instanceof Error ? { error: result } : { embedding: finish(result, options, loaded) };
      });
    };
    const starts = Array.from({ length: Math.ceil(paths.length / maxBatch) }, (_, chunk) => chunk * maxBatch);
    try {
      await Promise.all(starts.map((start) => queue.add(() => embedChunk(start))));
    } catch (error) {
      // The chunks that are still under way would work for nobody.
      queue.clear();
      controller.abort(error);
      throw plainError(error);
    } finally {
      options.signal?.removeEventListener('abort', onAbort);
    }
    return results;
  }

  /** The model of a call. Racing calls share its resolution; a failed one is tried again by the next call. */
  async #load(model: ModelSource | undefined, signal: AbortSignal | undefined): Promise<LoadedModel> {
    const { models, hub } = this.#settings;
    const source =
      model === undefined ? this.#settings.model : ((typeof model === 'string' ? models[model] : undefined) ?? model);
    const key = typeof model === 'string' && models[model] !== undefined ? model : nameOfSource(source);
    let loading = this.#models.get(key);
    if (loading === undefined) {
      loading = resolveModel(source, (reference) => fetchModel(reference, hub, this.#downloads.signal)).then((spec) =>
        registerModel(this.#pool, key, spec, this.#settings),
      );
      this.#models.set(key, loading);
      loading.catch(() => this.#models.delete(key));
    }
    return signal === undefined ? loading : raceAbort(loading, signal);
  }
}

/** The deadline counts from the call: what finding the model took is taken off it. */
function callOptions(
  options: Partial<EmbedOptions>,
  priority: 'normal' | 'batch',
  elapsedMs: number,
): { priority: 'interactive' | 'normal' | 'batch'; signal?: AbortSignal; timeoutMs?: number } {
  const { signal, timeoutMs } = options;
  return {
    priority: options.priority ?? priority,
    ...(signal === undefined ? {} : { signal }),
    ...(timeoutMs === undefined ? {} : { timeoutMs: Math.max(0, timeoutMs - elapsedMs) }),
  };
}

/** Cuts and scales an embedding. The one that came in may be shared with other callers of the same image, and is left as it is. */
function finish(raw: Float32Array, options: Partial<EmbedOptions>, { spec }: LoadedModel): Float32Array {
  const { dimensions, normalize } = options;
  if (dimensions !== undefined && dimensions !== raw.length && !spec.dimensions.includes(dimensions)) {
    const supported = [raw.length, ...spec.dimensions.filter((each) => each < raw.length)].join(', ');
    throw new RangeError(`Cannot embed image: dimensions must be one of ${supported}, received ${dimensions}`);
  }
  const vector = raw.slice(0, dimensions);
  return normalize === false ? vector : normalizeInPlace(vector);
}

function unpackBatch(
  { vectors, dimension, failures }: BatchAnswer,
  count: number,
  set: (index: number, result: Float32Array | Error) => void,
): void {
  const failed = new Map(failures.map(({ index, failure }) => [index, failure]));
  for (let index = 0; index < count; index += 1) {
    const failure = failed.get(index);
    set(
      index,
      failure === undefined ? vectors.subarray(index * dimension, (index + 1) * dimension) : decodeFailure(failure),
    );
  }
}

/** Failures of one image, as opposed to those of the model, the pool or the caller's own arguments. */
function isImageFailure(error: unknown): boolean {
  return (
    (isMillraceError(error) && /^ERR_(IMAGE|URL|BASE64|DEADLINE|WORKER_CRASHED|MODEL_INFERENCE)/.test(error.code)) ||
    error instanceof TypeError
  );
}

function raceAbort<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}

/**
 * Creates a pool that embeds images.
 *
 * Models run in child processes (by default), so the caller's event loop is never stopped by an inference, and a model that crashes takes
 * nothing with it. Nothing is started before the first call. An idle pool does not hold the process.
 *
 * @param options See {@link ImageEmbeddingPoolOptions}; unknown keys are refused.
 * @returns The pool. `await using` closes it.
 * @throws TypeError, RangeError When an option is of the wrong type, out of range or unknown.
 * @example
 * ```ts
 * const pool = createImageEmbeddingPool({ workers: { max: 1 } });
 * const cat = await pool.embedImage('examples/photos/cat-1.jpg');
 * const crop = await pool.embedImage('examples/photos/cat-2.jpg');
 * const rocket = await pool.embedImage('examples/photos/rocket-1.jpg');
 * cat.length; // => 256
 * similarity(cat, crop) > similarity(cat, rocket); // => true
 * await pool.close();
 * ```
 */
export function createImageEmbeddingPool(options?: ImageEmbeddingPoolOptions): ImageEmbeddingPool {
  return new ImageEmbeddingPool(requireFacadeOptions(options));
}
