/** Where a promise stands once every microtask has run: 'pending' is what the conformance list calls pending. */
export async function stateOf(promise: PromiseLike<unknown>): Promise<'pending' | 'fulfilled' | 'rejected'> {
  let state: 'pending' | 'fulfilled' | 'rejected' = 'pending';
  promise.then(
    () => {
      state = 'fulfilled';
    },
    () => {
      state = 'rejected';
    },
  );
  await idle();
  return state;
}

/** Lets every microtask run, and what they queue. */
export function idle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** An AbortSignal that counts the listeners on it. */
export function countingSignal(): { signal: AbortSignal; controller: AbortController; listeners: () => number } {
  const controller = new AbortController();
  const { signal } = controller;
  let count = 0;
  const add = signal.addEventListener.bind(signal);
  const remove = signal.removeEventListener.bind(signal);
  const known = new Set<unknown>();
  signal.addEventListener = ((type: string, listener: unknown, options: unknown) => {
    if (!known.has(listener)) {
      known.add(listener);
      count++;
    }
    (add as (...args: unknown[]) => void)(type, listener, options);
  }) as typeof signal.addEventListener;
  signal.removeEventListener = ((type: string, listener: unknown, options: unknown) => {
    if (known.delete(listener)) count--;
    (remove as (...args: unknown[]) => void)(type, listener, options);
  }) as typeof signal.removeEventListener;
  return { signal, controller, listeners: () => count };
}
