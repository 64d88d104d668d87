/** Percentiles over a sliding window, in ms. All are 0 when the window is empty. */
export interface LatencySummary {
  /** How many samples the window holds. */
  readonly count: number;
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
}

const SAMPLES = 1024;
const WINDOW_MS = 60_000;

/** Latencies over a sliding window: at most the last 1,024, none older than a minute. Recording is O(1) and allocates nothing. */
export class LatencyWindow {
  readonly #values: Float64Array;
  readonly #times: Float64Array;
  readonly #windowMs: number;
  #next = 0;
  #size = 0;

  constructor(windowMs: number = WINDOW_MS, samples: number = SAMPLES) {
    this.#windowMs = windowMs;
    this.#values = new Float64Array(samples);
    this.#times = new Float64Array(samples);
  }

  /** Adds a latency, in ms, that was measured at `at`. */
  record(ms: number, at: number): void {
    const index = this.#next;
    this.#values[index] = ms;
    this.#times[index] = at;
    this.#next = index + 1 === this.#values.length ? 0 : index + 1;
    if (this.#size < this.#values.length) this.#size++;
  }

  /** Percentiles (nearest rank) of what the window holds at `now`. */
  summarise(now: number): LatencySummary {
    const since = now - this.#windowMs;
    const inside = new Float64Array(this.#size);
    let count = 0;
    for (let index = 0; index < this.#size; index++) {
      if ((this.#times[index] as number) >= since) inside[count++] = this.#values[index] as number;
    }
    const sorted = inside.subarray(0, count).sort();
    const rank = (share: number): number => (count === 0 ? 0 : (sorted[Math.ceil(share * count) - 1] as number));
    return { count, p50: rank(0.5), p95: rank(0.95), p99: rank(0.99) };
  }
}
