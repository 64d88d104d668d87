import { definedOf, fillOptions, option, requireString, workingSignal } from '../../core/index.js';
import {
  createPool,
  type Pool,
  PoolClosedError,
  type PoolCloseOptions,
  type PoolEvent,
  type PoolHealth,
  type PoolStats,
  type WorkerReport,
} from '../../pool/index.js';
import { similarity } from '../embedding-vector.js';
import { disableTelemetry } from '../inference/session.js';
import { type ModelSource, requireModelSource } from '../model/resolve-model.js';
import type { ModelDescription } from '../operations.js';
import { meanVector, TextVectors } from '../text/text-vectors.js';
import {
  type EmbedImagesParts,
  embedBatch,
  embedImages,
  type SettledEmbedding,
  type StreamResult,
} from './embed-images.js';
import {
  type BatchEmbedOptions,
  callOptions,
  type DetailedEmbedding,
  EMBED_OPTIONS,
  type EmbedImagesOptions,
  type EmbedOneOptions,
  type EmbedOptions,
  type EmbedTextOptions,
  embedOne,
  embedOneDetailed,
  findModel,
  type OneImage,
  requireEmbedOneOptions,
  requireTextOptions,
  requireWarmOptions,
  type WarmOptions,
} from './embed-one.js';
import {
  type BatchInput,
  type CheckedInput,
  callersFolder,
  checkAny,
  checkBase64,
  checkBytes,
  checkPath,
  checkUrl,
  type ImageBytes,
  type ImageInput,
} from './image-input.js';
import { plainError, spareHosts } from './loaded-model.js';
import { ModelRegistry } from './model-registry.js';
import { type FacadeSettings, type ImageEmbeddingPoolOptions, requireFacadeOptions } from './pool-options.js';

/** How long a text worker without work lives: searching is rare, and its memory is wanted. */
const TEXT_IDLE_MS = 60_000;

const inspect: unique symbol = Symbol.for('nodejs.util.inspect.custom') as never;

/** Embeds images by models in workers of their own. Made by {@link createImageEmbeddingPool}. */
export class ImageEmbeddingPool implements AsyncDisposable {
  readonly #settings: FacadeSettings;
  readonly #pool: Pool;
  readonly #registry: ModelRegistry;
  readonly #texts: TextVectors;

  /** @internal */
  constructor(settings: FacadeSettings) {
    this.#settings = settings;
    // What its threads set would not be seen by native code.
    if (settings.host === 'thread') disableTelemetry();
    this.#pool = createPool({ name: 'image-embedding', ...spareHosts(settings), ...definedOf(settings.pool ?? {}) });
    this.#registry = new ModelRegistry(this.#pool, settings);
    const { host, session, capacity, hub } = settings;
    const idleTimeoutMs = settings.passed.idleTimeoutMs ?? TEXT_IDLE_MS;
    this.#texts = new TextVectors(this.#pool, { host, session, capacity, hub, idleTimeoutMs });
  }

  /**
   * Embeds an image file.
   *
   * **Cancel safety:** the message goes with the call. A call that is cancelled in the queue never runs.
   *
   * @param path The file, as a path or a `file:` URL. A relative path refers to the caller's working folder at the time of the call. The worker
   *   opens it; it is never fetched.
   * @param options See {@link EmbedOneOptions}.
   * @returns The embedding, of length 1 unless `normalize` is false.
   * @throws ImageNotFoundError, ImageUnsupportedError, ImageCorruptError, ImageTooLargeError, ... The image is unusable.
   * @throws ModelNotFoundError, ModelMismatchError, ... The model is unusable.
   * @throws RangeError When the model does not support `dimensions`; nothing is read or run then.
   * @throws DeadlineExceededError, PoolOverloadedError, BreakerOpenError, WorkerCrashedError, PoolClosedError See {@link createPool}.
   */
  embedImage(path: string | URL, options?: EmbedOneOptions): Promise<Float32Array> {
    const action = 'Cannot embed image';
    return this.#embedOne(action, options, () => checkPath(action, path, callersFolder()));
  }

