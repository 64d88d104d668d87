/** Many images: each is a request of its own, with a bounded number under way. */
import {
  definedOf,
  type Fault,
  hide,
  isError,
  isMillraceError,
  MillraceError,
  requireBoolean,
  requirePositiveInteger,
} from '../../core/index.js';
import {
  type BatchEmbedOptions,
  type EmbedImagesOptions,
  type EmbedOptions,
  embedOne,
  findModel,
  requireEmbedOptions,
  timeLeft,
} from './embed-one.js';
import { imageFilesIn } from './image-files.js';
import { type BatchInput, callersFolder, checkAny, checkPath, type ImageInput, isUrl } from './image-input.js';
import { mapInOrder } from './map-in-order.js';
import type { ModelRegistry } from './model-registry.js';
import { discard } from './read-bytes.js';

/** One image of a batch that failed. */
export interface BatchFailure {
  /** Its place in the batch. */
  readonly index: number;
  /** What was to be embedded, as it was given. */
  readonly input: BatchInput;
  readonly error: Error;
}

const SHOWN = 3;

/** What an error says of itself, of whichever class it is; an argument of the wrong type or out of range is the caller's doing, too. */
function faultOf({ fault, name }: Error & { readonly fault?: unknown }): Fault {
  if (fault === 'caller' || fault === 'model' || fault === 'system') return fault;
  return name === 'TypeError' || name === 'RangeError' ? 'caller' : 'model';
}

/**
 * Some images of a batch failed, so the whole call did. Says which and why; `settle: true` gives the rest, too.
 */
export class BatchError extends MillraceError {
  override readonly code = 'ERR_BATCH_FAILED' as const;
  override readonly fault: Fault;
  /** The places of the images that failed, in order. */
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
    // The callers' bad images are theirs; anything else among them is worth a breaker's attention.
    this.fault = failures.map(({ error }) => faultOf(error)).find((fault) => fault !== 'caller') ?? 'caller';
  }
}

declare module '../../core/errors.js' {
  interface MillraceErrors {
    ERR_BATCH_FAILED: BatchError;
  }
}

/** One result of a stream: an embedding, or what went wrong with this image alone. */
export type StreamResult<Input> =
  | { readonly index: number; readonly input: Input; readonly embedding: Float32Array; readonly error?: undefined }
  | { readonly index: number; readonly input: Input; readonly embedding?: undefined; readonly error: Error };

/** One image of a settled batch. */
export type SettledEmbedding =
  | { readonly embedding: Float32Array; readonly error?: undefined }
  | { readonly embedding?: undefined; readonly error: Error };

/** How many images may be under way, whatever the options say. */
const MAX_CONCURRENCY = 1_024;

/** What images of a call are embedded with. */
export interface EmbedImagesParts {
  readonly registry: ModelRegistry;
  readonly maxBytes: number;
  /** How many images are under way when the options do not say it. */
  readonly window: number;
}

/**
 * Checks a call and makes its stream.
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
  const given = requireEmbedOptions<EmbedImagesOptions>(action, options, ['concurrency', 'ordered']);
  // Relative paths are meant from here, however late they are read.
  const folder = callersFolder();
  // What a folder holds and can't be read is a result with its error, like an image that can't be.
  const unreadable = new Map<unknown, MillraceError>();
  const { concurrency, ordered, ...call } = given;
  return embedEach<Input>(parts, {
    action,
    source: sourceOf<Input>(action, source, folder, unreadable),
    folder,
    fetchesUrls: true,
    unreadable,
    call,
    concurrency:
      concurrency === undefined
        ? undefined
        : requirePositiveInteger(action, 'concurrency', concurrency, MAX_CONCURRENCY),
    ordered: ordered === undefined ? true : requireBoolean(action, 'ordered', ordered),
  });
}

/** Checks a call and embeds its images: all or nothing, or each for itself with `settle`. */
export async function embedBatch(
  parts: EmbedImagesParts,
  inputs: readonly BatchInput[],
  options: BatchEmbedOptions | undefined,
): Promise<Float32Array[] | SettledEmbedding[]> {
  const action = 'Cannot embed batch';
  const { settle, ...call } = requireEmbedOptions<BatchEmbedOptions>(action, options, ['settle']);
  if (!Array.isArray(inputs)) throw new TypeError(`${action}: inputs must be an array of paths or bytes`);
  const isSettled = settle === undefined ? false : requireBoolean(action, 'settle', settle);
  // What becomes of the caller's array later concerns no batch.
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
  if (isSettled) return results;
  if (failures.length > 0) throw new BatchError(failures, batch.length);
  return results.map(({ embedding }) => embedding as Float32Array);
}

/** Many images, checked as a whole; each is checked as its turn comes. */
interface ManyImages<Input> {
  readonly action: string;
  readonly source: Iterable<Input> | AsyncIterable<Input>;
  /** Where relative paths are meant from. */
  readonly folder: string | undefined;
  readonly fetchesUrls: boolean;
  /** Inputs that are known to fail. */
  readonly unreadable?: Map<unknown, MillraceError>;
  readonly call: Partial<EmbedOptions>;
  readonly concurrency?: number | undefined;
  readonly ordered?: boolean;
  /** When the deadline of all of them began; each has its own when undefined. */
  readonly started?: number;
  /** Called for each image as its turn comes, in order. */
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

/** Whether a failure is of one image, as opposed to the model or the pool. */
function isImageFailure(error: unknown): boolean {
  if (!isMillraceError(error)) return isError(error);
  return /^ERR_(IMAGE|URL|BASE64|DEADLINE|WORKER_CRASHED|MODEL_INFERENCE)/.test(error.code);
}

/** Cancels the sources of images that are not going to be read. */
function discardAll(action: string, inputs: Iterable<BatchInput>, maxBytes: number): void {
  for (const value of inputs) {
    if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) continue;
    try {
      const input = checkAny(action, value, { folder: undefined, maxBytes, fetchesUrls: false });
      if (input.kind === 'unread') discard(input);
    } catch {
      // It would have failed for itself.
    }
  }
}
