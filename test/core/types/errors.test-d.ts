/** What `isMillraceError` narrows to, and which codes it takes. Compiled by `npm run types`; nothing here runs. */
import {
  type ErrorCode,
  type ErrorOf,
  isMillraceError,
  type MillraceError,
  type PoolOverloadedError,
  type RecvError,
  type SendError,
} from '../../../src/index.js';

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function holds<_T extends true>(): void {}

export function narrow(error: unknown, known: MillraceError, dynamic: ErrorCode): string {
  if (isMillraceError(error, 'ERR_POOL_OVERLOADED')) {
    holds<typeof error extends PoolOverloadedError ? true : false>();
    holds<Equal<typeof error.code, 'ERR_POOL_OVERLOADED'>>();
    return `${error.retryAfterMs}`;
  }
  if (isMillraceError(error, 'ERR_CHANNEL_CLOSED')) {
    holds<typeof error extends SendError | RecvError ? true : false>();
    if ('value' in error) return String(error.value);
  }
  if (isMillraceError(error, 'ERR_WORKER_CRASHED')) holds<Equal<typeof error.code, 'ERR_WORKER_CRASHED'>>();
  if (isMillraceError(error, dynamic)) return error.code;
  // The other branch is what it was.
  if (isMillraceError(known, 'ERR_TIMEOUT')) return known.message;
  if (isMillraceError(known)) holds<Equal<typeof known.code, ErrorCode>>();
  else return known.message;
  // @ts-expect-error: no such code
  isMillraceError(error, 'ERR_POOL_OVERLOADDED');
  // @ts-expect-error: any text is no code
  isMillraceError(error, String(error));
  return known.message;
}

/** A switch over the codes of some errors is exhaustive. */
export function describe(error: ErrorOf<'ERR_TIMEOUT' | 'ERR_CHANNEL_FULL' | 'ERR_BREAKER_OPEN'>): string {
  switch (error.code) {
    case 'ERR_TIMEOUT':
      return error.message;
    case 'ERR_CHANNEL_FULL':
      return String(error.value);
    case 'ERR_BREAKER_OPEN':
      return `${error.retryAfterMs}`;
  }
}

/** A switch over all of them knows each, and what is left is nobody's. */
export function every(error: unknown): string {
  if (!isMillraceError(error)) return 'unknown';
  switch (error.code) {
    case 'ERR_IMAGE_NOT_FOUND':
    case 'ERR_SEMAPHORE_CLOSED':
    case 'ERR_BROADCAST_LAGGED':
      return error.code;
    default:
      holds<'ERR_TIMEOUT' extends typeof error.code ? true : false>();
      holds<'ERR_BROADCAST_LAGGED' extends typeof error.code ? false : true>();
      return error.message;
  }
}
