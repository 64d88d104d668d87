import { type Fault, hide, MillraceError, type MillraceErrorOptions } from '../core/index.js';
import { registerErrorClass, type WorkerCrashDetails, WorkerCrashedError } from '../worker/index.js';

/** No host of the service is there, or none that takes calls. Nothing was run. */
export class NoHostError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'NoHostError';
  readonly code = 'ERR_NO_HOST' as const;
  /** When a new attempt has a fair chance, in ms from now. An estimate. */
  readonly retryAfterMs: number;

  constructor(message: string, retryAfterMs: number, options?: MillraceErrorOptions) {
    super(message, options);
    this.retryAfterMs = retryAfterMs;
  }
}

/** The host that had the call is gone, and the call could not be run again: it may have run, or not. */
export class HostLostError extends WorkerCrashedError {
  /** @internal */
  static override readonly name: string = 'HostLostError';
  override readonly code: string = 'ERR_HOST_LOST';
  override readonly fault: Fault = 'system';
  /** The name of the host. */
  readonly host: string;

  constructor(message: string, host: string, details?: WorkerCrashDetails) {
    super(message, details);
    this.host = host;
  }
}

/** The call was run, and its answer was lost on the way: the host does not have it any more. It is not known how it ended. */
export class AnswerLostError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'AnswerLostError';
  readonly code = 'ERR_ANSWER_LOST' as const;
  /** The name of the host. */
  readonly host: string;

  constructor(message: string, host: string) {
    super(message);
    this.host = host;
  }
}

/** The host does not offer the operation, or not to calls from other machines. */
export class NotServedError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'NotServedError';
  readonly code = 'ERR_NOT_SERVED' as const;
  override readonly fault: Fault = 'caller';
  /** The name that was called. */
  readonly operation: string;

  constructor(message: string, operation: string) {
    super(message);
    this.operation = operation;
  }
}

/** An input or an output is larger than may cross between machines. */
export class PayloadTooLargeError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'PayloadTooLargeError';
  readonly code = 'ERR_PAYLOAD_TOO_LARGE' as const;
  override readonly fault: Fault = 'caller';
  readonly bytes: number;
  readonly maxBytes: number;

  constructor(message: string, bytes: number, maxBytes: number) {
    super(message);
    this.bytes = bytes;
    this.maxBytes = maxBytes;
  }
}

/** A message is not what the protocol says, or is of a version that this side does not speak. */
export class RemoteProtocolError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'RemoteProtocolError';
  readonly code = 'ERR_REMOTE_PROTOCOL' as const;
}

/** A value that cannot be written as a message: its caller's fault, as where structured clone refuses one. */
export function notCloneable(what: string): DOMException {
  const error = new DOMException(`${what} could not be sent to another machine`, 'DataCloneError');
  hide(error, 'fault', 'caller');
  return error;
}

for (const each of [
  NoHostError,
  HostLostError,
  AnswerLostError,
  NotServedError,
  PayloadTooLargeError,
  RemoteProtocolError,
]) {
  registerErrorClass(each);
}

declare module '../core/errors.js' {
  interface MillraceErrors {
    ERR_NO_HOST: NoHostError;
    ERR_HOST_LOST: HostLostError;
    ERR_ANSWER_LOST: AnswerLostError;
    ERR_NOT_SERVED: NotServedError;
    ERR_PAYLOAD_TOO_LARGE: PayloadTooLargeError;
    ERR_REMOTE_PROTOCOL: RemoteProtocolError;
  }
}
