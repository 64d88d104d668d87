/**
 * Running an operation that can be stopped from outside: what `timeout` and `runUntilCancelled` have in common.
 *
 * Invariants:
 * - The operation is told before its caller is. A value that it had taken by then arrives all the same, however many waits and wrappers it has to
 *   pass: the caller is answered that it was stopped when the operation settles without a value, or when a turn of the event loop has passed in
 *   which no settlement was held back. An operation that does not heed its signal goes on, and what it gives is lost.
 * - It settles once. A value that came first is not lost to a stop after it.
 * - Nothing is started when what stops it can't be listened to; what can't be taken back in the end costs no value.
 */
import { afterQuietTurn, ignore, markHandled, settle, spend } from './budget.js';

/** As many turns are waited for at most when each of them has a pause. */
const MAX_TURNS = 32;
/** The same for a promise, which can't be told and may take for ever. */
const PROMISE_TURNS = 2;

/** Work that is under way, or a function that starts it and is given the signal of its stop. */
export type Operation<T> = PromiseLike<T> | ((signal: AbortSignal) => PromiseLike<T> | T);

/**
 * Runs an operation until it settles or is stopped.
 *
 * @param operation What to run.
 * @param listen Is given what stops it, and answers how to stop listening.
 * @param answer Settles the promise of one that was stopped.
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
        // What it makes of being stopped is not news.
        if (answerStop !== null) answerStop();
        else finish(() => reject(error));
      },
    );
  });
}
