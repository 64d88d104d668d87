import { setImmediate } from 'node:timers';

/** Turns of the event loop that an answer is waited for: some 50 µs where nothing else goes on. */
const TURNS = 32;
/** After so many times in vain no more are counted. */
const MOST_IN_VAIN = 10;

/**
 * Keeps the event loop turning for a moment after a message was sent. An answer that comes at once then finds the thread awake: to wake a core
 * that sleeps takes several times as long as the whole way there and back.
 *
 * It gives up by itself where it is for nothing: where answers take longer, or where the other side waits for this very core. After each time in
 * vain twice as many messages go without, up to a thousand, and each answer that it was worth the wait for takes back half of those times.
 */
export class BusyPoll {
  readonly #nextTurn: (run: () => void) => void;
  #isTurning = false;
  /** Turns left for the oldest message without an answer; none where there is no such message. */
  #left = 0;
  #inVain = 0;
  /** How many messages still go without. */
  #rest = 0;
  readonly #turn = (): void => {
    if (this.#left === 0) {
      this.#isTurning = false;
    } else if (--this.#left > 0) {
      this.#nextTurn(this.#turn);
    } else {
      this.#isTurning = false;
      this.#rest = 2 ** this.#inVain;
      this.#inVain = Math.min(MOST_IN_VAIN, this.#inVain + 1);
    }
  };

  /** @param nextTurn Runs a function once the event loop has looked at everything. */
  constructor(nextTurn: (run: () => void) => void = setImmediate) {
    this.#nextTurn = nextTurn;
  }

  /** A message has left, and may be answered at once. */
  sent(): void {
    if (this.#isTurning) {
      if (this.#left === 0) this.#left = TURNS;
    } else if (this.#rest > 0) {
      this.#rest--;
    } else {
      this.#left = TURNS;
      this.#isTurning = true;
      this.#nextTurn(this.#turn);
    }
  }

  /** A message has come. */
  received(): void {
    // What the first look finds was there already.
    if (this.#left > 0 && this.#left < TURNS - 1) this.#inVain >>= 1;
    this.#left = 0;
  }
}
