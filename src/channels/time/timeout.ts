import {
  type AbortListener,
  addAbortListener,
  removeAbortListener,
  type Clock,
  faultOf,
  requireDuration,
  requireOptions,
  requireSignal,
  systemClock,
} from '../../core/index.js';
import { RecvError, TimeoutError } from '../errors.js';
import { markHandled, rejected } from '../internal/budget.js';
import { requireClock } from '../internal/wait.js';
import { type Operation, runUntilStopped } from '../internal/stoppable.js';
import type { ArmValue } from '../select/plan.js';
import { select } from '../select/select.js';
import type { Selectable } from '../select/selectable.js';
import { withEnd } from '../select/with-end.js';
import { Sleep } from './sleep.js';

/** The options of {@link timeout}. */
export interface TimeoutOptions {
  /** The clock it runs on; the system's by default. */
  readonly clock?: Clock | undefined;
  /** Abandons the wait: it rejects with `signal.reason`. */
  readonly signal?: AbortSignal | undefined;
}

/** An operation with a time limit: an arm of `select`, a function that takes a signal, or a promise. */
export type TimedOperation<T> = Selectable<T> | ((signal: AbortSignal) => PromiseLike<T> | T) | PromiseLike<T>;

/**
 * Waits for an operation no longer than `ms`. A value that is ready wins over a deadline that has passed. The promise resolves with the value and so
 * follows a value that is a promise or thenable: put it into an object, or use `select` with a `sleep`, to get it as it is.
 *
 * **Cancel safety:** that of the operation. A receiver or another arm, or `(signal) => rx.recv({ signal })`, has consumed nothing when the time is
 * up; a promise cannot be withdrawn, and goes on.
 *
 * @param ms The duration in milliseconds; `Infinity` for ever. A negative duration counts as 0.
 * @param operation An arm of `select`; a function, whose signal is aborted when the time is up; or a promise.
 * @param options The clock, and a signal that abandons the wait.
 * @returns The value of the operation.
 * @throws TimeoutError (rejects) When the time was up first.
 * @throws RecvError (rejects) When the arm's channel has ended.
 * @example
 * ```ts
 * const clock = new SimulatedClock();
 * const [tx, rx] = mpsc.channel<string>(1);
 * const late = timeout(50, rx, { clock });
 * const refused = late.catch((error) => error.code);
 * await clock.advance(50);
 * await refused; // => 'ERR_TIMEOUT'
 * await tx.send('still there');
 * await timeout(0, rx, { clock }); // => 'still there'
 * ```
 */
export function timeout<T>(ms: number, operation: TimedOperation<T>, options?: TimeoutOptions): Promise<T>;
/** The same for a union of arms. */
export function timeout<S extends Selectable<unknown>>(
  ms: number,
  operation: S,
  options?: TimeoutOptions,
): Promise<ArmValue<S>>;
export function timeout<T>(ms: number, operation: TimedOperation<T>, options?: TimeoutOptions): Promise<T> {
  const action = 'Cannot wait with a timeout';
  const duration = requireDuration(action, 'ms', ms);
  const { clock = systemClock, signal } = requireOptions(action, options, ['clock', 'signal']);
  requireClock(action, clock);
  if (signal !== undefined) requireSignal(action, signal);
  if (!isSelectable(operation) && typeof operation !== 'function' && typeof operation?.then !== 'function') {
    throw faultOf(action, 'operation', 'an arm, a function or a promise', operation);
  }
  if (signal?.aborted) {
    // Its rejection may have no other listener.
    if (typeof operation !== 'function') markHandled(operation as PromiseLike<T>);
    return rejected(signal.reason);
  }
  return isSelectable(operation)
    ? timeoutOfArm(duration, operation, clock, signal)
    : timeoutOfOperation(duration, operation, clock, signal);
}

async function timeoutOfArm<T>(
  ms: number,
  arm: Selectable<T>,
  clock: Clock,
  signal: AbortSignal | undefined,
): Promise<T> {
  const deadline = new Sleep(clock.now() + ms, clock, true, null);
  const event = await select({ item: withEnd(arm), deadline }, { biased: true, signal });
  if (event.arm !== 'item') throw timeUp(ms);
  if (event.value.done) throw new RecvError('Cannot receive: the channel is closed');
  return event.value.value;
}

// A timer fires after all microtasks, so that a value that is ready wins.
function timeoutOfOperation<T>(
  ms: number,
  operation: Operation<T>,
  clock: Clock,
  signal: AbortSignal | undefined,
): Promise<T> {
  const listen = (stop: (reason: unknown) => void): (() => void) => {
    const listener: AbortListener = { onAbort: stop };
    if (signal !== undefined) addAbortListener(signal, listener);
    const forget = (): void => {
      if (signal !== undefined) removeAbortListener(signal, listener);
    };
    if (ms === Number.POSITIVE_INFINITY) return forget;
    try {
      const timer = clock.setTimer(() => stop(timeUp(ms)), ms, { ref: true });
      return () => {
        forget();
        timer.cancel();
      };
    } catch (error) {
      forget();
      throw error;
    }
  };
  return runUntilStopped<T>(operation, listen, (reason, _resolve, reject) => reject(reason));
}

function isSelectable<T>(operation: TimedOperation<T>): operation is Selectable<T> {
  return typeof (operation as Partial<Selectable<T>> | null)?.selectSource === 'function';
}

function timeUp(ms: number): TimeoutError {
  return new TimeoutError(`Cannot wait any longer: nothing came within ${ms} ms`);
}
