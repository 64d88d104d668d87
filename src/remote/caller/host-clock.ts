import type { Clock } from '../../core/index.js';

/** For how long a measurement of the other clock is believed before a worse one replaces it, in ms: clocks drift. */
const BELIEVED_MS = 30_000;

/** A host's clock, as far as round trips tell: of several the shortest, which leaves the least room for error. */
export class HostClock {
  readonly #clock: Clock;
  #offsetMs: number | undefined;
  #roundTripMs: number | undefined;
  #measuredAt = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get roundTripMs(): number | undefined {
    return this.#roundTripMs;
  }

  /** An answer has come to a question that was sent at `sentAt`, and given when it was `theirTime` there. */
  observe(sentAt: number, theirTime: number): void {
    const now = this.#clock.now();
    const roundTripMs = now - sentAt;
    if (roundTripMs < 0) return;
    const isStale = now - this.#measuredAt >= BELIEVED_MS;
    if (!isStale && this.#roundTripMs !== undefined && roundTripMs > this.#roundTripMs) return;
    this.#roundTripMs = roundTripMs;
    this.#offsetMs = theirTime - (sentAt + roundTripMs / 2);
    this.#measuredAt = now;
  }

  /** The host's time in so many ms; undefined while its clock is not known. */
  timeThere(inMs: number): number | undefined {
    return this.#offsetMs === undefined ? undefined : this.#clock.now() + this.#offsetMs + inMs;
  }
}
