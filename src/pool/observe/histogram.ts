/** A histogram with fixed upper bounds, as Prometheus has them: counted here, rendered by whoever scrapes. */
export class Histogram {
  /** Inclusive upper bounds, ascending; what exceeds the last falls into an unnamed one. */
  readonly bounds: readonly number[];
  readonly #counts: number[];
  #sum = 0;
  #count = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.#counts = new Array<number>(bounds.length + 1).fill(0);
  }

  get sum(): number {
    return this.#sum;
  }

  get count(): number {
    return this.#count;
  }

  observe(value: number, times = 1): void {
    const { bounds } = this;
    let low = 0;
    // Most of what is observed is either all small or all over the place.
    let high = value <= (bounds[0] as number) ? 0 : bounds.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (value <= (bounds[middle] as number)) high = middle;
      else low = middle + 1;
    }
    this.#counts[low] = (this.#counts[low] as number) + times;
    this.#sum += value * times;
    this.#count += times;
  }

  /** How many observations are at most each bound. */
  cumulative(): number[] {
    let total = 0;
    return this.bounds.map((_, index) => {
      total += this.#counts[index] as number;
      return total;
    });
  }

  /** An estimate of a quantile, interpolated within its bucket; undefined without observations. */
  quantile(q: number): number | undefined {
    if (this.#count === 0) return undefined;
    const rank = q * this.#count;
    let below = 0;
    for (const [index, bound] of this.bounds.entries()) {
      const here = this.#counts[index] as number;
      if (below + here >= rank && here > 0) {
        const floor = index === 0 ? 0 : (this.bounds[index - 1] as number);
        return floor + ((bound - floor) * (rank - below)) / here;
      }
      below += here;
    }
    return this.bounds.at(-1);
  }
}

/** Bounds for times, in seconds. */
export const TIME_BOUNDS: readonly number[] = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120,
];

/** Bounds for batch sizes. */
export const BATCH_BOUNDS: readonly number[] = [1, 2, 4, 8, 16, 32, 64, 128];
