/**
 * Four integers of shared memory beside every model, written by the thread that runs it and read by whoever watches it: how many model calls
 * have begun, how many have ended, and how often the event loop has turned. A thread inside a native call can't send a message, but what it
 * wrote before it went in can be read.
 */

/** The counters as they were read. They wrap around; only compare them for equality, and differences modulo 2^32. */
export interface Progress {
  readonly begun: number;
  readonly ended: number;
  readonly turns: number;
}

const BEGUN = 0;
const ENDED = 1;
const TURNS = 2;

/** How often a child's event loop shows that it turns, in ms. */
export const TURN_INTERVAL_MS = 100;

/** The writing side. */
export class ProgressBoard {
  readonly buffer: SharedArrayBuffer;
  readonly #cells: Int32Array;

  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(16)) {
    this.buffer = buffer;
    this.#cells = new Int32Array(buffer);
  }

  begin(): void {
    Atomics.add(this.#cells, BEGUN, 1);
  }

  end(): void {
    Atomics.add(this.#cells, ENDED, 1);
  }

  /** Counts the turns of this thread's event loop from now on, without holding the process. */
  countTurns(): void {
    setInterval(() => Atomics.add(this.#cells, TURNS, 1), TURN_INTERVAL_MS).unref();
  }

  read(): Progress {
    return {
      begun: Atomics.load(this.#cells, BEGUN),
      ended: Atomics.load(this.#cells, ENDED),
      turns: Atomics.load(this.#cells, TURNS),
    };
  }
}
