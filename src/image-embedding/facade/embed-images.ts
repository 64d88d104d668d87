/** Embeds many images: each is a request of its own, with a bounded number in progress. */
import {
  definedOf,
  type Fault,
  fillOptions,
  hide,
  isError,
  isMillraceError,
  MillraceError,
  type OptionTable,
  option,
  positiveIntegerUpTo,
  requireBoolean,
} from '../../core/index.js';
import {
  type BatchEmbedOptions,
  EMBED_OPTIONS,
  type EmbedImagesOptions,
  type EmbedOptions,
  embedOne,
  findModel,
  timeLeft,
} from './embed-one.js';
import { imageFilesIn } from './image-files.js';
import { type BatchInput, callersFolder, checkAny, checkPath, type ImageInput, isUrl } from './image-input.js';
import { mapInOrder } from './map-in-order.js';
import type { ModelLookup } from './model-registry.js';
import { discard } from './read-bytes.js';

/** A failed image of a batch. */
export interface BatchFailure {
  /** Its index in the batch. */
  readonly index: number;
  /** The input as it was passed in. */
  readonly input: BatchInput;
  readonly error: Error;
}

const SHOWN = 3;

/** The fault of an error of any class. Type and range errors are the caller's. */
function faultOf({ fault, name }: Error & { readonly fault?: unknown }): Fault {
  if (fault === 'caller' || fault === 'model' || fault === 'system') return fault;
  return name === 'TypeError' || name === 'RangeError' ? 'caller' : 'model';
}

/**
 * Some images of a batch failed. With `settle: true` the call resolves instead, with a result for each image.
 */
export class BatchError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'BatchError';
  override readonly code = 'ERR_BATCH_FAILED' as const;
  override readonly fault: Fault;
  /** The indexes of the failed images, in order. */
  readonly indexes: readonly number[];
  /** Each failure, in the same order. Not enumerable, so that logs stay short. */
  declare readonly failures: readonly BatchFailure[];

  constructor(failures: readonly BatchFailure[], size: number) {
    const shown = failures.slice(0, SHOWN).map(({ index, error }) => `${index} (${error.message})`);
    const rest = failures.length > SHOWN ? ` and ${failures.length - SHOWN} more` : '';
    super(`Cannot embed batch: ${failures.length} of ${size} images failed: ${shown.join(', ')}${rest}`, {
      cause: failures[0]?.error,
    });
    this.indexes = failures.map(({ index }) => index);
    hide(this, 'failures', failures);
    // One failure that is not the caller's makes the batch count for the breaker.
    this.fault = failures.map(({ error }) => faultOf(error)).find((fault) => fault !== 'caller') ?? 'caller';
  }
}

declare module '../../core/errors.js' {
  interface MillraceErrors {
    ERR_BATCH_FAILED: BatchError;
  }
}

/** One result of a stream: an embedding, or the error of this image. */
export type StreamResult<Input> =
  | { readonly index: number; readonly input: Input; readonly embedding: Float32Array; readonly error?: undefined }
  | { readonly index: number; readonly input: Input; readonly embedding?: undefined; readonly error: Error };

/** One result of a settled batch. */
export type SettledEmbedding =
  | { readonly embedding: Float32Array; readonly error?: undefined }
  | { readonly embedding?: undefined; readonly error: Error };

/** The upper limit of `concurrency`. */
const MAX_CONCURRENCY = 1_024;

const EMBED_IMAGES_OPTIONS = {
  ...EMBED_OPTIONS,
  concurrency: option(positiveIntegerUpTo(MAX_CONCURRENCY)),
  ordered: option(requireBoolean, true),
} satisfies OptionTable<EmbedImagesOptions>;

const BATCH_OPTIONS = {
  ...EMBED_OPTIONS,
  settle: option(requireBoolean, false),
} satisfies OptionTable<BatchEmbedOptions>;

/** The pool's parts that embed images. */
export interface EmbedImagesParts {
  readonly registry: ModelLookup;
  readonly maxBytes: number;
  /** The default of `concurrency`. */
  readonly window: number;
}

/**
 * Checks the options of a call and creates its stream.
 *
 * @param source Inputs, or the path of a folder.
 * @param options The call's options.
 */
export function embedImages<Input extends ImageInput>(
  parts: EmbedImagesParts,
  source: Iterable<Input> | AsyncIterable<Input> | string | URL,
  options: EmbedImagesOptions | undefined,
): AsyncIterableIterator<StreamResult<Input>, void, void> {
  const action = 'Cannot embed images';
  const { concurrency, ordered, ...call } = fillOptions(action, options, EMBED_IMAGES_OPTIONS);
  // Relative paths refer to the working folder at the time of the call.
  const folder = callersFolder();
  // Unreadable entries of a folder are results with their error.
  const unreadable = new Map<unknown, MillraceError>();
  return embedEach<Input>(parts, {
    action,
    source: sourceOf<Input>(action, source, folder, unreadable),
    folder,
    fetchesUrls: true,
    unreadable,
    call,
    concurrency,
    ordered,
  });
}

