import {
  fillOptions,
  group,
  option,
  type OptionTable,
  positiveIntegerUpTo,
  requireNonNegativeInteger,
  millisecondsOrInfinity,
  workingSignal,
} from '../../core/index.js';
import type { ModelHandle, PoolCloseOptions, PoolEvent, PoolHealth } from '../../pool/index.js';
import {
  createRemotePool,
  type HostReport,
  type RemotePool,
  type RemotePoolOptions,
  type RemotePoolStats,
} from '../../remote/index.js';
import { registerErrorClass } from '../../worker/index.js';
import { similarity } from '../embedding-vector.js';
import {
  embedBatch,
  embedImages,
  type EmbedImagesParts,
  type SettledEmbedding,
  type StreamResult,
} from '../facade/embed-images.js';
import {
  type BatchEmbedOptions,
  type DetailedEmbedding,
  EMBED_OPTIONS,
  type EmbedImagesOptions,
  type EmbedOneOptions,
  type EmbedOptions,
  embedOne,
  embedOneDetailed,
  requireEmbedOneOptions,
} from '../facade/embed-one.js';
import {
  type BatchInput,
  callersFolder,
  type CheckedInput,
  checkAny,
  checkBase64,
  checkBytes,
  checkPath,
  checkUrl,
  type ImageBytes,
  type ImageInput,
} from '../facade/image-input.js';
import type { LoadedModel } from '../facade/loaded-model.js';
import { imageErrorClasses } from '../image-errors.js';
import { modelErrorClasses } from '../model/model-errors.js';
import { declareImageOperations, type ImageOperations, type ModelDescription } from '../operations.js';
import { remoteHandle } from './remote-handle.js';

/** Limits of images that are read in the caller's process. */
export interface RemoteImageLimits {
  /** The most bytes an image may have, still encoded. 32,000,000 by default. */
  readonly maxBytes?: number | undefined;
  /** When given, paths must lead into one of these folders, links followed. */
  readonly roots?: readonly string[] | undefined;
}

/** Options of {@link createRemoteImageEmbeddingPool}. */
export interface RemoteImageEmbeddingPoolOptions extends Omit<RemotePoolOptions, 'maxBodyBytes'> {
  /** The name that the hosts serve under. */
  readonly service: string;
  /** The deadline of a call that sets none, in ms, or `Infinity`. 30,000 by default. */
  readonly timeoutMs?: number | undefined;
  /** How often a call is run again after its host was lost. 1 by default. */
  readonly retries?: number | undefined;
  /** How many requests may wait here. 256 by default. */
  readonly capacity?: number | undefined;
  /** How many images of a call with many are in progress at once. 64 by default. */
  readonly window?: number | undefined;
  /** Limits of images that are read here. Those of decoding are the hosts'. */
  readonly limits?: RemoteImageLimits | undefined;
}

const MAX_BYTES = 1_000_000_000;
const ACTION = 'Cannot create remote image embedding pool';
const LIMITS = {
  maxBytes: option(positiveIntegerUpTo(MAX_BYTES), 32_000_000),
  roots: option((action, name, value) => {
    if (Array.isArray(value) && value.every((each) => typeof each === 'string')) return value as readonly string[];
    throw new TypeError(`${action}: ${name} must be an array of strings`);
  }),
} satisfies OptionTable<RemoteImageLimits>;
/** Options that the pool below does not have. */
const OWN_OPTIONS = {
  timeoutMs: option(millisecondsOrInfinity, 30_000),
  retries: option(requireNonNegativeInteger, 1),
  capacity: option(positiveIntegerUpTo(1_000_000), 256),
  window: option(positiveIntegerUpTo(1_024), 64),
  limits: group(LIMITS),
};
/** Bytes of a message beside its image. */
const OVERHEAD_BYTES = 65_536;

/** Embeds images on other machines. Made by {@link createRemoteImageEmbeddingPool}. */
export class RemoteImageEmbeddingPool implements AsyncDisposable {
  readonly #remote: RemotePool;
  readonly #parts: EmbedImagesParts;
  readonly #loaded: LoadedModel;

  /** @internal */
  constructor(remote: RemotePool, loaded: LoadedModel, maxBytes: number, window: number) {
    this.#remote = remote;
    this.#loaded = loaded;
    this.#parts = { registry: { ready: () => loaded, load: async () => loaded }, maxBytes, window };
  }

