/** A number a second for the last five minutes, for the line of images a second. */

/** How many seconds are kept. */
export const RING_SECONDS = 300;

/** Rates made of a count that only grows. */
export class RateRing {
  readonly #rates: number[] = [];
  #last: number | undefined;
  #lastAt = 0;

  /** Notes a count. `now` is in ms. */
  note(count: number, now: number): void {
    const last = this.#last;
    const seconds = Math.max(0.001, (now - this.#lastAt) / 1_000);
    this.#last = count;
    this.#lastAt = now;
    if (last === undefined) return;
    // A timer that was late stands for all the seconds since the last one.
    const rate = Math.max(0, count - last) / seconds;
    for (let missed = Math.min(RING_SECONDS, Math.max(1, Math.round(seconds))); missed > 0; missed -= 1) {
      this.#rates.push(Math.round(rate * 10) / 10);
    }
    if (this.#rates.length > RING_SECONDS) this.#rates.splice(0, this.#rates.length - RING_SECONDS);
  }

  /** The rates, the oldest first. */
  get rates(): readonly number[] {
    return this.#rates;
  }
}
