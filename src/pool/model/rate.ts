const WEIGHT = 0.1;

/** Estimates how long requests take, from the answers that came: an exponentially weighted mean of the time inside a worker. */
export class RateEstimate {
  #meanMs: number | undefined;

  /** The mean time inside a worker, in ms; undefined before the first answer. */
  get serviceMs(): number | undefined {
    return this.#meanMs;
  }

  observe(ms: number): void {
    this.#meanMs = this.#meanMs === undefined ? ms : this.#meanMs + WEIGHT * (ms - this.#meanMs);
  }

  /** How long a request waits that has `ahead` others before it and `places` to be served in (Little's law), in ms. */
  waitMs(ahead: number, places: number): number | undefined {
    return this.#meanMs === undefined || places === 0 ? undefined : (this.#meanMs * ahead) / places;
  }
}