  /**
   * Fetches and embeds an image. Private addresses are refused unless the pool's limits allow them.
   *
   * **Cancel safety:** as {@link ImageEmbeddingPool.embedImage}; the connection is closed.
   *
   * @param url An http or https URL. The worker fetches it; it is never opened as a file.
   * @param options See {@link EmbedOneOptions}.
   * @returns The embedding.
   * @throws UrlForbiddenError, UrlFetchError And what {@link ImageEmbeddingPool.embedImage} throws.
   */
  embedImageUrl(url: string | URL, options?: EmbedOneOptions): Promise<Float32Array> {
    const action = 'Cannot embed image from URL';
    return this.#embedOne(action, options, () => checkUrl(action, url));
  }

  /**
   * Embeds an image in base64, or in a base64 data URL.
   *
   * **Cancel safety:** as {@link ImageEmbeddingPool.embedImage}.
   *
   * @param data Base64 of the image file; whitespace is ignored.
   * @param options See {@link EmbedOneOptions}.
   * @returns The embedding.
   * @throws Base64InvalidError And what {@link ImageEmbeddingPool.embedImage} throws.
   */
  embedImageBase64(data: string, options?: EmbedOneOptions): Promise<Float32Array> {
    const action = 'Cannot embed image from base64';
    return this.#embedOne(action, options, () => checkBase64(action, data, this.#maxBytes));
  }

  /**
   * Embeds the bytes of an encoded image. They are copied when the request is sent to a worker: do not change them before the call settles.
   *
   * **Cancel safety:** as {@link ImageEmbeddingPool.embedImage}. A stream in progress is cancelled.
   *
   * @param bytes A JPEG, PNG, WebP, GIF, AVIF or TIFF file: in memory (a view or a buffer), or as a `Blob`, `File`, `Response`, `Request` or stream, which is read
   *   to its end, or to `limits.maxBytes`, in the caller's process.
   * @param options See {@link EmbedOneOptions}.
   * @returns The embedding.
   * @throws ImageTooLargeError When there are more bytes than `limits.maxBytes`; reading stops then.
   * @throws ImageReadError When the source fails; UrlFetchError when a `Response` has an error status.
   * @throws ImageUnsupportedError And what {@link ImageEmbeddingPool.embedImage} throws.
   * @example
   * ```ts
   * import { openAsBlob } from 'node:fs';
   *
   * const pool = createImageEmbeddingPool({ workers: { max: 1 } });
   * const file = await openAsBlob('examples/photos/cat-1.jpg');
   * (await pool.embedImageBytes(file)).length; // => 256
   * (await pool.embedImageBytes(file.stream())).length; // => 256
   * await pool.close();
   * ```
   */
  embedImageBytes(bytes: ImageBytes, options?: EmbedOneOptions): Promise<Float32Array> {
    const action = 'Cannot embed image from bytes';
    return this.#embedOne(action, options, () => checkBytes(action, bytes, this.#maxBytes));
  }

