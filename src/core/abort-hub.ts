/**
 * Waiting for an `AbortSignal`.
 *
 * Invariants:
 * - A signal has at most one listener of ours, added for the first waiter and removed with the last: a signal searches its list at every
 *   addition, and Node warns of a leak when it grows.
 * - A signal without waiters has no entry.
 * - The listener closes over its signal: `this` and the event differ between hosts.
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

/** Adds a listener for the abort of a signal that has not aborted yet. */
export function addAbortListener(signal: AbortSignal, listener: AbortListener): void {
  const { all } = waiting.get(signal) ?? listenTo(signal);
  all.add(listener);
}

/** Removes a listener; an unknown one is ignored. */
export function removeAbortListener(signal: AbortSignal, listener: AbortListener): void {
  const listeners = waiting.get(signal);
  if (listeners?.all.delete(listener) && listeners.all.size === 0) forget(signal, listeners);
}

function listenTo(signal: AbortSignal): Listeners {
  const all = new Set<AbortListener>();
  const tellAll = (): void => {
    // A listener that another one removes is not called.
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
    // A signal of the user's own class may throw. A listener that stays has nothing to call.
  }
}
