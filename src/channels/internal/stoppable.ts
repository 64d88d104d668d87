/**
 * Running an operation that can be stopped from outside: the common part of `timeout` and `runUntilCancelled`.
 *
 * Invariants:
 * - The operation is told to stop before its caller is answered. A value that it had taken by then arrives, through any number of waits and wrappers:
 *   the caller is told of the stop when the operation settles without a value, or after a turn of the event loop in which no outcome was
 *   held. An operation that ignores its signal goes on, and its value is lost.
 * - The promise settles once. A stop after a value does not lose the value.
 * - Nothing is started when the stop cannot be listened to; a listener that cannot be removed in the end costs no value.
 */
import { afterQuietTurn, ignore, markHandled, settle, spend } from './budget.js';

/** The most turns to wait for an operation when each turn has a pause. */
const MAX_TURNS = 32;
/** The same for a promise, which cannot be told to stop and may never settle. */
const PROMISE_TURNS = 2;

/** Running work, or a function that starts it and is given the signal of its stop. */
export type Operation<T> = PromiseLike<T> | ((signal: AbortSignal) => PromiseLike<T> | T);

/**
 * Runs an operation until it settles or is stopped.
 *
 * @param operation The operation.
 * @param listen Is given the function that stops the operation; returns a function that stops listening.
 * @param answer Settles the promise of a stopped operation.
 */
export function runUntilStopped<T>(
  operation: Operation<T>,
  listen: (stop: (reason: unknown) => void) => () => void,
  answer: (reason: unknown, resolve: (value: T) => void, reject: (reason: unknown) => void) => void,
): Promise<T> {
  if (typeof operation !== 'function') markHandled(operation);
  return new Promise<T>((resolve, reject) => {
    const controller = typeof operation === 'function' ? new AbortController() : null;
    let forget: () => void = ignore;
    let isOver = false;
    let answerStop: (() => void) | null = null;

    const stop = (reason: unknown): void => {
      if (isOver) return;
      isOver = true;
      let why = reason;
      try {
        forget();
      } catch (error) {
        why = error;
      }
      answerStop = () => answer(why, resolve, reject);
      controller?.abort(reason);
      afterQuietTurn(answerStop, controller === null ? PROMISE_TURNS : MAX_TURNS);
    };
    const finish = (tell: () => void): void => {
      isOver = true;
      tell();
      try {
        forget();
      } catch {
        // The outcome comes first.
      }
    };

    forget = listen(stop);
    if (isOver) {
      forget();
      return;
    }
    let running: PromiseLike<T> | T;
    try {
      running = typeof operation === 'function' ? operation((controller as AbortController).signal) : operation;
    } catch (error) {
      finish(() => reject(error));
      return;
    }
    Promise.resolve(running).then(
      (value) => {
        if (answerStop !== null) resolve(value);
        else {
          spend();
          finish(() => settle(resolve, value));
        }
      },
      (error: unknown) => {
        // The failure of a stopped operation is a consequence of the stop.
        if (answerStop !== null) answerStop();
        else finish(() => reject(error));
      },
    );
  });
}
