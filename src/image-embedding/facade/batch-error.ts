import { type Fault, hide, isMillraceError, MillraceError } from '../../core/index.js';

/** One image of a batch that failed. */
export interface BatchFailure {
  /** Its place in the batch. */
  readonly index: number;
  /** What was to be embedded. */
  readonly input: string;
  readonly error: Error;
}

const SHOWN = 3;

/** A path that is no string is the caller's doing, too. */
function faultOf(error: Error): Fault {
  if (isMillraceError(error)) return error.fault;
  return error instanceof TypeError ? 'caller' : 'model';
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
