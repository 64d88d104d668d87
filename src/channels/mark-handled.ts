import { ignore } from './budget.js';

const { then } = Promise.prototype;

/**
 * Says of a promise that nobody has to look at it: that it rejects is no unhandled rejection. It may be of a subclass or of another realm. A thenable
 * that is no promise is left alone: its `then` may be what starts the work.
 */
export function markHandled(promise: PromiseLike<unknown>): void {
  try {
    then.call(promise, undefined, ignore);
  } catch {
    // No promise.
  }
}
