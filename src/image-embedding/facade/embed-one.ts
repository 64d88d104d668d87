/** Options of calls, and the embedding of one image. */
import {
  fillOptions,
  hide,
  millisecondsOrInfinity,
  type OptionTable,
  oneOf,
  option,
  requireBoolean,
  requirePositiveInteger,
  requireString,
  workingSignal,
} from '../../core/index.js';
import type { CallInfo, PoolCallOptions } from '../../pool/index.js';
import { normalizeInPlace } from '../embedding-vector.js';
import { type ModelSource, modelSource } from '../model/resolve-model.js';
import type { CheckedInput, WorkerInput } from './image-input.js';
import { type LoadedModel, plainError } from './loaded-model.js';
import type { ModelLookup } from './model-registry.js';
import { discard, movedError, readBytes } from './read-bytes.js';

/** Options of every call that embeds. */
export interface EmbedOptions {
  /** The model: a key of `models`, or any value that the pool's `model` accepts. */
  readonly model?: ModelSource | undefined;
  /** Cancels the call. */
  readonly signal?: AbortSignal | undefined;
  /** The deadline of the call in ms; 30,000 by default. */
  readonly timeoutMs?: number | undefined;
  /** The priority class; by default `'normal'` for single images and `'batch'` for many. Workers, too, run `'batch'` after the others. */
  readonly priority?: 'interactive' | 'normal' | 'batch' | undefined;
  /** Whether the embedding is scaled to length 1, true by default. */
  readonly normalize?: boolean | undefined;
  /** Truncates the embedding to this length, for models that were trained for it; the full length by default. */
  readonly dimensions?: number | undefined;
  /** The caller's W3C `traceparent`, which goes with the request to its worker and to the pool's diagnostics. */
  readonly traceparent?: string | undefined;
}

/** Options of calls that embed one image. */
export interface EmbedOneOptions extends EmbedOptions {
  /** Whether the call waits while its queue is full. With false it rejects at once with `PoolOverloadedError`. True by default. */
  readonly wait?: boolean | undefined;
}

/** Options of {@link ImageEmbeddingPool.embedText}. */
export type EmbedTextOptions = Pick<EmbedOptions, 'model' | 'signal' | 'timeoutMs' | 'priority' | 'traceparent'>;

/** An embedding with details of its call. */
export interface DetailedEmbedding {
  readonly embedding: Float32Array;
  /** The worker, the times, and whether the run was shared with an identical image. */
  readonly info: CallInfo;
}

/** Options of {@link ImageEmbeddingPool.batchEmbedImages}. */
export interface BatchEmbedOptions extends EmbedOptions {
  /** Whether each image has its own result, so that a failed one does not fail the call. False by default. */
  readonly settle?: boolean | undefined;
}

/** Options of {@link ImageEmbeddingPool.embedImages}. */
export interface EmbedImagesOptions extends EmbedOptions {
  /** The most images in progress, results that are not yet consumed included; two batches per worker by default. */
  readonly concurrency?: number | undefined;
  /** Whether results keep the order of the source. True by default; with false they come as they finish. */
  readonly ordered?: boolean | undefined;
}

/** Options of {@link ImageEmbeddingPool.warm}. */
export interface WarmOptions {
  readonly model?: ModelSource | undefined;
  /** The number of workers; the maximum of the model by default. */
  readonly workers?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

const TEXT_OPTIONS: OptionTable<EmbedTextOptions> = {
  model: option(modelSource),
  signal: option(workingSignal),
  timeoutMs: option(millisecondsOrInfinity),
  priority: option(oneOf(['interactive', 'normal', 'batch'])),
  traceparent: option(requireString),
};

/** The option table of every call that embeds. */
export const EMBED_OPTIONS: OptionTable<EmbedOptions> = {
  ...TEXT_OPTIONS,
  normalize: option(requireBoolean),
  dimensions: option(requirePositiveInteger),
};

const EMBED_ONE_OPTIONS: OptionTable<EmbedOneOptions> = { ...EMBED_OPTIONS, wait: option(requireBoolean) };

const WARM_OPTIONS: OptionTable<WarmOptions> = {
  model: option(modelSource),
  workers: option(requirePositiveInteger),
  signal: option(workingSignal),
};

/** Checks the options of a call for one image. */
export function requireEmbedOneOptions(action: string, options: EmbedOneOptions | undefined): EmbedOneOptions {
  return fillOptions(action, options, EMBED_ONE_OPTIONS);
}

/** Checks the options of {@link ImageEmbeddingPool.warm}. */
export function requireWarmOptions(action: string, options: WarmOptions | undefined): WarmOptions {
  return fillOptions(action, options, WARM_OPTIONS);
}

/** Checks the options of {@link ImageEmbeddingPool.embedText}. */
export function requireTextOptions(action: string, options: EmbedTextOptions | undefined): EmbedTextOptions {
  return fillOptions(action, options, TEXT_OPTIONS);
}

/** The time left of a call's deadline; undefined without a deadline of its own. */
export function timeLeft({ timeoutMs }: EmbedOptions, started: number): number | undefined {
  return timeoutMs === undefined ? undefined : Math.max(0, Math.ceil(timeoutMs - (performance.now() - started)));
}

/** The options of the pool's call. The deadline counts from `started`, so resolving the model and reading the image are deducted. */
export function callOptions(
  options: EmbedOptions,
  priority: 'normal' | 'batch',
  started: number,
): PoolCallOptions & { readonly priority: 'interactive' | 'normal' | 'batch' } {
  const { signal, traceparent } = options;
  return { signal, traceparent, timeoutMs: timeLeft(options, started), priority: options.priority ?? priority };
}

/** Resolves the model of a call. Unsupported `dimensions` are refused here, before anything is read, decoded or run. */
export async function findModel(
  registry: ModelLookup,
  action: string,
  options: EmbedOptions,
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

/** Truncates and normalises a copy: the original may be shared with other callers of the same image. */
export function finish(raw: Float32Array, { dimensions, normalize }: EmbedOptions): Float32Array {
  const vector = raw.slice(0, dimensions);
  return normalize === false ? vector : normalizeInPlace(vector);
}

/** The operation for each kind of input. */
const OPERATIONS = {
  path: 'embedImage',
  url: 'embedImageUrl',
  base64: 'embedImageBase64',
  bytes: 'embedImageBytes',
} as const;

/** One image with its checked input. */
export interface OneImage {
  readonly action: string;
  readonly input: CheckedInput;
  readonly maxBytes: number;
}

/** Embeds an image. */
export async function embedOne(
  registry: ModelLookup,
  image: OneImage,
  options: EmbedOneOptions,
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

/** Embeds an image and returns the call's worker and times too. */
export async function embedOneDetailed(
  registry: ModelLookup,
  image: OneImage,
  options: EmbedOneOptions,
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
  registry: ModelLookup,
  { action, input, maxBytes }: OneImage,
  options: EmbedOneOptions,
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
