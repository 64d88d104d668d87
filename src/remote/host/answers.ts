import type { Clock, ClockTimer } from '../../core/index.js';

// Invariant: what was forgotten is known to have been: `forgottenUpTo` of a session is at least the highest id whose answer was dropped. An id above it
// that is neither running nor here has never come.

/** How long an answer is kept, in ms, and how many bytes of answers a host keeps. */
const KEEP_MS = 10_000;
const KEEP_BYTES = 16_777_216;
/** What an answer without a body is counted as. */
const OVERHEAD_BYTES = 256;

/** The final message of a call. */
export interface FinalAnswer {
  readonly kind: number;
  /** What stands in its header behind the free places. */
  readonly operands: readonly unknown[];
  readonly body: Uint8Array;
}

/** Whose answers are kept. */
export interface AnswerOwner {
  readonly answers: Map<number, FinalAnswer>;
  forgottenUpTo: number;
}

interface Kept {
  readonly owner: AnswerOwner;
  readonly id: number;
  readonly bytes: number;
  readonly until: number;
}

/** Answers that were sent, for callers whose connection has lost them. */
export class KeptAnswers {
  readonly #clock: Clock;
  readonly #kept: Kept[] = [];
  #first = 0;
  #bytes = 0;
  #timer: ClockTimer | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get bytes(): number {
    return this.#bytes;
  }

  keep(owner: AnswerOwner, id: number, answer: FinalAnswer): void {
    const bytes = OVERHEAD_BYTES + answer.body.length;
    owner.answers.set(id, answer);
    this.#kept.push({ owner, id, bytes, until: this.#clock.now() + KEEP_MS });
    this.#bytes += bytes;
    // The latest one is kept, however large it is: its caller may not have it yet.
    while (this.#bytes > KEEP_BYTES && this.#kept.length - this.#first > 1) this.#forgetFirst();
    this.#arm();
  }

  close(): void {
    this.#timer?.cancel();
    this.#kept.length = 0;
    this.#first = 0;
    this.#bytes = 0;
  }

  #forgetFirst(): void {
    const { owner, id, bytes } = this.#kept[this.#first] as Kept;
    this.#first += 1;
    this.#bytes -= bytes;
    owner.answers.delete(id);
    owner.forgottenUpTo = Math.max(owner.forgottenUpTo, id);
    if (this.#first < 1_024 || this.#first * 2 < this.#kept.length) return;
    this.#kept.splice(0, this.#first);
    this.#first = 0;
  }

  #arm(): void {
    const next = this.#kept[this.#first];
    if (this.#timer !== undefined || next === undefined) return;
    this.#timer = this.#clock.setTimer(() => {
      this.#timer = undefined;
      const now = this.#clock.now();
      while ((this.#kept[this.#first]?.until ?? Number.POSITIVE_INFINITY) <= now) this.#forgetFirst();
      this.#arm();
    }, next.until - this.#clock.now());
  }
}
