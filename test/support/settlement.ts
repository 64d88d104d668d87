/** What becomes of promises, and the turns of the event loop in which it shows. */
import { getEventListeners } from 'node:events';

/** Passes one turn of the event loop: every microtask has run, and what they queued. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Lets the microtask queue drain, and what was held back for a pause of the channels' budget. */
export async function drained(): Promise<void> {
  await turn();
  await turn();
}

/** The state of a promise once the microtask queue has drained. */
export async function stateOf(promise: PromiseLike<unknown>): Promise<'pending' | 'fulfilled' | 'rejected'> {
  let state: 'pending' | 'fulfilled' | 'rejected' = 'pending';
  Promise.resolve(promise).then(
    () => {
      state = 'fulfilled';
    },
    () => {
      state = 'rejected';
    },
  );
  await drained();
  return state;
}

/** What a promise rejects with. */
export async function reasonOf(promise: PromiseLike<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error('it did not reject');
}

/** How a promise has settled. */
export function settled<T>(promise: Promise<T>): Promise<{ readonly value?: T; readonly error?: unknown }> {
  return promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );
}

/** A promise and what settles it. */
export function deferred<T = void>(): {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (reason: unknown) => void;
} {
  let resolve!: (value: T) => void;
  let reject!: (reason: unknown) => void;
  const promise = new Promise<T>((done, failed) => {
    resolve = done;
    reject = failed;
  });
  return { promise, resolve, reject };
}

/** What a function throws. */
export function thrownBy(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  throw new Error('it did not throw');
}

/** The unhandled rejections and uncaught exceptions of a run, and of the turns after it. */
export async function unheardOf(run: () => unknown): Promise<unknown[]> {
  const unheard: unknown[] = [];
  const listen = (reason: unknown): void => void unheard.push(reason);
  process.on('unhandledRejection', listen);
  process.on('uncaughtException', listen);
  try {
    await run();
    await drained();
  } finally {
    process.off('unhandledRejection', listen);
    process.off('uncaughtException', listen);
  }
  return unheard;
}

/** A signal, and how many listeners are on it. */
export function countingSignal(): { signal: AbortSignal; controller: AbortController; listeners: () => number } {
  const controller = new AbortController();
  const { signal } = controller;
  return { signal, controller, listeners: () => getEventListeners(signal, 'abort').length };
}
