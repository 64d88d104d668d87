const MEAN_WEIGHT = 0.1;
const DEVIATION_WEIGHT = 0.25;

/**
 * Estimates how long requests take, from the answers that came: weighted means of the time inside a worker and of its deviation.
 * (V. Jacobson, Congestion Avoidance and Control, 1988.)
 */
export class RateEstimate {
  #meanMs: number | undefined;
  #deviationMs = 0;

  /** The mean time inside a worker, in ms; undefined before the first answer. */
  get serviceMs(): number | undefined {
    return this.#meanMs;
  }

  /** The time inside a worker that most requests stay below, in ms; never more than twice the mean, so that it stays of use where times scatter. */
  get likelyServiceMs(): number {
    const meanMs = this.#meanMs ?? 0;
    return meanMs + Math.min(2 * this.#deviationMs, meanMs);
  }

  observe(ms: number): void {
    if (this.#meanMs === undefined) {
      this.#meanMs = ms;
      return;
    }
    const error = ms - this.#meanMs;
    this.#meanMs += MEAN_WEIGHT * error;
    this.#deviationMs += DEVIATION_WEIGHT * (Math.abs(error) - this.#deviationMs);
  }

  /** How long a request waits that has `ahead` others before it and `places` to be served in (Little's law), in ms. */
  waitMs(ahead: number, places: number): number | undefined {
    return this.#meanMs === undefined || places === 0 ? undefined : (this.#meanMs * ahead) / places;
  }
}
