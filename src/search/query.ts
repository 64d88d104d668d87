/** A query: terms with weights, each with one vector or a set of alternatives. */
import { faultOf, requireNumber } from '../core/index.js';

/** One term of a query. */
export interface QueryTerm {
  /** 1 by default; below 0 for what is not wanted. */
  readonly weight?: number | undefined;
  /** What it looks like. Of several the best match counts: a word may stand for many kinds of one thing. */
  readonly vectors: readonly Float32Array[];
}

/** A vector, or terms. */
export type SearchQuery = Float32Array | readonly QueryTerm[];

/**
 * A query with its vectors at length 1 and weights whose sizes add up to 1, so that scores stay between -1 and 1. Terms of one vector have been
 * added up: all of them together are one pass.
 */
export interface PreparedQuery {
  readonly terms: readonly { readonly weight: number; readonly vectors: readonly Float32Array[] }[];
}

/** Checks a query and prepares it. @throws TypeError, RangeError */
export function prepareQuery(action: string, query: SearchQuery, dimension: number): PreparedQuery {
  const given = query instanceof Float32Array ? [{ vectors: [query] }] : query;
  if (!Array.isArray(given) || given.length === 0) {
    throw faultOf(action, 'query', 'a Float32Array or terms', query);
  }
  const terms = (given as readonly QueryTerm[]).map(({ weight = 1, vectors }) => {
    requireNumber(action, 'weight', weight, -1e6, 1e6);
    if (!Array.isArray(vectors) || vectors.length === 0)
      throw faultOf(action, 'vectors', 'at least one vector', vectors);
    return { weight, vectors: vectors.map((vector) => unitVector(action, vector, dimension)) };
  });
  const joined = join(action, terms, dimension);
  const total = joined.reduce((sum, { weight }) => sum + Math.abs(weight), 0);
  if (total === 0) throw new RangeError(`${action}: the weights must not all be 0`);
  return { terms: joined.map(({ weight, vectors }) => ({ weight: weight / total, vectors })) };
}

type Terms = PreparedQuery['terms'];

/** Adds up the terms of one vector. */
function join(action: string, terms: Terms, dimension: number): Terms {
  const single = terms.filter(({ vectors }) => vectors.length === 1);
  if (single.length < 2) return terms;
  const sum = new Float32Array(dimension);
  for (const { weight, vectors } of single) {
    const [vector] = vectors as [Float32Array];
    for (let at = 0; at < dimension; at++) sum[at] = (sum[at] as number) + weight * (vector[at] as number);
  }
  const length = Math.sqrt(sum.reduce((squares, each) => squares + each * each, 0));
  if (length < 1e-6) throw new RangeError(`${action}: the terms cancel each other out`);
  const rest = terms.filter(({ vectors }) => vectors.length > 1);
  return [{ weight: length, vectors: [unitVector(action, sum, dimension)] }, ...rest];
}

/**
 * A copy of a vector, scaled to length 1.
 *
 * @throws TypeError When it is no Float32Array; RangeError when it has another length, holds what is no number, or only zeros.
 */
export function unitVector(action: string, vector: unknown, dimension: number): Float32Array {
  if (!(vector instanceof Float32Array)) throw faultOf(action, 'vector', 'a Float32Array', vector);
  if (vector.length !== dimension) {
    throw new RangeError(`${action}: a vector must have ${dimension} numbers, received ${vector.length}`);
  }
  let sum = 0;
  for (let at = 0; at < dimension; at++) sum += (vector[at] as number) ** 2;
  if (!Number.isFinite(sum) || sum === 0) {
    throw new RangeError(
      `${action}: a vector must have a direction, received ${sum === 0 ? 'zeros' : 'what is no number'}`,
    );
  }
  const factor = 1 / Math.sqrt(sum);
  return vector.map((each) => each * factor);
}
