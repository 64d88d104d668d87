/** How restarts are spaced and limited. */
export interface RestartPolicy {
  /** Restarts allowed inside the window. 5 by default. */
  readonly maxRestarts: number;
  /** The window, in ms. 60,000 by default. */
  readonly windowMs: number;
  /** The first delay, in ms; it doubles with each restart inside the window. 100 by default. */
  readonly backOffMs: number;
  /** The longest delay, in ms. 5,000 by default. */
  readonly maxBackOffMs: number;
}

export const defaultRestartPolicy: RestartPolicy = Object.freeze({
  maxRestarts: 5,
  windowMs: 60_000,
  backOffMs: 100,
  maxBackOffMs: 5_000,
});

/**
 * Counts restarts in a sliding window and says how long to wait before the next: exponential, with full jitter over its upper half (so that
 * workers that died together do not come back together).
 */
export class RestartBudget {
  readonly #policy: RestartPolicy;
  readonly #random: () => number;
  readonly #starts: number[] = [];

  constructor(policy: RestartPolicy = defaultRestartPolicy, random: () => number = Math.random) {
    this.#policy = policy;
    this.#random = random;
  }

  /**
   * Takes one restart from the budget.
   *
   * @param now The time, in ms.
   * @returns Which restart of this window it is, from 1, and the delay before it; undefined when the budget is spent.
   */
  take(now: number): { readonly attempt: number; readonly delayMs: number } | undefined {
    while (this.#starts.length > 0 && (this.#starts[0] as number) <= now - this.#policy.windowMs) this.#starts.shift();
    if (this.#starts.length >= this.#policy.maxRestarts) return undefined;
    this.#starts.push(now);
    const attempt = this.#starts.length;
    // Doubled for ever it would be infinite, and nothing times that is no number. A millisecond that was doubled 31 times is weeks.
    const ceiling = Math.min(this.#policy.backOffMs * 2 ** Math.min(attempt - 1, 31), this.#policy.maxBackOffMs);
    return { attempt, delayMs: ceiling / 2 + (ceiling / 2) * this.#random() };
  }
}
