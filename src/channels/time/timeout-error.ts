import { hide, MillraceError } from '../../core/index.js';

/** Time ran out. A timed-out send carries what it did not send in {@link TimeoutError.value}. */
export class TimeoutError extends MillraceError {
  override readonly code = 'ERR_TIMEOUT';
  /** What a timed-out send did not send; hidden, so that logs do not print it. */
  declare readonly value?: unknown;

  constructor(message: string, value?: unknown) {
    super(message);
    if (value !== undefined) hide(this, 'value', value);
  }
}

declare module '../../core/errors.js' {
  interface MillraceErrors {
    ERR_TIMEOUT: TimeoutError;
  }
}
