import { MillraceError } from '../../core/index.js';

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

declare module '../../core/errors.js' {
  interface MillraceErrors {
    ERR_SEMAPHORE_CLOSED: AcquireError;
    ERR_SEMAPHORE_NO_PERMITS: NoPermitsError;
  }
}
