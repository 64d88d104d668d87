import { type Fault, MillraceError } from '../core/index.js';

/** No connection to a NATS server could be made, or the one there was is closed. */
export class NatsConnectionError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'NatsConnectionError';
  readonly code = 'ERR_NATS_CONNECTION' as const;
}

/** The server lacks something that bulk jobs need, such as JetStream. */
export class NatsServerError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'NatsServerError';
  readonly code = 'ERR_NATS_SERVER' as const;
}

/** No bulk run has that id. */
export class BulkRunNotFoundError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'BulkRunNotFoundError';
  readonly code = 'ERR_BULK_RUN_NOT_FOUND' as const;
  override readonly fault: Fault = 'caller';
}

/** A bulk run is submitted again with other inputs than before, so that its indices would name other things. */
export class BulkInputChangedError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'BulkInputChangedError';
  readonly code = 'ERR_BULK_INPUT_CHANGED' as const;
  override readonly fault: Fault = 'caller';
}

/** A worker's model is not the one that the run's results were made with. */
export class BulkModelMismatchError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'BulkModelMismatchError';
  readonly code = 'ERR_BULK_MODEL_MISMATCH' as const;
  override readonly fault: Fault = 'caller';
}

/** A bulk run is cancelled, or in another state in which the operation is not possible. */
export class BulkStateError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'BulkStateError';
  readonly code = 'ERR_BULK_STATE' as const;
  override readonly fault: Fault = 'caller';
}

/** A job that was begun three times and never came to an end: its worker died or lost the server each time. It is not run again. */
export class BulkPoisonError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'BulkPoisonError';
  readonly code = 'ERR_BULK_POISON' as const;
  override readonly fault: Fault = 'model';
}

/** A message of a bulk run that this version can't read. */
export class BulkFormatError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'BulkFormatError';
  readonly code = 'ERR_BULK_FORMAT' as const;
}

declare module '../core/errors.js' {
  interface MillraceErrors {
    ERR_NATS_CONNECTION: NatsConnectionError;
    ERR_NATS_SERVER: NatsServerError;
    ERR_BULK_RUN_NOT_FOUND: BulkRunNotFoundError;
    ERR_BULK_INPUT_CHANGED: BulkInputChangedError;
    ERR_BULK_MODEL_MISMATCH: BulkModelMismatchError;
    ERR_BULK_STATE: BulkStateError;
    ERR_BULK_POISON: BulkPoisonError;
    ERR_BULK_FORMAT: BulkFormatError;
  }
}
