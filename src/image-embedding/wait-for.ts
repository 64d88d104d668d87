/** When somebody who waits gives up, though what is waited for goes on for others. */
export interface WaitLimit {
  readonly ms: number;
  /** The error that the wait then ends with. */
  readonly error: () => Error;
}

/** Waits for what several wait for, no longer than one of them wants to. */
export function waitFor<T>(shared: Promise<T>, signal: AbortSignal | undefined, limit?: WaitLimit): Promise<T> {
  if (signal === undefined && limit === undefined) return shared;
  signal?.throwIfAborted();
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal?.reason);
    const isTimed = limit !== undefined && limit.ms <= 2 ** 31 - 1;
    const timer = isTimed ? setTimeout(() => reject(limit.error()), limit.ms) : undefined;
    signal?.addEventListener('abort', onAbort, { once: true });
    shared.then(resolve, reject).finally(() => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    });
  });
}
