/**
 * Three integers of shared memory beside every model, written by the thread that runs it and read by its watcher: how many model calls
 * have begun, how many have ended, and which was the last to begin. A thread inside a native call can't send a message, but what it
 * wrote before it went in can be read.
 */

/** In place of the first counter: the child runs, and has not looked at its board yet. */
export const HELLO = -1;

/** The counters as they were read. They wrap around; only compare them for equality, and differences modulo 2^32. */
export interface Progress {
  readonly begun: number;
  readonly ended: number;
  /** The id of the call that was the last to begin. */
  readonly latest: number;
}

const BEGUN = 0;
const ENDED = 1;
const LATEST = 2;

/** The writing side. */
export class ProgressBoard {
  readonly buffer: SharedArrayBuffer;
  readonly #cells: Int32Array;

  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(12)) {
    this.buffer = buffer;
    this.#cells = new Int32Array(buffer);
  }

  begin(id: number): void {
    Atomics.store(this.#cells, LATEST, id);
    Atomics.add(this.#cells, BEGUN, 1);
  }

  end(): void {
    Atomics.add(this.#cells, ENDED, 1);
  }

  read(): Progress {
    return {
      begun: Atomics.load(this.#cells, BEGUN),
      ended: Atomics.load(this.#cells, ENDED),
      latest: Atomics.load(this.#cells, LATEST),
    };
  }
}

/** The file descriptor of a child process on which its parent's messages come. */
export const INPUT_FD = 3;

/** The one on which its messages go to the parent. */
export const OUTPUT_FD = 4;

/** The one on which its watchdog speaks to the parent, and learns that the parent is gone. */
export const WATCHDOG_FD = 5;
