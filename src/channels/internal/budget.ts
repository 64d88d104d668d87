/**
 * The budget of waits that settle without a macrotask in between. Without it a loop over ready channels would run on microtasks alone, and starve
 * timers and I/O (tokio: cooperative scheduling).
 *
 * Invariants:
 * - Every wait spends one unit, ready or not. When the units are used up, or have lasted too long, a pause begins: every outcome is held
 *   until the next macrotask, in the order it was made, so that no wait overtakes an older one.
 * - A held outcome has happened: its value is taken, and an abort after it changes nothing.
 */
import { monotonicNow, scheduleMacrotask } from '../../core/index.js';

/** Waits between two macrotasks. */
export const UNITS = 1024;
/** Milliseconds between two macrotasks. */
export const MAX_BURST_MS = 8;
/** The clock is read when these bits of the number of units left are all 0. */
const CLOCK_MASK = 31;

let left = UNITS;
let pausing = false;
let burstStart = 0;
let held: unknown[] = [];

/** Spends one unit. @returns True during a pause: settle through {@link settle} or {@link afterPause}. */
export function spend(): boolean {
  if (pausing) return true;
  if ((--left & CLOCK_MASK) !== 0) return false;
  return checkBudget();
}

function checkBudget(): boolean {
  if (left > 0 && monotonicNow() - burstStart < MAX_BURST_MS) return false;
  pausing = true;
  scheduleMacrotask(endPause);
  return true;
}

function endPause(): void {
  pausing = false;
  left = UNITS;
  burstStart = monotonicNow();
  const outcomes = held;
  held = [];
  for (let at = 0; at < outcomes.length; at += 2) {
    (outcomes[at] as (value: unknown) => void)(outcomes[at + 1]);
  }
}

/**
 * Calls back after a turn of the event loop in which nothing was held. Whatever had settled before has then reached its waiters, through up to
 * `turns` waits in between: each turn that holds something brings it on by one. In a busy process it calls back after so many turns.
 */
export function afterQuietTurn(callback: () => void, turns: number): void {
  const before = held;
  scheduleMacrotask(() => {
    if (turns > 1 && (pausing || held !== before)) afterQuietTurn(callback, turns - 1);
    else callback();
  });
}

/** Resolves or rejects, at once or when the pause is over. */
export function settle<T>(resolve: (value: T) => void, value: T): void {
  if (pausing) held.push(resolve, value);
  else resolve(value);
}

/** Promises a value for the end of the pause. */
export function afterPause<T>(value: T): Promise<T> {
  return new Promise<T>((resolve) => held.push(resolve, value));
}

/** Promises a value that is ready. */
export function ready<T>(value: T): Promise<T> {
  return spend() ? afterPause(value) : Promise.resolve(value);
}

/** Rejects with a reason that is ready. */
export function rejected(reason: unknown): Promise<never> {
  return spend() ? new Promise((_, reject) => held.push(reject, reason)) : Promise.reject(reason);
}

/** Rejects as {@link rejected} does, and is no unhandled rejection when nothing listens. */
export function refused(reason: unknown): Promise<never> {
  return markHandled(rejected(reason));
}

/**
 * Marks a promise, of any class or realm, as handled: its rejection is no unhandled rejection. Another thenable is left alone, as its `then` may be
 * what starts the work.
 */
export function markHandled<P extends PromiseLike<unknown>>(promise: P): P {
  try {
    Promise.prototype.then.call(promise, undefined, ignore);
  } catch {
    // Not a promise.
  }
  return promise;
}

export function ignore(): void {}

/** A promise that settled long ago: awaiting it takes one microtask. */
export const DONE: Promise<void> = Promise.resolve();

/** Promises nothing: the same promise every time, outside of a pause. */
export function readyVoid(): Promise<void> {
  return spend() ? afterPause(undefined) : DONE;
}
