/** Arithmetic on embeddings. */
import { describeReceived } from '../core/index.js';

/**
 * Scales a vector to length 1, in place. A vector of zeros stays as it is.
 *
 * @internal
 */
export function normalizeInPlace(vector: Float32Array): Float32Array {
  let sum = 0;
  for (let index = 0; index < vector.length; index += 1) sum += (vector[index] as number) ** 2;
  if (sum === 0) return vector;
  const factor = 1 / Math.sqrt(sum);
  for (let index = 0; index < vector.length; index += 1) vector[index] = (vector[index] as number) * factor;
  return vector;
}

/**
 * The cosine similarity of two embeddings: 1 for the same direction, 0 for nothing in common, -1 for the opposite. They need not be normalised.
 *
 * @param a An embedding.
 * @param b Another of the same length, by the same model.
 * @returns A number from -1 to 1; 0 when one of them is all zeros.
 * @throws TypeError When one of them is no vector; RangeError when their lengths differ.
 * @example
 * ```ts
 * similarity(Float32Array.of(3, 4), Float32Array.of(6, 8)); // => 1
 * similarity([1, 0], [0, 2]); // => 0
 * ```
 */
export function similarity(a: ArrayLike<number>, b: ArrayLike<number>): number {
  for (const vector of [a, b]) {
    if (typeof vector !== 'object' || vector === null || typeof vector.length !== 'number') {
      throw new TypeError(
        `Cannot compare embeddings: each must be an array of numbers, received ${describeReceived(vector)}`,
      );
    }
  }
  if (a.length !== b.length) {
    throw new RangeError(
      `Cannot compare embeddings: their lengths must be equal, received ${a.length} and ${b.length}`,
    );
  }
  let dot = 0;
  let first = 0;
  let second = 0;
  for (let index = 0; index < a.length; index += 1) {
    const x = a[index] as number;
    const y = b[index] as number;
    dot += x * y;
    first += x * x;
    second += y * y;
  }
  if (first === 0 || second === 0) return 0;
  return Math.max(-1, Math.min(1, dot / Math.sqrt(first * second)));
}