/** Checks the options of a call and embeds its images: all or nothing, or one result each with `settle`. */
export async function embedBatch(
  parts: EmbedImagesParts,
  inputs: readonly BatchInput[],
  options: BatchEmbedOptions | undefined,
): Promise<Float32Array[] | SettledEmbedding[]> {
  const action = 'Cannot embed batch';
  const { settle, ...call } = fillOptions(action, options, BATCH_OPTIONS);
  if (!Array.isArray(inputs)) throw new TypeError(`${action}: inputs must be an array of paths or bytes`);
  // The caller may change its array later.
  const batch: readonly BatchInput[] = [...inputs];
  const results: SettledEmbedding[] = new Array(batch.length);
  const failures: BatchFailure[] = [];
  if (batch.length === 0) return results;
  let begun = 0;
  const many: ManyImages<BatchInput> = {
    action,
    source: batch,
    folder: callersFolder(),
    fetchesUrls: false,
    call,
    started: performance.now(),
    onBegin: () => {
      begun += 1;
    },
  };
  try {
    for await (const { index, input, embedding, error } of embedEach(parts, many)) {
      if (error === undefined) results[index] = { embedding };
      else {
        results[index] = { error };
        failures.push({ index, input, error });
      }
    }
  } catch (error) {
    discardAll(action, batch.slice(begun), parts.maxBytes);
    throw error;
  }
  if (settle) return results;
  if (failures.length > 0) throw new BatchError(failures, batch.length);
  return results.map(({ embedding }) => embedding as Float32Array);
}

/** Many images with checked options. Each input is checked when it starts. */
interface ManyImages<Input> {
  readonly action: string;
  readonly source: Iterable<Input> | AsyncIterable<Input>;
  /** The folder that relative paths refer to. */
  readonly folder: string | undefined;
  readonly fetchesUrls: boolean;
  /** Errors of inputs that can't be read. */
  readonly unreadable?: Map<unknown, MillraceError>;
  readonly call: EmbedOptions;
  readonly concurrency?: number | undefined;
  readonly ordered?: boolean;
  /** The start of a common deadline; undefined when each image has its own. */
  readonly started?: number;
  /** Called for each image when it starts, in order. */
  readonly onBegin?: () => void;
}

function embedEach<Input extends ImageInput>(
  { registry, maxBytes, window }: EmbedImagesParts,
  { action, source, folder, fetchesUrls, unreadable, call, concurrency, ordered, started, onBegin }: ManyImages<Input>,
): AsyncIterableIterator<StreamResult<Input>, void, void> {
  const { signal, model, dimensions, ...rest } = call;
  const hasDeadline = started !== undefined && call.timeoutMs !== undefined;
  const own = { priority: 'batch', ...definedOf({ model, dimensions, ...rest }) } as const;
  const embed = async (value: Input, given: AbortSignal): Promise<Float32Array> => {
    const error = unreadable?.get(value);
    if (error !== undefined) {
      unreadable?.delete(value);
      throw error;
    }
    const input = checkAny(action, value, { folder, maxBytes, fetchesUrls });
    const time = hasDeadline ? { timeoutMs: timeLeft(call, started) } : {};
    return embedOne(registry, { action, input, maxBytes }, { ...own, ...time, signal: given });
  };
  return mapInOrder<Input, StreamResult<Input>>(source, {
    concurrency: concurrency ?? Math.min(window, MAX_CONCURRENCY),
    ordered,
    signal,
    before: async (given) => {
      if (dimensions === undefined) return;
      await findModel(registry, action, { ...definedOf({ model }), dimensions, signal: given }, 0);
    },
    map: async (input, index, given) => {
      onBegin?.();
      try {
        return { index, input, embedding: await embed(input, given) };
      } catch (error) {
        const isLate = hasDeadline && isMillraceError(error, 'ERR_DEADLINE_EXCEEDED');
        if (isLate || !isImageFailure(error)) throw error;
        return { index, input, error: error as Error };
      }
    },
  });
}

function sourceOf<Input extends ImageInput>(
  action: string,
  source: Iterable<Input> | AsyncIterable<Input> | string | URL,
  folder: string | undefined,
  unreadable: Map<unknown, MillraceError>,
): Iterable<Input> | AsyncIterable<Input> {
  if (typeof source === 'string' || isUrl(source)) {
    const { input } = checkPath(action, source, folder);
    return imageFilesIn(input as string, unreadable) as AsyncIterable<string> as AsyncIterable<Input>;
  }
  const isObject = typeof source === 'object' && source !== null && !ArrayBuffer.isView(source);
  if (!isObject || !(Symbol.iterator in source || Symbol.asyncIterator in source)) {
    throw new TypeError(`${action}: source must be an iterable of inputs, or a folder`);
  }
  return source;
}

/** Whether an error concerns one image, and not the model or the pool. */
function isImageFailure(error: unknown): boolean {
  if (!isMillraceError(error)) return isError(error);
  return /^ERR_(IMAGE|URL|BASE64|DEADLINE|WORKER_CRASHED|MODEL_INFERENCE)/.test(error.code);
}

/** Cancels the sources of images that will not be read. */
function discardAll(action: string, inputs: Iterable<BatchInput>, maxBytes: number): void {
  for (const value of inputs) {
    if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) continue;
    try {
      const input = checkAny(action, value, { folder: undefined, maxBytes, fetchesUrls: false });
      if (input.kind === 'unread') discard(input);
    } catch {
      // An invalid input has no source to cancel.
    }
  }
}
