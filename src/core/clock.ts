import {
  type HostTimer,
  holdByHostTimer,
  monotonicNow,
  settleMacrotasks,
  startHostTimer,
  stopHostTimer,
} from './host.js';
import { requireDuration, requireFunction, requireMilliseconds } from './validate.js';

/** A timer that was started on a {@link Clock}. */
export interface ClockTimer {
  /** Stops it; a timer that has fired or was stopped ignores it. */
  cancel(): void;
  /** Sets whether it keeps the process alive. Absent if timers of the clock never do. */
  hold?(isHeld: boolean): void;
}

/** How a timer is started. */
export interface ClockTimerOptions {
  /** Whether the timer holds the process until it fires. False by default: an idle timer never holds a process. */
  readonly ref?: boolean | undefined;
}

/**
 * The time source of everything in Millrace that waits. {@link systemClock} is the default; a test passes a {@link SimulatedClock} and
 * advances it.
 */
export interface Clock {
  /** Milliseconds on a scale that never goes back. Its origin has no meaning. */
  now(): number;
  /** Calls back once, `ms` milliseconds from now, never before; `ms` may exceed what a host timer takes. */
  setTimer(callback: () => void, ms: number, options?: ClockTimerOptions): ClockTimer;
}

/** Requires a clock. It is a check of an option table, where the option is called `clock`. */
export function requireClock(action: string, name: string, value: unknown): Clock {
  requireFunction(action, `${name}.now`, (value as Clock | null)?.now);
  requireFunction(action, `${name}.setTimer`, (value as Clock | null)?.setTimer);
  return value as Clock;
}

/** The host's own monotonic clock. */
export const systemClock: Clock = {
  now: monotonicNow,
  setTimer(callback, ms, options) {
    const waitMs = requireTimer(callback, ms);
    const deadline = monotonicNow() + waitMs;
    let isHeld = options?.ref ?? false;
    // Host timers may fire up to a millisecond early and take at most 2^31-1 ms: the rest is waited for again.
    const fire = (): void => {
      const left = deadline - monotonicNow();
      if (left > 0) timer = startHostTimer(fire, left, isHeld);
      else callback();
    };
    let timer: HostTimer = startHostTimer(fire, waitMs, isHeld);
    // Hosts ignore calls on a timer that has fired or was stopped.
    return {
      cancel: () => stopHostTimer(timer),
      hold(held) {
        isHeld = held;
        holdByHostTimer(timer, held);
      },
    };
  },
};

function requireTimer(callback: unknown, ms: unknown): number {
  const action = 'Cannot set timer';
  requireFunction(action, 'callback', callback);
  return requireDuration(action, 'ms', ms);
}

interface SimulatedTimer extends ClockTimer {
  readonly due: number;
  readonly order: number;
  readonly callback: () => void;
}

/**
 * A clock that stands still until it is advanced, for tests of anything that waits.
 *
 * {@link SimulatedClock.advance} fires the timers that fall due, one at a time and in order of time. Before time moves on, it waits for the
 * promises and the waits on channels that a timer has triggered. It does not wait for the host (your own `setImmediate`, I/O, a worker in a
 * thread or process), nor for a loop that runs on after 10,000 macrotasks. A timer started meanwhile that falls due within the span fires too.
 *
 * @example
 * ```ts
 * const clock = new SimulatedClock();
 * let fired = false;
 * clock.setTimer(() => { fired = true; }, 1_000);
 * await clock.advance(999);
 * fired; // => false
 * await clock.advance(1);
 * fired; // => true
 * ```
 */
export class SimulatedClock implements Clock {
  #now: number;
  // The end of all advances so far; the next continues from it, even if the one before is still running.
  #target: number;
  #order = 0;
  // Kept sorted by due time, then by order of creation.
  readonly #timers: SimulatedTimer[] = [];

  /**
   * @param start The first value of `now()`, in ms.
   * @throws RangeError When it is negative or not finite.
   */
  constructor(start = 0) {
    this.#now = requireMilliseconds('Cannot create clock', 'start', start);
    this.#target = this.#now;
  }

  /** The current time, in ms. */
  now(): number {
    return this.#now;
  }

  /** How many timers are waiting. */
  get pendingTimers(): number {
    return this.#timers.length;
  }

  /**
   * Calls back once, after it was advanced by `ms`.
   *
   * @param callback Called once.
   * @param ms The delay in milliseconds; a negative one fires with the next advance.
   * @returns A timer that can be cancelled.
   */
  setTimer(callback: () => void, ms: number, _options?: ClockTimerOptions): ClockTimer {
    const timer: SimulatedTimer = {
      due: this.#now + requireTimer(callback, ms),
      order: this.#order++,
      callback,
      cancel: () => {
        const index = this.#timers.indexOf(timer);
        if (index >= 0) this.#timers.splice(index, 1);
      },
    };
    let low = 0;
    let high = this.#timers.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#timers[middle] as SimulatedTimer).due <= timer.due) low = middle + 1;
      else high = middle;
    }
    this.#timers.splice(low, 0, timer);
    return timer;
  }

  /**
   * Moves time forward and fires the timers that fall due.
   *
   * **Cancel safety:** not applicable; it takes no signal and always completes.
   *
   * @param ms How far, in milliseconds.
   * @returns A promise that resolves when every due timer has fired and the work that it triggered has finished.
   * @throws RangeError When it is negative or not finite.
   */
  advance(ms: number): Promise<void> {
    this.#target += requireMilliseconds('Cannot advance clock', 'ms', ms);
    return this.#advanceTo(this.#target);
  }

  async #advanceTo(end: number): Promise<void> {
    await settleMacrotasks();
    for (;;) {
      const next = this.#timers[0];
      if (next === undefined || next.due > end) break;
      this.#timers.shift();
      this.#now = Math.max(this.#now, next.due);
      next.callback();
      await settleMacrotasks();
    }
    this.#now = Math.max(this.#now, end);
    await settleMacrotasks();
  }
}
