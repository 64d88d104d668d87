/** What calls of an image embedding pool can be told, checked once. */
import {
  hide,
  requireBoolean,
  requireMilliseconds,
  requireOneOf,
  requireOptions,
  requirePositiveInteger,
  requireString,
  requireWorkingSignal,
} from '../../core/index.js';
import type { CallInfo, PoolCallOptions } from '../../pool/index.js';
import { normalizeInPlace } from '../embedding-vector.js';
import { type ModelSource, requireModelSource } from '../model/resolve-model.js';
import type { CheckedInput, WorkerInput } from './image-input.js';
import { type LoadedModel, plainError } from './loaded-model.js';
import type { ModelRegistry } from './model-registry.js';
import { discard, movedError, readBytes } from './read-bytes.js';

/** Options of every call that embeds. */
export interface EmbedOptions {
  /** The model: a name out of `models`, or anything that `model` of the pool may be. */
  readonly model?: ModelSource | undefined;
  /** Gives the call up. */
  readonly signal?: AbortSignal | undefined;
  /** How long the answer may take, in ms; 30,000 by default. */
  readonly timeoutMs?: number | undefined;
  /** Its class; `'normal'` for single images and `'batch'` for many by default. Inside a worker, too, `'batch'` yields to the others. */
  readonly priority?: 'interactive' | 'normal' | 'batch' | undefined;
  /** Whether the embedding is scaled to length 1, true by default. */
  readonly normalize?: boolean | undefined;
  /** Cuts the embedding to this length, for models that were trained for it; its full length by default. */
  readonly dimensions?: number | undefined;
  /** The caller's W3C `traceparent`, which goes with the request to its worker and to the pool's diagnostics. */
  readonly traceparent?: string | undefined;
}

/** Options of calls that embed one image. */
export interface EmbedOneOptions extends EmbedOptions {
  /** Whether the call waits for room while its queue is full; false refuses it at once with `PoolOverloadedError`. True by default. */
  readonly wait?: boolean | undefined;
}

/** Options of {@link ImageEmbeddingPool.embedText}. */
export type EmbedTextOptions = Pick<EmbedOptions, 'model' | 'signal' | 'timeoutMs' | 'priority' | 'traceparent'>;

/** An embedding, and how it came about. */
export interface DetailedEmbedding {
  readonly embedding: Float32Array;
  /** The worker, the times, and whether the run was shared with an identical image. */
  readonly info: CallInfo;
}

/** Options of {@link ImageEmbeddingPool.batchEmbedImages}. */
export interface BatchEmbedOptions extends EmbedOptions {
  /** Whether images that fail are answered beside those that don't, instead of failing the call. False by default. */
  readonly settle?: boolean | undefined;
}

/** Options of {@link ImageEmbeddingPool.embedImages}. */
export interface EmbedImagesOptions extends EmbedOptions {
  /** How many images are under way at most, finished and not yet taken ones included; two batches per worker by default. */
  readonly concurrency?: number | undefined;
  /** Whether results come in the order of the source, or as they finish. True by default. */
  readonly ordered?: boolean | undefined;
}

