/**
 * Images that are read before it is their turn to be decoded: reading takes several turns of the event loop, and while a batch runs there are none.
 *
 * Invariant: what is held, and what is being read at the size of the last image, is at most the budget; a single image may be larger.
 */
import { type AbortListener, addAbortListener, removeAbortListener } from '../../core/index.js';

/** The encoded bytes of an image. */
export interface HeldBytes {
  readonly bytes: Uint8Array;
  /** They are decoded, or not wanted. */
  release(): void;
}

/** What an image is taken to have before one has been read. */
const FIRST_GUESS = 4_000_000;

interface Place {
  readonly begin: () => void;
}

/** Reads images within a budget of bytes. */
export class ReadAhead {
  readonly #budget: number;
  readonly #waiting = new Set<Place>();
  #reading = 0;
  #heldBytes = 0;
  #held = 0;
  #guess = FIRST_GUESS;

  constructor(budget: number) {
    this.#budget = budget;
  }

  /** How many reads are under way. */
  get reading(): number {
    return this.#reading;
  }

  /** How many wait for room. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Reads an image once there is room. An abort gives up the wait; a read that has begun is given up by `read` itself. */
  async read(read: () => Promise<Uint8Array>, signal: AbortSignal | undefined): Promise<HeldBytes> {
    if (!this.#hasRoom()) await this.#wait(signal);
    else this.#reading += 1;
    try {
      const bytes = await read();
      this.#guess = bytes.byteLength;
      return this.#hold(bytes);
    } finally {
      this.#reading -= 1;
      this.#admit();
    }
  }

  #hold(bytes: Uint8Array): HeldBytes {
    const { byteLength } = bytes;
    let isHeld = true;
    this.#held += 1;
    this.#heldBytes += byteLength;
    return {
      bytes,
      release: () => {
        if (!isHeld) return;
        isHeld = false;
        this.#held -= 1;
        this.#heldBytes -= byteLength;
        this.#admit();
      },
    };
  }

  #hasRoom(): boolean {
    if (this.#held + this.#reading === 0) return true;
    return this.#heldBytes + (this.#reading + 1) * this.#guess <= this.#budget;
  }

  #wait(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      const listener: AbortListener = {
        onAbort: (reason) => {
          this.#waiting.delete(place);
          reject(reason);
        },
      };
      const place: Place = {
        begin: () => {
          if (signal !== undefined) removeAbortListener(signal, listener);
          resolve();
        },
      };
      this.#waiting.add(place);
      if (signal !== undefined) addAbortListener(signal, listener);
    });
  }

  /** The room of a place is taken here, so that those that are let in together see each other. */
  #admit(): void {
    for (const place of this.#waiting) {
      if (!this.#hasRoom()) return;
      this.#waiting.delete(place);
      this.#reading += 1;
      place.begin();
    }
  }
}
