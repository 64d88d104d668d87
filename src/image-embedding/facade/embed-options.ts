/** What calls of an image embedding pool can be told, checked once. */
import {
  requireBoolean,
  requireMilliseconds,
  requireOneOf,
  requireOptions,
  requirePositiveInteger,
  requireString,
  requireWorkingSignal,
} from '../../core/index.js';
import type { CallInfo } from '../../pool/index.js';
import { type ModelSource, requireModelSource } from '../model/resolve-model.js';

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
