import type { Clock } from '../../core/index.js';

const LONGEST_FACTOR = 60;
const WINDOW_MS = 60_000;
/** The longest that a start waits after workers that died, in ms: what killed them may have ended. */
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
  #notBeforeByLoads = Number.NEGATIVE_INFINITY;
  #notBeforeByDeaths = Number.NEGATIVE_INFINITY;

  /** @param budget How many may die young within a minute before starts are as slow as they get. */
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
    this.#notBeforeByDeaths = Number.NEGATIVE_INFINITY;
  }

  /**
   * A worker died young: the first is replaced at once, the next ones after a while that doubles, and when there were more than the budget allows
   * every five seconds.
   *
   * @returns Whether the budget still allows it.
   */
  diedYoung(): boolean {
    const now = this.#clock.now();
    this.#diedAt = this.#diedAt.filter((at) => at > now - WINDOW_MS);
    this.#diedAt.push(now);
    const count = this.#diedAt.length;
    const slowMs = Math.max(SLOW_MS, this.#baseMs);
    const isWithin = count <= this.#budget;
    let waitMs = 0;
    if (!isWithin) waitMs = slowMs;
    else if (count > 1) waitMs = Math.min(this.#baseMs * 2 ** Math.min(count - 2, 31), slowMs);
    this.#notBeforeByDeaths = Math.max(this.#notBeforeByDeaths, now + waitMs);
    return isWithin;
  }
}
