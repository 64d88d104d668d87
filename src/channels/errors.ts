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

declare module '../core/errors.js' {
  interface MillraceErrors {
    ERR_TIMEOUT: TimeoutError;
  }
}

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

declare module '../core/errors.js' {
  interface MillraceErrors {
    ERR_BROADCAST_LAGGED: LaggedError;
  }
}

/**
 * A value was sent while `sendModify` or `sendIfModified` of the same channel changes it: one of the two would be lost. What was not sent is in
 * {@link ModifyingError.value}.
 */
export class ModifyingError<T = unknown> extends MillraceError {
  override readonly code = 'ERR_WATCH_MODIFYING';
  override readonly fault = 'caller';
  /** What was not sent; hidden, so that logs do not print it. */
  declare readonly value: T;

  constructor(message: string, value: T) {
    super(message);
    hide(this, 'value', value);
  }
}

declare module '../core/errors.js' {
  interface MillraceErrors {
    ERR_WATCH_MODIFYING: ModifyingError;
  }
}

/** A permit cannot be had, because the semaphore is closed. */
export class AcquireError extends MillraceError {
  override readonly code = 'ERR_SEMAPHORE_CLOSED';
  override readonly fault = 'caller';
}

/** {@link Semaphore.tryAcquire} found too few permits. */
export class NoPermitsError extends MillraceError {
  override readonly code = 'ERR_SEMAPHORE_NO_PERMITS';
  override readonly fault = 'caller';
}

declare module '../core/errors.js' {
  interface MillraceErrors {
    ERR_SEMAPHORE_CLOSED: AcquireError;
    ERR_SEMAPHORE_NO_PERMITS: NoPermitsError;
  }
}
