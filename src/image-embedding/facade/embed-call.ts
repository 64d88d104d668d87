/** What a call of the facade adds to one of the pool: the rest of its deadline before, cutting and scaling after. */
import { normalizeInPlace } from '../embedding-vector.js';
import type { LoadedModel } from './loaded-model.js';
import type { EmbedOptions } from './embed-options.js';

/** The deadline counts from the call: what finding the model took is taken off it. */
export function callOptions(
  options: Partial<EmbedOptions>,
  priority: 'normal' | 'batch',
  elapsedMs: number,
): { priority: 'interactive' | 'normal' | 'batch'; signal?: AbortSignal; timeoutMs?: number } {
  const { signal, timeoutMs } = options;
  return {
    priority: options.priority ?? priority,
    ...(signal === undefined ? {} : { signal }),
    ...(timeoutMs === undefined ? {} : { timeoutMs: Math.max(0, Math.ceil(timeoutMs - elapsedMs)) }),
  };
}

/** Cuts and scales an embedding. The one that came in may be shared with other callers of the same image, and is left as it is. */
export function finish(raw: Float32Array, options: Partial<EmbedOptions>, { spec }: LoadedModel): Float32Array {
  const { dimensions, normalize } = options;
  if (dimensions !== undefined && dimensions !== raw.length && !spec.dimensions.includes(dimensions)) {
    const supported = [raw.length, ...spec.dimensions.filter((each) => each < raw.length)].join(', ');
    throw new RangeError(`Cannot embed image: dimensions must be one of ${supported}, received ${dimensions}`);
  }
  const vector = raw.slice(0, dimensions);
  return normalize === false ? vector : normalizeInPlace(vector);
}
