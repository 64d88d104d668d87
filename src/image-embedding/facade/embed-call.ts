/** What a call of the facade adds to one of the pool: the rest of its deadline before, cutting and scaling after. */
import { hide } from '../../core/index.js';
import type { PoolCallOptions } from '../../pool/index.js';
import { normalizeInPlace } from '../embedding-vector.js';
import type { EmbedOptions } from './embed-options.js';
import type { LoadedModel } from './loaded-model.js';
import type { ModelRegistry } from './model-registry.js';

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
