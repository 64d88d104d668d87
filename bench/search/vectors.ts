/** Clustered vectors, as embeddings of photographs are: the same on every run. */

export interface Corpus {
  readonly count: number;
  readonly dimension: number;
  /** Rows of length 1, one after another. */
  readonly rows: Float32Array;
  readonly queries: readonly Float32Array[];
}

/** Rows around `clusters` centres, and queries near rows of the corpus. */
export function makeCorpus(count: number, dimension: number, clusters: number, queries: number): Corpus {
  let state = 12_345;
  const uniform = (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
  // The sum of four is near enough to a normal distribution.
  const normal = (): number => uniform() + uniform() + uniform() + uniform() - 2;
  const centres = Array.from({ length: clusters }, () => Float32Array.from({ length: dimension }, normal));
  const rows = new Float32Array(count * dimension);
  const near = (target: Float32Array, centre: Float32Array, noise: number): void => {
    let sum = 0;
    for (let at = 0; at < dimension; at++) {
      const value = (centre[at] as number) + noise * normal();
      target[at] = value;
      sum += value * value;
    }
    const factor = 1 / Math.sqrt(sum);
    for (let at = 0; at < dimension; at++) target[at] = (target[at] as number) * factor;
  };
  for (let row = 0; row < count; row++) {
    const centre = centres[Math.floor(uniform() * clusters)] as Float32Array;
    near(rows.subarray(row * dimension, (row + 1) * dimension), centre, 0.7);
  }
  const wanted = Array.from({ length: queries }, () => {
    const query = new Float32Array(dimension);
    const row = Math.floor(uniform() * count);
    near(query, rows.subarray(row * dimension, (row + 1) * dimension), 0.02);
    return query;
  });
  return { count, dimension, rows, queries: wanted };
}

/** The rows that a plain loop finds best. */
export function plainTop({ count, dimension, rows }: Corpus, query: Float32Array, limit: number): number[] {
  const scores = new Float64Array(count);
  for (let row = 0; row < count; row++) {
    let sum = 0;
    for (let at = 0, from = row * dimension; at < dimension; at++)
      sum += (rows[from + at] as number) * (query[at] as number);
    scores[row] = sum;
  }
  return [...scores.keys()].sort((a, b) => (scores[b] as number) - (scores[a] as number) || a - b).slice(0, limit);
}