  /**
   * Embeds an image and reports the worker, the time in the queue and in the worker, and whether it shared the run of an identical image.
   *
   * **Cancel safety:** as {@link ImageEmbeddingPool.embedImage}.
   *
   * @param input A path (a string), a URL that is fetched (a `URL`), or bytes in any form that {@link ImageEmbeddingPool.embedImageBytes} takes.
   * @param options See {@link EmbedOptions}.
   * @returns The embedding and the call's `CallInfo` (see `millrace/pool`).
   * @throws What the method for this kind of input throws.
   * @example
   * ```ts
   * const pool = createImageEmbeddingPool({ workers: { max: 1 } });
   * const { embedding, info } = await pool.embedImageDetailed('examples/photos/cat-1.jpg');
   * embedding.length; // => 256
   * info.attempts; // => 1
   * await pool.close();
   * ```
   */
  async embedImageDetailed(input: ImageInput, options?: EmbedOptions): Promise<DetailedEmbedding> {
    const action = 'Cannot embed image';
    const given = fillOptions(action, options, EMBED_OPTIONS);
    const limits = { folder: callersFolder(), maxBytes: this.#maxBytes, fetchesUrls: true };
    const image = { action, input: checkAny(action, input, limits), maxBytes: this.#maxBytes };
    return await embedOneDetailed(this.#registry, image, given);
  }

  /**
   * Embeds images, all or nothing: a bad image fails the call with a `BatchError` that lists the failures. With `settle: true` each image has
   * its own result.
   *
   * Each image is a request of its own with priority below single images, which wait for at most one inference batch. Two inference batches per
   * worker are in progress at once. `timeoutMs` applies to the whole call; without it, each image has the pool's timeout.
   *
   * **Cancel safety:** the message goes with the call.
   *
   * @param inputs Paths, or bytes in any form that {@link ImageEmbeddingPool.embedImageBytes} takes.
   * @param options See {@link BatchEmbedOptions}.
   * @returns The embeddings in the order of the inputs.
   * @throws BatchError When images failed; what {@link ImageEmbeddingPool.embedImage} throws when the model or the pool did.
   */
  batchEmbedImages(
    inputs: readonly BatchInput[],
    options: BatchEmbedOptions & { readonly settle: true },
  ): Promise<SettledEmbedding[]>;
  batchEmbedImages(
    inputs: readonly BatchInput[],
    options?: BatchEmbedOptions & { readonly settle?: false },
  ): Promise<Float32Array[]>;
  batchEmbedImages(
    inputs: readonly BatchInput[],
    options?: BatchEmbedOptions,
  ): Promise<Float32Array[] | SettledEmbedding[]> {
    return embedBatch(this.#many, inputs, options);
  }

  /**
   * Embeds any number of images as a stream of results, with backpressure both ways: at most `concurrency` images are between the source and
   * the consumer, so a million paths use constant memory. A failed image is a result with an `error`, and the stream continues. A single image
   * that arrives meanwhile waits for at most one inference batch.
   *
   * **Cancel safety:** leaving the loop cancels the images in progress and closes the source.
   *
   * @param source Paths, URLs or bytes in any form that {@link ImageEmbeddingPool.embedImageBytes} takes, in an array or any iterable, or the path of
   *   a folder, whose image files are embedded, linked files included; linked folders are not followed. Relative paths refer to the caller's
   *   working folder at the time of the call.
   * @param options See {@link EmbedImagesOptions}.
   * @returns An async iterator of `{ index, input, embedding }` or `{ index, input, error }`. It fails with the error of the model, the pool or
   *   the source.
   * @throws TypeError, RangeError When the source is no iterable, or an option is of the wrong type, out of range or unknown.
   */
  embedImages<Input extends ImageInput = string>(
    source: Iterable<Input> | AsyncIterable<Input> | string | URL,
    options?: EmbedImagesOptions,
  ): AsyncIterableIterator<StreamResult<Input>, void, void> {
    return embedImages<Input>(this.#many, source, options);
  }

  /**
   * Embeds a text with the text tower of a model such as CLIP or SigLIP: its embedding is close to those of images that it describes. The tower is
   * a separate model of the pool with its own queue. It is loaded on the first text and evicted after `idleTimeoutMs` (one minute by default). The
   * built-in model supports nouns only.
   *
   * **Cancel safety:** the message goes with the call. A call that is cancelled in the queue never runs.
   *
   * @param text A text, or several.
   * @param options See {@link EmbedTextOptions}.
   * @returns The embedding, or those of the texts in their order, of length 1.
   * @throws ModelNoTextError When the model has no text tower; WordUnknownError when the built-in model does not know the noun.
   * @throws DeadlineExceededError, PoolOverloadedError, BreakerOpenError, WorkerCrashedError, PoolClosedError See {@link createPool}.
   */
  embedText(text: string, options?: EmbedTextOptions): Promise<Float32Array>;
  embedText(texts: readonly string[], options?: EmbedTextOptions): Promise<Float32Array[]>;
  async embedText(
    text: string | readonly string[],
    options?: EmbedTextOptions,
  ): Promise<Float32Array | Float32Array[]> {
    if (!Array.isArray(text)) return meanVector(await this.textVectors(text as string, options));
    const all = await Promise.all((text as readonly string[]).map((each) => this.textVectors(each, options)));
    return all.map(meanVector);
  }

  /**
   * The unit vectors to search for a text with; with several vectors the best match counts. A text tower returns one. A classifier of ImageNet's
   * classes, such as the built-in model, supports nouns only and returns one vector for each class that the noun covers.
   *
   * **Cancel safety:** as {@link ImageEmbeddingPool.embedText}.
   *
   * @param text The text.
   * @param options See {@link EmbedTextOptions}.
   * @returns At least one vector.
   * @throws What {@link ImageEmbeddingPool.embedText} throws.
   * @example
   * ```ts
   * const pool = createImageEmbeddingPool({ workers: { max: 1 } });
   * (await pool.textVectors('tabby cat')).length; // => 1
   * (await pool.textVectors('dogs')).length; // => 118
   * await pool.close();
   * ```
   */
  async textVectors(text: string, options?: EmbedTextOptions): Promise<readonly Float32Array[]> {
    const action = 'Cannot embed text';
    const started = performance.now();
    const given = requireTextOptions(action, options);
    const words = requireString(action, 'text', text);
    const loaded = await findModel(this.#registry, action, given, started);
    try {
      return await this.#texts.vectorsOf(loaded, words, callOptions(given, 'normal', started));
    } catch (error) {
      throw plainError(error);
    }
  }

  /** The cosine similarity of two embeddings; the same as the function {@link similarity}. */
  similarity(a: ArrayLike<number>, b: ArrayLike<number>): number {
    return similarity(a, b);
  }

  /**
   * Describes a model: its input, its output, the length of its embedding. Loads it if needed.
   *
   * **Cancel safety:** cancel safe.
   *
   * @param model The pool's own by default.
   * @param options A signal.
   * @returns The description by the worker that loaded it.
   * @throws ModelNotFoundError, ModelMismatchError, ... The model is unusable.
   */
  async describe(model?: ModelSource, options?: { readonly signal?: AbortSignal }): Promise<ModelDescription> {
    const action = 'Cannot describe model';
    const { signal } = fillOptions(action, options, { signal: option(workingSignal) });
    if (model !== undefined) requireModelSource(action, model);
    const loaded = await this.#registry.load({ model, signal });
    return loaded.describe({ signal });
  }

  /**
   * The length of a model's embedding. Loads the model if needed.
   *
   * **Cancel safety:** takes no signal.
   *
   * @param model The pool's own by default.
   */
  async embeddingDimension(model?: ModelSource): Promise<number> {
    return (await this.describe(model)).dimension;
  }

  /**
   * Every length that `dimensions` accepts, the full one first. Loads the model if needed.
   *
   * **Cancel safety:** takes no signal.
   *
   * @param model The pool's own by default.
   */
  async supportedDimensions(model?: ModelSource): Promise<readonly number[]> {
    return (await this.describe(model)).supportedDimensions;
  }

  /**
   * Resolves a model, downloading it where needed, and starts workers ahead of the first call.
   *
   * **Cancel safety:** an abort ends the wait for the model; its download continues for other callers. Starting workers are awaited.
   *
   * @throws ModelNotFoundError, ModelDownloadError, ModelLoadError, ... The model is unusable.
   */
  async warm(options?: WarmOptions): Promise<void> {
    const { workers, ...call } = requireWarmOptions('Cannot warm model', options);
    const { key } = await this.#registry.load(call);
    try {
      await this.#pool.warm(key, workers ?? this.#settings.maxWorkers);
    } catch (error) {
      throw plainError(error);
    }
  }

  /**
   * Ends every idle worker of a model, the `workers.min` included; busy workers stay. The next call starts one again.
   *
   * **Cancel safety:** takes no signal.
   *
   * @param model The pool's own by default.
   * @returns The number of ended workers; 0 when no call has used the model yet.
   */
  async evict(model?: ModelSource): Promise<number> {
    if (model !== undefined) requireModelSource('Cannot evict model', model);
    const loaded = this.#registry.ready(model);
    return loaded === undefined ? 0 : await this.#pool.evict(loaded.key);
  }

  /** The current health of the pool and each of its models. */
  health(): PoolHealth {
    return this.#pool.health();
  }

  /** Counters of calls by outcome. */
  stats(): PoolStats {
    return this.#pool.stats();
  }

  /**
   * A report of each worker, measured now; see {@link Pool.workers}. Its `health` has the images in progress by stage, and `batchSizes`, `decodeMs` and
   * `runMs`: counts of batches by size, and of images by an upper bound of their decode and run time in ms.
   *
   * **Cancel safety:** takes no signal; nothing is changed.
   */
  workers(): Promise<WorkerReport[]> {
    return this.#pool.workers();
  }

  /** The metrics as Prometheus text; needs the package `prom-client`. */
  metrics(): Promise<string> {
    return this.#pool.metrics();
  }

  /** Events of the pool from now on. */
  events(): AsyncIterableIterator<PoolEvent> {
    return this.#pool.events();
  }

  /** The most workers of each model. */
  get maxWorkers(): number {
    return this.#settings.maxWorkers;
  }

  /** The number of images in progress that keeps all workers busy. */
  get window(): number {
    return 2 * this.#settings.maxBatch * this.#settings.maxWorkers;
  }

  /**
   * Refuses new calls and resolves when every accepted call is answered. Workers stay.
   *
   * **Cancel safety:** takes no signal.
   */
  drain(): Promise<void> {
    return this.#pool.drain();
  }

  /**
   * Drains for at most `timeoutMs`, then rejects the remaining calls with `PoolClosedError`, and resolves when every worker has ended. Downloads stop.
   *
   * **Cancel safety:** takes no signal; further calls return the same promise.
   */
  close(options?: PoolCloseOptions): Promise<void> {
    this.#stop(new PoolClosedError('Cannot use model: the pool is closing'));
    return this.#pool.close(options);
  }

  /**
   * Rejects every call with `PoolClosedError`, whose `cause` is the reason, kills every worker, and resolves when they have ended.
   *
   * **Cancel safety:** takes no signal.
   */
  destroy(reason?: unknown): Promise<void> {
    this.#stop(new PoolClosedError('Cannot use model: the pool is destroyed', { cause: reason }));
    return this.#pool.destroy(reason);
  }

  /** The same as `close()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #stop(reason: Error): void {
    this.#registry.stop(reason);
    this.#texts.stop(reason);
  }

  get #maxBytes(): number {
    return this.#settings.maxBytes;
  }

  get #many(): EmbedImagesParts {
    return { registry: this.#registry, maxBytes: this.#maxBytes, window: this.window };
  }

  async #embedOne(
    action: string,
    options: EmbedOneOptions | undefined,
    check: () => CheckedInput,
  ): Promise<Float32Array> {
    const given = requireEmbedOneOptions(action, options);
    const image: OneImage = { action, input: check(), maxBytes: this.#maxBytes };
    return await embedOne(this.#registry, image, given);
  }

  /** The pool below, and the key of a model in it. @internal */
  async below(model?: ModelSource): Promise<{ readonly pool: Pool; readonly key: string }> {
    const { key } = await this.#registry.load({ model });
    return { pool: this.#pool, key };
  }

  /** @internal */
  [inspect](): string {
    const { accepted, succeeded } = this.#pool.stats();
    return `ImageEmbeddingPool { models: [${this.#pool.keys.join(', ')}], accepted: ${accepted}, succeeded: ${succeeded} }`;
  }
}

/**
 * Creates a pool that embeds images.
 *
 * By default models run in child processes: inference never blocks the caller's event loop, and a crash ends only the child. Nothing is started before
 * the first call. An idle pool does not keep the process alive.
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
