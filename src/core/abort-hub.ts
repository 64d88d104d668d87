/**
 * Waiting for an `AbortSignal`.
 *
 * Invariants:
 * - A signal has one listener of ours at most, however many wait: added for the first, removed with the last. A signal's own list is searched
 *   at every addition, and Node warns of a leak when it grows.
 * - Nothing is held for a signal without waiters.
 * - The listener knows its signal by itself: neither `this` nor the event it is called with is the same on every host.
 */
/** A waiter of a signal, called once. */
export interface AbortListener {
  onAbort(reason: unknown): void;
}

interface Listeners {
  readonly all: Set<AbortListener>;
  readonly tellAll: () => void;
}

const waiting = new WeakMap<AbortSignal, Listeners>();

/** Has a listener told when the signal aborts. The signal must not have aborted yet. */
export function addAbortListener(signal: AbortSignal, listener: AbortListener): void {
  const { all } = waiting.get(signal) ?? listenTo(signal);
  all.add(listener);
}

/** Takes a listener back; one that is not there is ignored. */
export function removeAbortListener(signal: AbortSignal, listener: AbortListener): void {
  const listeners = waiting.get(signal);
  if (listeners?.all.delete(listener) && listeners.all.size === 0) forget(signal, listeners);
}

function listenTo(signal: AbortSignal): Listeners {
  const all = new Set<AbortListener>();
  const tellAll = (): void => {
    // A listener that is removed on the way is not called any more.
    for (const listener of all) {
      all.delete(listener);
      listener.onAbort(signal.reason);
    }
    forget(signal, listeners);
  };
  const listeners = { all, tellAll };
  signal.addEventListener('abort', tellAll);
  waiting.set(signal, listeners);
  return listeners;
}

function forget(signal: AbortSignal, { tellAll }: Listeners): void {
  waiting.delete(signal);
  try {
    signal.removeEventListener('abort', tellAll);
  } catch {
    // The signal is one of the user's own. A listener that stays on it finds nothing to call.
  }
}
