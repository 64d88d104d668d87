/**
 * How many bytes of request bodies all requests may hold together.
 *
 * Invariant: `used` is the sum of what the open shares hold, and never above `limit`.
 */
export class ByteBudget {
  readonly limit: number;
  #used = 0;

  constructor(limit: number) {
    this.limit = limit;
  }

  get used(): number {
    return this.#used;
  }

  /** Opens an empty share of it. */
  open(): ByteShare {
    return new ByteShare((bytes) => {
      if (this.#used + bytes > this.limit) return false;
      this.#used += bytes;
      return true;
    });
  }
}

/** What one request holds of a {@link ByteBudget}. */
export class ByteShare {
  readonly #take: (bytes: number) => boolean;
  #held = 0;

  constructor(take: (bytes: number) => boolean) {
    this.#take = take;
  }

  get held(): number {
    return this.#held;
  }

  /** Grows the share to at least so many bytes; false where there is no room for it. */
  growTo(bytes: number): boolean {
    if (bytes <= this.#held) return true;
    if (!this.#take(bytes - this.#held)) return false;
    this.#held = bytes;
    return true;
  }

  /** Gives everything back. */
  release(): void {
    this.#take(-this.#held);
    this.#held = 0;
  }
}
