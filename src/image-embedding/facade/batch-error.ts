import { type Fault, hide, MillraceError } from '../../core/index.js';
import type { BatchInput } from './image-input.js';

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
