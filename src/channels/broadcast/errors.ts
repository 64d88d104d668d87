import { MillraceError } from '../../core/index.js';

/** A receiver was too slow: values it had not read were overwritten. The next receive continues with the oldest value that is kept. */
export class LaggedError extends MillraceError {
  override readonly code = 'ERR_BROADCAST_LAGGED';
  override readonly fault = 'caller';
  /** How many values were lost to this receiver. */
  readonly skipped: number;

  constructor(skipped: number) {
    super(`Cannot receive: the receiver lags and has lost ${skipped} values`);
    this.skipped = skipped;
  }
}

declare module '../../core/errors.js' {
  interface MillraceErrors {
    ERR_BROADCAST_LAGGED: LaggedError;
  }
}
