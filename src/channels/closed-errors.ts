import { hide, MillraceError } from '../core/index.js';

abstract class UnsentError<T> extends MillraceError {
  override readonly fault = 'caller';
  /** What was not sent; hidden, so that logs do not print it. */
  declare readonly value: T;

  constructor(message: string, value: T) {
    super(message);
    hide(this, 'value', value);
  }
}

/** A send that failed because nobody can receive any more. The value comes back in {@link SendError.value}. */
export class SendError<T = unknown> extends UnsentError<T> {
  override readonly code = 'ERR_CHANNEL_CLOSED';
}

/** A send that failed because there is no room. The value comes back in {@link FullError.value}. */
export class FullError<T = unknown> extends UnsentError<T> {
  override readonly code = 'ERR_CHANNEL_FULL';
}

/** A receive that failed because nothing can be sent any more. */
export class RecvError extends MillraceError {
  override readonly code = 'ERR_CHANNEL_CLOSED';
  override readonly fault = 'caller';
}

/** A permit that was used or released before. */
export class PermitError extends MillraceError {
  override readonly code = 'ERR_PERMIT_USED';
  override readonly fault = 'caller';
}

declare module '../core/errors.js' {
  interface MillraceErrors {
    ERR_CHANNEL_CLOSED: SendError | RecvError;
    ERR_CHANNEL_FULL: FullError;
    ERR_PERMIT_USED: PermitError;
  }
}
