import type { Clock } from '../../core/index.js';

const LONGEST_FACTOR = 60;
const WINDOW_MS = 60_000;

/** When the next worker may be started, after loads that failed and workers that crashed. */
export class StartBackOff {
  readonly #clock: Clock;
  readonly #baseMs: number;
  readonly #crashesPerMinute: number;
  #failures = 0;
  #crashedAt: number[] = [];
  #notBefore = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock, baseMs: number, crashesPerMinute: number) {
    this.#clock = clock;
    this.#baseMs = baseMs;
    this.#crashesPerMinute = crashesPerMinute;
  }

  /** No worker may be started before this, in ms on the clock. */
  get notBefore(): number {
    return this.#notBefore;
  }

  /** How long that is from now, in ms; 0 when one may be started. */
  get remainingMs(): number {
    return Math.max(0, this.#notBefore - this.#clock.now());
  }

  /** A worker could not be started: twice as long as the last time. */
  loadFailed(): number {
    this.#failures += 1;
    return this.#wait(this.#baseMs * Math.min(2 ** (this.#failures - 1), LONGEST_FACTOR));
  }

  loaded(): void {
    this.#failures = 0;
  }

  /**
   * A worker crashed: the first in a minute is replaced at once, the next ones after a while that doubles, and when there were more than the
   * budget allows none until the minute is over.
   *
   * @returns Whether the budget still allows one.
   */
  crashed(): boolean {
    const now = this.#clock.now();
    this.#crashedAt = this.#crashedAt.filter((at) => at > now - WINDOW_MS);
    this.#crashedAt.push(now);
    const count = this.#crashedAt.length;
    if (count > this.#crashesPerMinute) {
      this.#wait((this.#crashedAt[0] as number) + WINDOW_MS - now);
      return false;
    }
    if (count > 1) this.#wait(this.#baseMs * Math.min(2 ** (count - 2), LONGEST_FACTOR));
    return true;
  }

  #wait(ms: number): number {
    this.#notBefore = Math.max(this.#notBefore, this.#clock.now() + ms);
    return ms;
  }
}
