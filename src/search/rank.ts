/** Finds the best rows for a query: a scan that may be inexact, and exact scores for what it kept. */
import type { IndexState } from './index-state.js';
import type { PreparedQuery } from './query.js';
import { byScore, type Scored, TopList } from './top-list.js';
import type { VectorScan } from './vector-scan.js';

/** Options of a ranking. */
export interface RankOptions {
  readonly limit: number;
  readonly minScore: number;
  /** Which rows come into question. */
  readonly accepts: (row: number) => boolean;
  readonly signal?: AbortSignal | undefined;
}

/** By how much a score of bytes may differ from the exact one. */
const BYTES_ERROR = 0.02;
/** Rounding of float32 sums. */
const FLOAT_ERROR = 1e-5;
/** How many more rows than are wanted get an exact score. */
const SPARE_ROWS = 8;
const MIN_KEPT_OF_BYTES = 50;
/** Rows so close to each other are read at once. */
const GAP_ROWS = 64;
const RUN_ROWS = 4_096;

/** The best rows, best first. Scores are exact, whatever precision the scan has. */
export async function rank(state: IndexState, query: PreparedQuery, options: RankOptions): Promise<Scored[]> {
  const { limit, minScore } = options;
  if (limit === 0) return [];
  const scan = await state.scan();
  const isExact = scan.precision === 'float32';
  const kept = isExact ? limit + SPARE_ROWS : Math.max(MIN_KEPT_OF_BYTES, 5 * limit);
  const slack = isExact ? FLOAT_ERROR : BYTES_ERROR;
  const candidates = await scanTerms(scan, query, { ...options, limit: kept, minScore: minScore - slack });
  const exact = await rescore(state, scan, query, candidates);
  const found = exact.filter(({ score }) => score >= minScore).sort(byScore);
  return Number.isFinite(limit) ? found.slice(0, limit) : found;
}

/** The rows whose inexact score is best. The score of a row is the sum over the terms of weight times best match. */
async function scanTerms(scan: VectorScan, query: PreparedQuery, options: RankOptions): Promise<Scored[]> {
  const { accepts, minScore, signal } = options;
  const top = new TopList(options.limit);
  const offer = (first: number, count: number, scores: Float32Array): void => {
    let bar = Math.max(minScore, top.bar);
    for (let at = 0; at < count; at++) {
      const score = scores[at] as number;
      if (score < bar || !accepts(first + at)) continue;
      top.offer(first + at, score);
      bar = Math.max(minScore, top.bar);
    }
  };
  const { terms } = query;
  const [only] = terms;
  if (terms.length === 1 && only?.weight === 1 && only.vectors.length === 1) {
    await scan.scan(only.vectors, (_, first, count, scores) => offer(first, count, scores), signal);
    return top.sorted();
  }
  const vectors = terms.flatMap((term) => term.vectors);
  // The weight of a term stands at its last vector: then the best match of all its vectors is known.
  const weights = terms.flatMap(({ weight, vectors: own }) =>
    own.map((_, at) => (at === own.length - 1 ? weight : undefined)),
  );
  const best = new Float32Array(scan.blockRows);
  const sums = new Float32Array(scan.blockRows);
  let isFirstOfTerm = true;
  await scan.scan(
    vectors,
    (index, first, count, scores) => {
      if (index === 0) sums.fill(0);
      for (let at = 0; at < count; at++) {
        const score = scores[at] as number;
        if (isFirstOfTerm || score > (best[at] as number)) best[at] = score;
      }
      const weight = weights[index];
      isFirstOfTerm = weight !== undefined;
      if (weight === undefined) return;
      for (let at = 0; at < count; at++) sums[at] = (sums[at] as number) + weight * (best[at] as number);
      if (index === vectors.length - 1) offer(first, count, sums);
    },
    signal,
  );
  return top.sorted();
}

/** Computes scores in double precision, as a plain loop over the rows does. */
async function rescore(
  state: IndexState,
  scan: VectorScan,
  query: PreparedQuery,
  candidates: readonly Scored[],
): Promise<Scored[]> {
  if (scan.precision === 'float32') return candidates.map(({ row }) => ({ row, score: scoreOf(query, scan.row(row)) }));
  const rows = candidates.map(({ row }) => row).sort((a, b) => a - b);
  const { dimension } = scan;
  const exact: Scored[] = [];
  const runs = [...runsOf(rows)];
  // The reads are short, and the system's caches answer most: their latency is what is saved.
  await Promise.all(
    runs.map(async (run) => {
      const first = run[0] as number;
      const vectors = await state.readRows(first, (run.at(-1) as number) - first + 1);
      for (const row of run) {
        const from = (row - first) * dimension;
        exact.push({ row, score: scoreOf(query, vectors.subarray(from, from + dimension)) });
      }
    }),
  );
  return exact;
}

/** Ascending rows in runs of close ones. */
function* runsOf(rows: readonly number[]): Generator<readonly number[]> {
  let run: number[] = [];
  for (const row of rows) {
    const isFar = run.length > 0 && (row - (run.at(-1) as number) > GAP_ROWS || row - (run[0] as number) >= RUN_ROWS);
    if (isFar) {
      yield run;
      run = [];
    }
    run.push(row);
  }
  if (run.length > 0) yield run;
}

function scoreOf({ terms }: PreparedQuery, row: Float32Array): number {
  let sum = 0;
  for (const { weight, vectors } of terms) sum += weight * Math.max(...vectors.map((vector) => dot(vector, row)));
  return sum;
}

/** The inner product, in double precision. */
export function dot(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let at = 0; at < a.length; at++) sum += (a[at] as number) * (b[at] as number);
  return sum;
}
