/**
 * Pixels lie outside of V8's heap, where a megabyte of them weighs next to nothing: it would let go of them a dozen pictures later. Where memory
 * counts for more than a percent of the CPU it is asked to do so sooner.
 */
import { setFlagsFromString } from 'node:v8';

/** Bytes of dead pixels that are worth a collection of young objects, which takes a fraction of a millisecond. */
const ENOUGH = 3_000_000;

type Collect = (options: { readonly type: 'minor' }) => void;

/** Counts pixels that have had their day. */
export class PixelGarbage {
  readonly #collect: Collect;
  #bytes = 0;

  private constructor(collect: Collect) {
    this.#collect = collect;
  }

  /**
   * Has the heap of this process grow no more than it does by itself, and its young objects collected as often as it takes.
   *
   * @returns Undefined in a process that was started without `--expose-gc`.
   */
  static start(): PixelGarbage | undefined {
    const { gc } = globalThis as { readonly gc?: Collect };
    if (gc === undefined) return undefined;
    setFlagsFromString('--heap-growing-percent=0');
    return new PixelGarbage(gc);
  }

  /** Counts pixels that are no longer in use. */
  add(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes < ENOUGH) return;
    this.#bytes = 0;
    this.#collect({ type: 'minor' });
  }
}
