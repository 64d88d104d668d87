/**
 * In which order the arms are looked at.
 *
 * Invariants:
 * - Every arm is looked at once, whatever the order.
 * - Rotation starts behind the last winner, so that of any arms that stay ready each wins equally often, whatever arms stand between them. A draw
 *   is a shuffle (Fisher and Yates, as far as it is needed), which is fair to every subset as well; a random start would not be.
 */
import { pin } from '../internal/pinned.js';

/** One way of going through `n` arms. `begin` is called first, `at(0)` … `at(n - 1)` after it in this order, `won` if one of them won. */
export interface Order {
  begin(): void;
  at(position: number): number;
  won(index: number): void;
}

/** Shuffled by a generator. */
export class ShuffledOrder implements Order {
  readonly #indices: number[] = [];
  readonly #count: number;
  readonly #random: () => number;

  constructor(count: number, random: () => number) {
    this.#count = count;
    this.#random = random;
  }

  // The same draws give the same order only from the same start.
  begin(): void {
    for (let index = 0; index < this.#count; index++) this.#indices[index] = index;
  }

  at(position: number): number {
    const indices = this.#indices;
    const left = this.#count - position;
    if (left > 1) {
      // An index, whatever a generator of the user's may answer.
      const other = position + (((this.#random() * left) >>> 0) % left);
      const index = indices[other] as number;
      indices[other] = indices[position] as number;
      indices[position] = index;
    }
    return indices[position] as number;
  }

  won(): void {}
}

/** Spreads seeds that lie close together: 2^32 divided by the golden ratio. */
const GOLDEN = 0x9e3779b1;

/** A generator of numbers from 0 up to but not including 1, after Marsaglia's xorshift with 32 bits. */
export function seededRandom(seed: number): () => number {
  let state = Math.imul(seed | 0, GOLDEN) ^ Math.floor(seed / 2 ** 32) || GOLDEN;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

pin(new ShuffledOrder(1, Math.random));
