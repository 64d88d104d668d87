/** Vectors for tests: the same for the same seed, everywhere. */

/** A vector of length 1 with numbers that follow from the seed. */
export function vectorOf(seed: number, dimension: number): Float32Array {
  let state = (seed * 2654435761 + 1) >>> 0;
  const next = (): number => {
    // Numerical Recipes' linear congruential generator.
    state = (state * 1664525 + 1013904223) >>> 0;
    return state / 2 ** 32 - 0.5;
  };
  for (let turn = 0; turn < 4; turn++) next();
  const vector = Float32Array.from({ length: dimension }, next);
  const length = Math.sqrt(vector.reduce((sum, each) => sum + each * each, 0));
  return vector.map((each) => each / length);
}

/** The path that stands for a seed. */
export function pathOf(seed: number): string {
  return `/photos/${String(seed).padStart(6, '0')}.jpg`;
}

/** Entries for seeds from one on. */
export function entriesOf(first: number, count: number, dimension: number): { path: string; vector: Float32Array }[] {
  return Array.from({ length: count }, (_, at) => ({
    path: pathOf(first + at),
    vector: vectorOf(first + at, dimension),
  }));
}

/** What a plain loop in double precision answers. */
export function plainSearch(
  entries: readonly { readonly path: string; readonly vector: Float32Array }[],
  query: Float32Array,
  limit: number,
): { path: string; score: number }[] {
  const length = Math.sqrt(query.reduce((sum, each) => sum + each * each, 0));
  return entries
    .map(({ path, vector }, row) => {
      let score = 0;
      for (let at = 0; at < vector.length; at++) score += ((vector[at] as number) * (query[at] as number)) / length;
      return { path, score, row };
    })
    .sort((a, b) => b.score - a.score || a.row - b.row)
    .slice(0, limit)
    .map(({ path, score }) => ({ path, score }));
}
