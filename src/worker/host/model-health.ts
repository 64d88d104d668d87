import { type Clock, type ClockTimer, messageOf } from '../../core/index.js';

// Invariants:
// - The model is asked once at a time; an ask meanwhile shares its answer.
// - No ask waits longer than the limit, and once it has passed nothing is kept for it, however long the model takes.

/** Less than the second after which a handle answers for a host that is silent. */
const LIMIT_MS = 500;
const TOO_LATE = `Cannot report health: health() must answer within ${LIMIT_MS} ms, received nothing`;

/** Asks a model how it is. One that does not say so in time holds up no report. */
export class ModelHealth {
  readonly #health: () => unknown;
  readonly #clock: Clock;
  #answer: Promise<unknown> | undefined;
  #timer: ClockTimer | undefined;
  #settle: (answer: unknown) => void = () => {};

  constructor(health: () => unknown, clock: Clock) {
    this.#health = health;
    this.#clock = clock;
  }

  /** What the model says: the message of its error when it throws, and that of the limit when it says nothing. It never rejects. */
  ask(): Promise<unknown> {
    this.#answer ??= this.#start();
    return this.#answer;
  }

  /** Answers what is asked, and is not asked again. */
  stop(): void {
    this.#timer?.cancel();
    this.#settle('Cannot report health: the loop has ended');
  }

  #start(): Promise<unknown> {
    this.#timer = this.#clock.setTimer(() => this.#settle(TOO_LATE), LIMIT_MS);
    void this.#run().then((answer) => {
      this.#timer?.cancel();
      this.#settle(answer);
      this.#answer = undefined;
    });
    return new Promise((resolve) => {
      this.#settle = resolve;
    });
  }

  async #run(): Promise<unknown> {
    try {
      return await this.#health();
    } catch (error) {
      return messageOf(error);
    }
  }
}
