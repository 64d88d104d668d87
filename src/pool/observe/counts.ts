/** What a pool counts: the ledger of its calls, histograms, and how long requests take. */

/** How an accepted request can end. */
export type Outcome = 'succeeded' | 'failed' | 'expired' | 'cancelled';

/**
 * What became of every accepted request of one operation: accepted = succeeded + failed + expired + cancelled + pending, at any moment, and pending is 0
 * at every quiet one.
 */
export interface LedgerCounts {
  readonly accepted: number;
  readonly succeeded: number;
  readonly failed: number;
  readonly expired: number;
  readonly cancelled: number;
  /** Accepted and not answered yet. */
  readonly pending: number;
  /** Turned away before they were accepted: no room, breaker open, closing. Not part of the sum. */
  readonly refused: number;
  /** Runs that were given to another worker because the first crashed. */
  readonly retried: number;
  /** Accepted requests that shared the run of an identical one. */
  readonly coalesced: number;
}

/** A mutable page of the ledger, for one operation. */
export class Ledger {
  accepted = 0;
  succeeded = 0;
  failed = 0;
  expired = 0;
  cancelled = 0;
  refused = 0;
  retried = 0;
  coalesced = 0;

  get pending(): number {
    return this.accepted - this.succeeded - this.failed - this.expired - this.cancelled;
  }

  counts(): LedgerCounts {
    return sumLedgers([this]);
  }
}

/** Adds pages up. */
export function sumLedgers(pages: Iterable<Ledger | LedgerCounts>): LedgerCounts {
  const sum = {
    accepted: 0,
    succeeded: 0,
    failed: 0,
    expired: 0,
    cancelled: 0,
    pending: 0,
    refused: 0,
    retried: 0,
    coalesced: 0,
  };
  for (const page of pages) for (const key of Object.keys(sum) as (keyof LedgerCounts)[]) sum[key] += page[key];
  return sum;
}

/** A histogram with fixed upper bounds, as Prometheus has them: counted here, rendered at a scrape. */
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

/**
 * How often a model has run batches of which size since it was loaded. A model that gathers batches tells it by a `batchSizes` in what its `health()`
 * answers with: `{ batchSizes: { 1: 12, 16: 40 } }`.
 */
export type BatchSizes = Readonly<Record<string, number>>;

/** The sum of two. */
export function addBatchSizes(one: BatchSizes, other: BatchSizes): BatchSizes {
  const sum: Record<string, number> = { ...one };
  for (const [size, count] of Object.entries(other)) sum[size] = (sum[size] ?? 0) + count;
  return sum;
}