  /**
   * Embeds an image file of this machine. It is read here and sent as bytes; no host opens a path.
   *
   * **Cancel safety:** the message goes with the call.
   *
   * @param path The file, as a path or a `file:` URL.
   * @param options As for a local pool; `model` is the service's and must be left out.
   * @returns The embedding, of length 1 unless `normalize` is false.
   * @throws What `ImageEmbeddingPool.embedImage` throws; NoHostError when no host of the service is there.
   */
  embedImage(path: string | URL, options?: EmbedOneOptions): Promise<Float32Array> {
    const action = 'Cannot embed image';
    return this.#embedOne(action, options, () => checkPath(action, path, callersFolder()));
  }

  /**
   * Embeds an image that a host fetches, within the limits of that host.
   *
   * **Cancel safety:** the message goes with the call.
   *
   * @throws NotServedError When the hosts fetch nothing for callers; and what {@link RemoteImageEmbeddingPool.embedImage} throws.
   */
  embedImageUrl(url: string | URL, options?: EmbedOneOptions): Promise<Float32Array> {
    const action = 'Cannot embed image from URL';
    return this.#embedOne(action, options, () => checkUrl(action, url));
  }

  /**
   * Embeds an image in base64, or in a base64 data URL.
   *
   * **Cancel safety:** the message goes with the call.
   */
  embedImageBase64(data: string, options?: EmbedOneOptions): Promise<Float32Array> {
    const action = 'Cannot embed image from base64';
    return this.#embedOne(action, options, () => checkBase64(action, data, this.#parts.maxBytes));
  }

  /**
   * Embeds the bytes of an encoded image, in any form that the local pool takes.
   *
   * **Cancel safety:** the message goes with the call. A stream in progress is cancelled.
   */
  embedImageBytes(bytes: ImageBytes, options?: EmbedOneOptions): Promise<Float32Array> {
    const action = 'Cannot embed image from bytes';
    return this.#embedOne(action, options, () => checkBytes(action, bytes, this.#parts.maxBytes));
  }

  /**
   * Embeds an image and reports the host, the times, and how many hosts it took.
   *
   * **Cancel safety:** the message goes with the call.
   */
  async embedImageDetailed(input: ImageInput, options?: EmbedOptions): Promise<DetailedEmbedding> {
    const action = 'Cannot embed image';
    const given = fillOptions(action, options, EMBED_OPTIONS);
    const { maxBytes, registry } = this.#parts;
    const checked = checkAny(action, input, { folder: callersFolder(), maxBytes, fetchesUrls: true });
    return await embedOneDetailed(registry, { action, input: checked, maxBytes }, given);
  }

