import type { Clock } from '../../core/index.js';

const LONGEST_FACTOR = 60;
const WINDOW_MS = 60_000;
/** How long a start waits once more workers died young than the budget allows, in ms. */
const SLOW_MS = 5_000;

/**
 * When the next worker may be started, after loads that failed and workers that died young: while they loaded, or before their first answer. A worker
 * that has answered shows that starts go well, so its death delays nothing.
 */
export class StartBackOff {
  readonly #clock: Clock;
  readonly #baseMs: number;
  readonly #budget: number;
  #failures = 0;
  #diedAt: number[] = [];
  #provedAt = Number.NEGATIVE_INFINITY;
  #notBeforeByLoads = Number.NEGATIVE_INFINITY;
  #notBeforeByDeaths = Number.NEGATIVE_INFINITY;

  /** @param budget How many may die young within a minute before starts are slow. */
  constructor(clock: Clock, baseMs: number, budget: number) {
    this.#clock = clock;
    this.#baseMs = baseMs;
    this.#budget = budget;
  }

  /** No worker may be started before this, in ms on the clock. */
  get notBefore(): number {
    return Math.max(this.#notBeforeByLoads, this.#notBeforeByDeaths);
  }

  /** How long that is from now, in ms; 0 when one may be started. */
  get remainingMs(): number {
    return Math.max(0, this.notBefore - this.#clock.now());
  }

  /** A worker could not be started: twice as long as the last time. */
  loadFailed(): number {
    this.#failures += 1;
    const waitMs = this.#baseMs * Math.min(2 ** (this.#failures - 1), LONGEST_FACTOR);
    this.#notBeforeByLoads = Math.max(this.#notBeforeByLoads, this.#clock.now() + waitMs);
    return waitMs;
  }

  loaded(): void {
    this.#failures = 0;
  }

  /** A new worker has answered for the first time. */
  proved(): void {
    this.#diedAt = [];
    this.#provedAt = this.#clock.now();
    this.#notBeforeByDeaths = Number.NEGATIVE_INFINITY;
  }

  /**
   * A worker died young. As many as the budget allows within a minute are replaced at once, one after that every five seconds. As long as others prove
   * that it can be done, whatever kills workers kills some of them only: the budget is then renewed with each of these pauses.
   *
   * @returns Whether the budget is spent.
   */
  diedYoung(): boolean {
    const now = this.#clock.now();
    this.#diedAt = this.#diedAt.filter((at) => at > now - WINDOW_MS);
    this.#diedAt.push(now);
    if (this.#diedAt.length <= this.#budget) return false;
    this.#notBeforeByDeaths = Math.max(this.#notBeforeByDeaths, now + SLOW_MS);
    if (this.#provedAt > now - WINDOW_MS) this.#diedAt = [];
    return true;
  }
}
