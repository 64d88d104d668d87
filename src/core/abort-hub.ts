/**
 * Waiting for an `AbortSignal`.
 *
 * Invariants:
 * - A signal has one listener of ours at most, however many wait: added for the first, removed with the last. A signal's own list is searched
 *   at every addition, and Node warns of a leak when it grows.
 * - Nothing is held for a signal on which nobody waits.
 */
/** Somebody who waits for a signal, and is told once. */
export interface AbortListener {
  onAbort(reason: unknown): void;
}

const waiting = new WeakMap<AbortSignal, Set<AbortListener>>();

/** Has a listener told when the signal aborts. The signal must not have aborted yet. */
export function addAbortListener(signal: AbortSignal, listener: AbortListener): void {
  let listeners = waiting.get(signal);
  if (listeners === undefined) {
    listeners = new Set();
    waiting.set(signal, listeners);
    signal.addEventListener('abort', tellAll);
  }
  listeners.add(listener);
}

/** Takes a listener back; one that is not there is ignored. */
export function removeAbortListener(signal: AbortSignal, listener: AbortListener): void {
  const listeners = waiting.get(signal);
  if (listeners?.delete(listener) && listeners.size === 0) forget(signal);
}

function tellAll(this: AbortSignal): void {
  // Whoever is taken back on the way is not told any more.
  waiting.get(this)?.forEach((listener, _, listeners) => {
    listeners.delete(listener);
    listener.onAbort(this.reason);
  });
  forget(this);
}

function forget(signal: AbortSignal): void {
  waiting.delete(signal);
  signal.removeEventListener('abort', tellAll);
}