/** A model, and how many of its workers should be ready. */
export interface WarmOptions {
  readonly model?: ModelSource | undefined;
  /** How many workers; all that the pool may have by default. */
  readonly workers?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

const EMBED_KEYS = ['model', 'signal', 'timeoutMs', 'priority', 'normalize', 'dimensions', 'traceparent'] as const;

/** Checks the options of a call. */
export function requireEmbedOptions<T extends EmbedOptions>(
  action: string,
  options: T | undefined,
  more: readonly (keyof T & string)[] = [],
): Partial<T> {
  const given = requireOptions<T>(action, options, [...EMBED_KEYS, ...more]);
  requireModelAndSignal(action, given);
  if (given.timeoutMs !== undefined) requireMilliseconds(action, 'timeoutMs', given.timeoutMs, { infinite: true });
  if (given.priority !== undefined)
    requireOneOf(action, 'priority', given.priority, ['interactive', 'normal', 'batch']);
  if (given.normalize !== undefined) requireBoolean(action, 'normalize', given.normalize);
  if (given.dimensions !== undefined) requirePositiveInteger(action, 'dimensions', given.dimensions);
  if (given.traceparent !== undefined) requireString(action, 'traceparent', given.traceparent);
  return given;
}

/** Checks the options of {@link ImageEmbeddingPool.warm}. */
export function requireWarmOptions(action: string, options: WarmOptions | undefined): WarmOptions {
  const given = requireOptions<WarmOptions>(action, options, ['model', 'workers', 'signal']);
  requireModelAndSignal(action, given);
  if (given.workers !== undefined) requirePositiveInteger(action, 'workers', given.workers);
  return given;
}

/** Checks which model a call is about, and what gives it up. */
export function requireModelAndSignal(
  action: string,
  { model, signal }: { readonly model?: ModelSource | undefined; readonly signal?: AbortSignal | undefined },
): void {
  if (model !== undefined) requireModelSource(action, model);
  if (signal !== undefined) requireWorkingSignal(action, signal);
}

/** Checks the options of {@link ImageEmbeddingPool.embedText}. */
export function requireTextOptions(action: string, options: EmbedTextOptions | undefined): Partial<EmbedTextOptions> {
  const known = ['model', 'signal', 'timeoutMs', 'priority', 'traceparent'] as const;
  return requireEmbedOptions(action, requireOptions<EmbedTextOptions>(action, options, known));
}

/** The rest of a call's time; undefined if it has no deadline of its own. */
export function timeLeft({ timeoutMs }: Partial<EmbedOptions>, started: number): number | undefined {
  return timeoutMs === undefined ? undefined : Math.max(0, Math.ceil(timeoutMs - (performance.now() - started)));
}

/** The deadline counts from the call: what finding the model and reading the image took is taken off it. */
export function callOptions(
  options: Partial<EmbedOptions>,
  priority: 'normal' | 'batch',
  started: number,
): PoolCallOptions & { readonly priority: 'interactive' | 'normal' | 'batch' } {
  const { signal, traceparent } = options;
  return { signal, traceparent, timeoutMs: timeLeft(options, started), priority: options.priority ?? priority };
}

/** Finds the model of a call, and refuses a length that it can't be cut to: before anything is read, decoded or run. */
export async function findModel(
  registry: ModelRegistry,
  action: string,
  options: Partial<EmbedOptions>,
  started: number,
): Promise<LoadedModel> {
  const { model, signal, dimensions } = options;
  const timeoutMs = timeLeft(options, started);
  const loaded = registry.ready(model) ?? (await registry.load({ model, signal, timeoutMs }));
  if (dimensions === undefined) return loaded;
  const { supportedDimensions } = await loaded.describe({ signal, timeoutMs: timeLeft(options, started) });
  if (!supportedDimensions.includes(dimensions)) {
    const supported = supportedDimensions.join(', ');
    const error = new RangeError(`${action}: dimensions must be one of ${supported}, received ${dimensions}`);
    hide(error, 'fault', 'caller');
    throw error;
  }
  return loaded;
}

/** Cuts and scales an embedding. The one that came in may be shared with other callers of the same image, and is left as it is. */
export function finish(raw: Float32Array, { dimensions, normalize }: Partial<EmbedOptions>): Float32Array {
  const vector = raw.slice(0, dimensions);
  return normalize === false ? vector : normalizeInPlace(vector);
}

/** The operations that embed one image, by what it is given as. */
const OPERATIONS = {
  path: 'embedImage',
  url: 'embedImageUrl',
  base64: 'embedImageBase64',
  bytes: 'embedImageBytes',
} as const;

/** One image, checked where the call entered. */
export interface OneImage {
  readonly action: string;
  readonly input: CheckedInput;
  readonly maxBytes: number;
}

/** Embeds an image. */
export async function embedOne(
  registry: ModelRegistry,
  image: OneImage,
  options: Partial<EmbedOneOptions>,
): Promise<Float32Array> {
  const { loaded, input, call } = await makeReady(registry, image, options);
  const { handle } = loaded;
  const send = options.wait === false ? handle.tryCall : handle.call;
  try {
    const raw = await (call.priority === 'batch'
      ? send('batchEmbedImages', input, call)
      : send(OPERATIONS[input.kind], input.input as never, call));
    return finish(raw, options);
  } catch (error) {
    throw plainError(movedError(image.action, error));
  }
}

/** The same, with the worker and the times beside the embedding. */
export async function embedOneDetailed(
  registry: ModelRegistry,
  image: OneImage,
  options: Partial<EmbedOneOptions>,
): Promise<DetailedEmbedding> {
  const { loaded, input, call } = await makeReady(registry, image, options);
  const { handle } = loaded;
  try {
    const { value, info }: { readonly value: Float32Array; readonly info: CallInfo } = await (call.priority === 'batch'
      ? handle.callDetailed('batchEmbedImages', input, call)
      : handle.callDetailed(OPERATIONS[input.kind], input.input as never, call));
    return { embedding: finish(value, options), info };
  } catch (error) {
    throw plainError(movedError(image.action, error));
  }
}

interface ReadyCall {
  readonly loaded: LoadedModel;
  readonly input: WorkerInput;
  readonly call: PoolCallOptions & { readonly priority: 'interactive' | 'normal' | 'batch' };
}

async function makeReady(
  registry: ModelRegistry,
  { action, input, maxBytes }: OneImage,
  options: Partial<EmbedOneOptions>,
): Promise<ReadyCall> {
  const started = performance.now();
  let loaded: LoadedModel;
  try {
    loaded = await findModel(registry, action, options, started);
  } catch (error) {
    if (input.kind === 'unread') discard(input);
    throw error;
  }
  if (input.kind !== 'unread') return { loaded, input, call: callOptions(options, 'normal', started) };
  const limits = { maxBytes, signal: options.signal, timeoutMs: timeLeft(options, started) };
  const bytes = await readBytes(action, input, limits);
  return { loaded, input: { kind: 'bytes', input: bytes }, call: callOptions(options, 'normal', started) };
}
