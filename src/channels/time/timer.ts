import type { Clock, ClockTimer } from '../../core/index.js';

/** Room for one timer on a clock: starting it again replaces what runs. */
export class HostTimerSlot {
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

  /** Has it fire at a point in time; for `Infinity` it only stops what runs. When the clock refuses, what runs goes on. */
  start(deadline: number): void {
    const old = this.#timer;
    const forEver = deadline === Number.POSITIVE_INFINITY;
    this.#timer = forEver
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
