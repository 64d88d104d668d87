import { scheduleMacrotask } from '../../core/index.js';

/** Another vector, and how alike it is. */
export interface Neighbour {
  readonly index: number;
  /** The cosine of the angle between the two: 1 for the same direction. */
  readonly cosine: number;
}

/**
 * Finds for every vector the `count` others most like it, nearest first. Compares all with all, and gives the event loop a turn between rows.
 *
 * @param vectors Vectors of one dimension and of unit length.
 * @param count How many to find for each.
 */
export async function findNeighbours(vectors: readonly Float32Array[], count: number): Promise<Neighbour[][]> {
  const rows: Neighbour[][] = [];
  for (let row = 0; row < vectors.length; row++) {
    const found: Neighbour[] = [];
    for (let index = 0; index < vectors.length; index++) {
      if (index === row) continue;
      const cosine = dot(vectors[row] as Float32Array, vectors[index] as Float32Array);
      if (found.length === count && cosine <= (found[count - 1] as Neighbour).cosine) continue;
      const at = found.findIndex((each) => each.cosine < cosine);
      found.splice(at < 0 ? found.length : at, 0, { index, cosine });
      if (found.length > count) found.pop();
    }
    rows.push(found);
    await new Promise<void>((resolve) => scheduleMacrotask(resolve));
  }
  return rows;
}

function dot(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let index = 0; index < a.length; index++) sum += (a[index] as number) * (b[index] as number);
  return sum;
}
