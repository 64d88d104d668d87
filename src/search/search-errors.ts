import { type Fault, MillraceError } from '../core/index.js';

/** A folder holds no index. */
export class IndexNotFoundError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'IndexNotFoundError';
  override readonly code = 'ERR_INDEX_NOT_FOUND' as const;
  override readonly fault: Fault = 'caller';
}

/** An index, or something else, is where a new one was to be made. */
export class IndexExistsError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'IndexExistsError';
  override readonly code = 'ERR_INDEX_EXISTS' as const;
  override readonly fault: Fault = 'caller';
}

/** The files of an index contradict each other, or are of a version that this one does not read. */
export class IndexCorruptError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'IndexCorruptError';
  override readonly code = 'ERR_INDEX_CORRUPT' as const;
  override readonly fault: Fault = 'system';
}

/** Another process writes to the index. */
export class IndexLockedError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'IndexLockedError';
  override readonly code = 'ERR_INDEX_LOCKED' as const;
  override readonly fault: Fault = 'caller';
}

/** The index holds vectors of another model than the one that was asked for. */
export class IndexModelError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'IndexModelError';
  override readonly code = 'ERR_INDEX_MODEL' as const;
  override readonly fault: Fault = 'caller';
}

/** The system refused to write. The index is as it was after the last write that succeeded. */
export class IndexWriteError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'IndexWriteError';
  override readonly code = 'ERR_INDEX_WRITE' as const;
  override readonly fault: Fault = 'system';
}

/** The index was opened for reading only, or has been closed. */
export class IndexClosedError extends MillraceError {
  /** @internal */
  static override readonly name: string = 'IndexClosedError';
  override readonly code = 'ERR_INDEX_CLOSED' as const;
  override readonly fault: Fault = 'caller';
}

declare module '../core/errors.js' {
  interface MillraceErrors {
    ERR_INDEX_NOT_FOUND: IndexNotFoundError;
    ERR_INDEX_EXISTS: IndexExistsError;
    ERR_INDEX_CORRUPT: IndexCorruptError;
    ERR_INDEX_LOCKED: IndexLockedError;
    ERR_INDEX_MODEL: IndexModelError;
    ERR_INDEX_WRITE: IndexWriteError;
    ERR_INDEX_CLOSED: IndexClosedError;
  }
}
