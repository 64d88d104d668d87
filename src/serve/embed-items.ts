/** Embeds what a request holds: pictures by their bytes or URLs, and texts where a model reads them. */
import { isMillraceError } from '../core/index.js';
import type { DetailedEmbedding } from '../image-embedding/index.js';
import { normalizeInPlace } from '../image-embedding/internal.js';
import type { Admission, ItemOutcome } from './admission.js';
import type { ServedModel } from './catalog.js';
import { refusalOf } from './failures.js';
import type { Refusal } from './http/refusal.js';
import type { ServePool } from './serve-pool.js';

/** One thing to embed, and where it stands in the request. */
export type EmbedItem =
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array; readonly param: string }
  | { readonly kind: 'url'; readonly url: URL; readonly param: string }
  | { readonly kind: 'text'; readonly text: string; readonly param: string };

/** How the items of a request are embedded. */
export interface EmbedSettings {
  readonly model: ServedModel;
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
  readonly normalize?: boolean | undefined;
  /** One of the model's `supportedDimensions`. */
  readonly dimensions?: number | undefined;
  readonly traceparent?: string | undefined;
}

/** Told of each item that was answered. */
export type ItemListener = (item: EmbedItem, result: DetailedEmbedding | undefined, error: Refusal | undefined) => void;

/** Embeds all items; the first that fails fails all, and the others are given up. */
export async function embedItems(
  pool: ServePool,
  admission: Admission,
  items: readonly EmbedItem[],
  { model, signal, timeoutMs, normalize, dimensions, traceparent }: EmbedSettings,
  onItem: ItemListener,
): Promise<Float32Array[]> {
  signal.throwIfAborted();
  admission.enter(items.length);
  const controller = new AbortController();
  const onLeave = (): void => controller.abort(signal.reason);
  signal.addEventListener('abort', onLeave);
  const call = {
    ...(model.source === undefined ? {} : { model: model.source }),
    signal: controller.signal,
    timeoutMs,
    // Many images of one request give way to single ones, inside a worker, too.
    priority: items.length > 1 ? 'batch' : 'normal',
    ...(traceparent === undefined ? {} : { traceparent }),
  } as const;
  const form = {
    ...(normalize === undefined ? {} : { normalize }),
    ...(dimensions === undefined ? {} : { dimensions }),
  };
  const run = async (item: EmbedItem): Promise<[Float32Array, DetailedEmbedding | undefined]> => {
    if (item.kind === 'text') {
      const vector = await pool.embedText(item.text, call);
      return [dimensions === undefined ? vector : normalizeInPlace(vector.slice(0, dimensions)), undefined];
    }
    const result = await pool.embedImageDetailed(item.kind === 'url' ? item.url : item.bytes, { ...call, ...form });
    return [result.embedding, result];
  };
  const embedOne = async (item: EmbedItem): Promise<Float32Array> => {
    let outcome: ItemOutcome = 'failed';
    try {
      const [vector, result] = await run(item);
      outcome = 'succeeded';
      onItem(item, result, undefined);
      return vector;
    } catch (error) {
      if (controller.signal.aborted) {
        outcome = 'cancelled';
        throw error;
      }
      if (isMillraceError(error, 'ERR_DEADLINE_EXCEEDED')) outcome = 'expired';
      const refusal = refusalOf(error, item.param === '' ? undefined : item.param);
      onItem(item, undefined, refusal);
      controller.abort(refusal);
      throw refusal;
    } finally {
      admission.leave(outcome);
    }
  };
  try {
    const settled = await Promise.allSettled(items.map(embedOne));
    if (controller.signal.aborted) throw controller.signal.reason;
    return settled.map((each) => (each as PromiseFulfilledResult<Float32Array>).value);
  } finally {
    signal.removeEventListener('abort', onLeave);
  }
}