  /**
   * Embeds images, all or nothing; with `settle: true` each image has its own result.
   *
   * **Cancel safety:** the message goes with the call.
   *
   * @throws BatchError When images failed.
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
    return embedBatch(this.#parts, inputs, options);
  }

  /**
   * Embeds any number of images as a stream of results, with backpressure both ways.
   *
   * **Cancel safety:** leaving the loop cancels the images in progress and closes the source.
   */
  embedImages<Input extends ImageInput = string>(
    source: Iterable<Input> | AsyncIterable<Input> | string | URL,
    options?: EmbedImagesOptions,
  ): AsyncIterableIterator<StreamResult<Input>, void, void> {
    return embedImages<Input>(this.#parts, source, options);
  }

  /** The cosine similarity of two embeddings. */
  similarity(a: ArrayLike<number>, b: ArrayLike<number>): number {
    return similarity(a, b);
  }

  /**
   * Describes the model of the service, by one of its hosts.
   *
   * **Cancel safety:** cancel safe.
   */
  async describe(options?: { readonly signal?: AbortSignal }): Promise<ModelDescription> {
    const { signal } = fillOptions('Cannot describe model', options, { signal: option(workingSignal) });
    return await this.#loaded.describe({ signal });
  }

  /** The length of the model's embedding. */
  async embeddingDimension(): Promise<number> {
    return (await this.describe()).dimension;
  }

  /** Every length that `dimensions` accepts, the full one first. */
  async supportedDimensions(): Promise<readonly number[]> {
    return (await this.describe()).supportedDimensions;
  }

  /** The hosts that are known, as they were when they were last heard. */
  hosts(): HostReport[] {
    return this.#remote.hosts();
  }

  /** How the pool is, now. No host is asked. */
  health(): PoolHealth {
    return this.#remote.health();
  }

  /** What became of the calls. */
  stats(): RemotePoolStats {
    return this.#remote.stats();
  }

  /** The metrics as Prometheus text; needs the package `prom-client`. */
  metrics(): Promise<string> {
    return this.#remote.metrics();
  }

  /** What happens in the pool's life from now on. */
  events(): AsyncIterableIterator<PoolEvent> {
    return this.#remote.events();
  }

  /**
   * Refuses new calls and resolves when every accepted call is answered.
   *
   * **Cancel safety:** takes no signal.
   */
  drain(): Promise<void> {
    return this.#remote.drain();
  }

  /**
   * Drains for at most `timeoutMs`, then rejects the remaining calls with `PoolClosedError`. The bus stays open.
   *
   * **Cancel safety:** takes no signal; further calls return the same promise.
   */
  close(options?: PoolCloseOptions): Promise<void> {
    return this.#remote.close(options);
  }

  /**
   * Rejects every call with `PoolClosedError`, whose `cause` is the reason.
   *
   * **Cancel safety:** takes no signal.
   */
  destroy(reason?: unknown): Promise<void> {
    return this.#remote.destroy(reason);
  }

  /** The same as `close()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #embedOne(
    action: string,
    options: EmbedOneOptions | undefined,
    check: () => CheckedInput,
  ): Promise<Float32Array> {
    const given = requireEmbedOneOptions(action, options);
    if (given.model !== undefined) throw new TypeError(`${action}: model is that of the service, and must be left out`);
    const { maxBytes, registry } = this.#parts;
    return await embedOne(registry, { action, input: check(), maxBytes }, given);
  }
}

/**
 * Creates an image embedding pool whose workers are on other machines: each is offered by {@link serveImageEmbeddingPool}.
 *
 * It has the methods of a local pool. Paths are resolved and read in this process and their bytes are sent. There is no `embedText` yet.
 *
 * @param options See {@link RemoteImageEmbeddingPoolOptions}; unknown keys are refused.
 * @returns The pool. `await using` closes it.
 * @throws TypeError, RangeError When an option is of the wrong type, out of range or unknown.
 * @example
 * ```ts
 * const network = new SimulatedBus();
 * const pool = createImageEmbeddingPool({ workers: { max: 1 } });
 * const host = await serveImageEmbeddingPool(pool, { bus: network.connect(), service: 'images' });
 *
 * const remote = createRemoteImageEmbeddingPool({ bus: network.connect(), service: 'images' });
 * (await remote.embedImage('examples/photos/cat-1.jpg')).length; // => 256
 * await remote.close();
 * await host.close();
 * await pool.close();
 * ```
 */
export function createRemoteImageEmbeddingPool(options: RemoteImageEmbeddingPoolOptions): RemoteImageEmbeddingPool {
  const { service, timeoutMs, retries, capacity, window, limits, ...below } = options ?? {};
  const own = fillOptions(ACTION, { timeoutMs, retries, capacity, window, limits }, OWN_OPTIONS);
  const { maxBytes, roots } = own.limits;
  for (const each of [...imageErrorClasses, ...modelErrorClasses]) registerErrorClass(each);
  const remote = createRemotePool({
    name: 'remote-images',
    ...below,
    maxBodyBytes: Math.ceil((4 * maxBytes) / 3) + OVERHEAD_BYTES,
  });
  const handle: ModelHandle<ImageOperations> = remote.connect(service, {
    operations: declareImageOperations(own.capacity),
    timeoutMs: own.timeoutMs,
    retries: own.retries,
  });
  const loaded = {
    key: service,
    handle: remoteHandle(handle, { maxBytes, roots }),
    describe: ({ signal, timeoutMs: given }) => handle.call('describe', undefined, { signal, timeoutMs: given }),
  } satisfies Pick<LoadedModel, 'key' | 'handle' | 'describe'>;
  // Its file is the hosts': nothing here asks for it.
  return new RemoteImageEmbeddingPool(remote, loaded as unknown as LoadedModel, maxBytes, own.window);
}
