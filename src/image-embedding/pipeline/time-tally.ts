/** How often something took how long, in ms, as it crosses to the pool: few numbers, however many were counted. */

/** Inclusive upper bounds, in ms; what takes longer counts under `Infinity`. */
const BOUNDS_MS: readonly number[] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000];

/** Counts durations. */
export class TimeTally {
  readonly #counts = new Map<number, number>();

  observe(ms: number, times = 1): void {
    const bound = BOUNDS_MS.find((each) => ms <= each) ?? Number.POSITIVE_INFINITY;
    this.#counts.set(bound, (this.#counts.get(bound) ?? 0) + times);
  }

  /** How many took at most so many ms and more than the bound before: `{ 10: 3, 20: 12 }`. Bounds without any are left out. */
  counts(): Record<string, number> {
    return Object.fromEntries(this.#counts);
  }
}
