import { type AbortListener, addAbortListener, removeAbortListener } from '../core/index.js';

/** When a waiter gives up, though what it waits for goes on for others. */
export interface WaitLimit {
  readonly ms: number;
  /** The error that the wait then ends with. */
  readonly error: () => Error;
}

/** Waits for what several wait for, no longer than one of them wants to. */
export function waitFor<T>(shared: Promise<T>, signal: AbortSignal | undefined, limit?: WaitLimit): Promise<T> {
  if (signal === undefined && limit === undefined) return shared;
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      // It may fail yet, and has no waiter then.
      shared.catch(() => {});
      reject(signal.reason);
      return;
    }
    const isTimed = limit !== undefined && limit.ms <= 2 ** 31 - 1;
    const timer = isTimed ? setTimeout(() => fail(limit.error()), limit.ms) : undefined;
    const end = (): void => {
      clearTimeout(timer);
      if (signal !== undefined) removeAbortListener(signal, listener);
    };
    const fail = (reason: unknown): void => {
      end();
      reject(reason);
    };
    const listener: AbortListener = { onAbort: fail };
    if (signal !== undefined) addAbortListener(signal, listener);
    shared.then((value) => {
      end();
      resolve(value);
    }, fail);
  });
}
