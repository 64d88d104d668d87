import { mpsc } from '../channels/index.js';
import type { Clock, ClockTimer } from '../core/index.js';
import { inNeutralContext } from './trace.js';

// Invariants:
// - Between start and stop exactly one clock timer runs, whatever the worker does: activity does not touch it. When it fires too soon, it is
//   started again for what is left.
// - `due` holds at most one notice.

/** The timer arm of the loop: `due` receives once nothing has happened for the timeout. */
export class IdleTimer {
  readonly due: mpsc.Receiver<void>;
  readonly #notice: mpsc.Sender<void>;
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  /** When something last happened; undefined while something is going on. */
  readonly #lastActiveAt: () => number | undefined;
  #timer: ClockTimer | undefined;

  constructor(clock: Clock, timeoutMs: number, lastActiveAt: () => number | undefined) {
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
    this.#lastActiveAt = lastActiveAt;
    [this.#notice, this.due] = mpsc.channel<void>(1);
  }

  /** Waits for the timeout to pass, from now on. */
  start(): void {
    if (this.#timeoutMs !== Number.POSITIVE_INFINITY) this.#arm(this.#timeoutMs);
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  /** Whether nothing has happened for the timeout still: something may have, between the notice and whoever looks at it. */
  get isDue(): boolean {
    return this.#left() <= 0;
  }

  /** How much of the timeout is left. */
  #left(): number {
    const last = this.#lastActiveAt();
    return last === undefined ? this.#timeoutMs : last + this.#timeoutMs - this.#clock.now();
  }

  #arm(ms: number): void {
    this.#timer = inNeutralContext(() => this.#clock.setTimer(() => this.#fire(), ms));
  }

  #fire(): void {
    const left = this.#left();
    if (left > 0) {
      this.#arm(left);
      return;
    }
    this.#timer = undefined;
    if (this.#notice.capacity > 0) this.#notice.trySend(undefined);
  }
}
