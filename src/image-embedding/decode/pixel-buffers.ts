/** Memory for scaled pictures, all of one size: a model's. */
export class PixelBuffers {
  readonly #keep: number;
  readonly #free: Uint8Array[] = [];

  /**
   * @param keep How many are kept for a later picture. While pictures wait for their batch V8 takes their memory for old, and gives it back much
   *   later than it could.
   */
  constructor(keep = 16) {
    this.#keep = keep;
  }

  /** Memory of so many bytes, with whatever an earlier picture left there. */
  take(length: number): Uint8Array {
    const found = this.#free.pop();
    return found?.length === length ? found : new Uint8Array(length);
  }

  /** Takes back memory that is no longer in use, once. */
  giveBack(pixels: Uint8Array): void {
    if (this.#free.length < this.#keep) this.#free.push(pixels);
  }
}
