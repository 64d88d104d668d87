import type { Clock, ClockTimer } from '../../core/index.js';

/** The options of a timer. */
export interface TimerOptions {
  /** Whether the timer holds the process while it is awaited; true by default. */
  readonly ref?: boolean | undefined;
  /** The clock it runs on; the system's by default. */
  readonly clock?: Clock | undefined;
}

/** At most one running timer on a clock: a new start replaces it. */
export class TimerSlot {
  readonly #clock: Clock;
  readonly #options: { readonly ref: boolean };
  readonly #onFire: () => void;
  #timer: ClockTimer | null = null;

  constructor(clock: Clock, ref: boolean, onFire: () => void) {
    this.#clock = clock;
    this.#options = { ref };
    this.#onFire = () => {
      this.#timer = null;
      onFire();
    };
  }

  /** Starts the timer for a point in time; `Infinity` stops it. When the clock throws, the old timer goes on. */
  start(deadline: number): void {
    const old = this.#timer;
    this.#timer =
      deadline === Number.POSITIVE_INFINITY
        ? null
        : this.#clock.setTimer(this.#onFire, Math.max(0, deadline - this.#clock.now()), this.#options);
    old?.cancel();
  }

  stop(): void {
    const old = this.#timer;
    this.#timer = null;
    old?.cancel();
  }
}
