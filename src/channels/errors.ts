/**
 * Every error of this layer: one class for each failure that a caller can act on.
 */
import { hide, MillraceError } from '../core/index.js';

/** The base of the errors that hand a value back. */
abstract class UnsentError<T> extends MillraceError {
  override readonly fault = 'caller';
  /** The value that was not sent or set; hidden, so that logs do not print it. */
  declare readonly value: T;

  constructor(message: string, value: T) {
    super(message);
    hide(this, 'value', value);
  }
}

/** A send failed because the channel is closed. {@link SendError.value} holds the value. */
export class SendError<T = unknown> extends UnsentError<T> {
  /** @internal */
  static override readonly name: string = 'SendError';
  override readonly code = 'ERR_CHANNEL_CLOSED';
}

/** A send failed because the channel is full. {@link FullError.value} holds the value. */
export class FullError<T = unknown> extends UnsentError<T> {
  /** @internal */
  static override readonly name: string = 'FullError';
  override readonly code = 'ERR_CHANNEL_FULL';
}

/** A receive failed because the channel has ended. */
export class RecvError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'RecvError';
  override readonly code = 'ERR_CHANNEL_CLOSED';
  override readonly fault = 'caller';
}

/** A permit was used or released before. */
export class PermitError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'PermitError';
  override readonly code = 'ERR_PERMIT_USED';
  override readonly fault = 'caller';
}

/** Time ran out. A timed-out send hands its value back in {@link TimeoutError.value}. */
export class TimeoutError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'TimeoutError';
  override readonly code = 'ERR_TIMEOUT';
  /** The value that a timed-out send did not send; hidden, so that logs do not print it. */
  declare readonly value?: unknown;

  constructor(message: string, value?: unknown) {
    super(message);
    if (value !== undefined) hide(this, 'value', value);
  }
}

/** A broadcast receiver was too slow: values were overwritten before it read them. The next receive gives the oldest value that is kept. */
export class LaggedError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'LaggedError';
  override readonly code = 'ERR_BROADCAST_LAGGED';
  override readonly fault = 'caller';
  /** The number of values that this receiver lost. */
  readonly skipped: number;

  constructor(skipped: number) {
    super(`Cannot receive: the receiver lags and has lost ${skipped} values`);
    this.skipped = skipped;
  }
}

/**
 * A value was sent into a watch channel from within its own `sendModify` or `sendIfModified` callback, so that one of the two values would be
 * lost. {@link ModifyingError.value} holds the value that was sent.
 */
export class ModifyingError<T = unknown> extends UnsentError<T> {
  /** @internal */
  static override readonly name: string = 'ModifyingError';
  override readonly code = 'ERR_WATCH_MODIFYING';
}

/** Permits were requested from a closed semaphore. */
export class AcquireError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'AcquireError';
  override readonly code = 'ERR_SEMAPHORE_CLOSED';
  override readonly fault = 'caller';
}

/** {@link Semaphore.tryAcquire} found too few permits. */
export class NoPermitsError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'NoPermitsError';
  override readonly code = 'ERR_SEMAPHORE_NO_PERMITS';
  override readonly fault = 'caller';
}

/** {@link OnceCell.set} found a value in the cell. {@link AlreadyInitializedError.value} holds the value that was not set. */
export class AlreadyInitializedError<T = unknown> extends UnsentError<T> {
  /** @internal */
  static override readonly name: string = 'AlreadyInitializedError';
  override readonly code = 'ERR_ONCE_CELL_INITIALIZED';
}

/** {@link OnceCell.set} found a running initialiser. {@link InitializingError.value} holds the value that was not set. */
export class InitializingError<T = unknown> extends UnsentError<T> {
  /** @internal */
  static override readonly name: string = 'InitializingError';
  override readonly code = 'ERR_ONCE_CELL_INITIALIZING';
}

/** A stream or an iterable that feeds a channel broke its protocol, or failed when it was released. The `cause` says how. */
export class StreamSourceError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'StreamSourceError';
  override readonly code = 'ERR_STREAM_SOURCE';
}

/** The other side of a bridged port is gone, or the bridge was closed. */
export class PortClosedError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'PortClosedError';
  override readonly code = 'ERR_PORT_CLOSED';
}

/** The two sides of a bridged port do not agree: on the capacity of a channel, or on what a message means. */
export class PortProtocolError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'PortProtocolError';
  override readonly code = 'ERR_PORT_PROTOCOL';
}

declare module '../core/errors.js' {
  interface MillraceErrors {
    ERR_CHANNEL_CLOSED: SendError | RecvError;
    ERR_CHANNEL_FULL: FullError;
    ERR_PERMIT_USED: PermitError;
    ERR_TIMEOUT: TimeoutError;
    ERR_BROADCAST_LAGGED: LaggedError;
    ERR_WATCH_MODIFYING: ModifyingError;
    ERR_SEMAPHORE_CLOSED: AcquireError;
    ERR_SEMAPHORE_NO_PERMITS: NoPermitsError;
    ERR_ONCE_CELL_INITIALIZED: AlreadyInitializedError;
    ERR_ONCE_CELL_INITIALIZING: InitializingError;
    ERR_STREAM_SOURCE: StreamSourceError;
    ERR_PORT_CLOSED: PortClosedError;
    ERR_PORT_PROTOCOL: PortProtocolError;
  }
}
