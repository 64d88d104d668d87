/** Somebody who waits for a signal; the hub calls it once. */
export interface AbortListener {
  onAbort(reason: unknown): void;
}

// Invariants:
// - A signal has one listener of ours at most, however many wait: added for the first, removed with the last. A signal's own list is searched
//   at every addition, and Node warns of a leak when it grows.
// - Nothing is held for a signal on which nobody waits.

class AbortHub extends Set<AbortListener> {
  readonly #signal: AbortSignal;

  constructor(signal: AbortSignal) {
    super();
    this.#signal = signal;
    signal.addEventListener('abort', this);
  }

  remove(listener: AbortListener): void {
    if (this.delete(listener) && this.size === 0) this.#drop();
  }

  /** The listener: an object, so that it needs no closure. */
  handleEvent(): void {
    // Whoever is taken back on the way is not told any more.
    for (const listener of this) {
      this.delete(listener);
      listener.onAbort(this.#signal.reason);
    }
    this.#drop();
  }

  #drop(): void {
    this.#signal.removeEventListener('abort', this);
    hubs.delete(this.#signal);
  }
}

const hubs = new WeakMap<AbortSignal, AbortHub>();

/** Has a listener told when the signal aborts. The signal must not have aborted yet. */
export function addAbortListener(signal: AbortSignal, listener: AbortListener): void {
  let hub = hubs.get(signal);
  if (hub === undefined) {
    hub = new AbortHub(signal);
    hubs.set(signal, hub);
  }
  hub.add(listener);
}

/** Takes a listener back; one that is not there is ignored. */
export function removeAbortListener(signal: AbortSignal, listener: AbortListener): void {
  hubs.get(signal)?.remove(listener);
}
