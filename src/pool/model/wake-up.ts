import type { Clock, ClockTimer } from '../../core/index.js';
import { inNeutralContext } from '../../worker/index.js';

/** One timer for the earliest of several moments: whoever is woken asks for the next. */
export class WakeUp {
  readonly #clock: Clock;
  readonly #wake: () => void;
  #timer: ClockTimer | undefined;
  #due = Number.POSITIVE_INFINITY;

  constructor(clock: Clock, wake: () => void) {
    this.#clock = clock;
    this.#wake = wake;
  }

  /** Wakes at that time, in ms on the clock, or earlier where an earlier one was asked for. */
  at(due: number): void {
    if (due >= this.#due) return;
    this.#timer?.cancel();
    this.#due = due;
    const wake = (): void => {
      this.stop();
      this.#wake();
    };
    this.#timer = inNeutralContext(() => this.#clock.setTimer(wake, due - this.#clock.now()));
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#due = Number.POSITIVE_INFINITY;
  }

  /** Stops for good. */
  close(): void {
    this.stop();
    this.#due = Number.NEGATIVE_INFINITY;
  }
}
