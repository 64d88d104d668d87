/** Groups of pictures that look the same. */
import path from 'node:path';
import {
  fillOptions,
  numberFrom,
  type OptionTable,
  oneOf,
  option,
  requireBoolean,
  workingSignal,
} from '../core/index.js';
import { createFilter, dateOf, FILTER_OPTIONS, type FilterOptions } from './filter.js';
import type { IndexState } from './index-state.js';
import type { IndexItem } from './item.js';

/** Options of {@link ImageIndex.duplicates}. */
export interface DuplicateOptions extends FilterOptions {
  /**
   * The least cosine of two copies. The default finds resized, re-encoded and slightly cut ones: 0.91 for the built-in model, by which different
   * photographs stay below it, and 0.97 for any other, whose vectors are not known to differ as much.
   */
  readonly minScore?: number | undefined;
  /** Only groups whose pictures are in more than one folder. False by default. */
  readonly across?: boolean | undefined;
  /** Which copy is the best: the one with the most pixels, or bytes where these are not known, or the oldest. `'largest'` by default. */
  readonly keep?: 'largest' | 'oldest' | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Pictures that look the same. */
export interface DuplicateGroup {
  readonly best: IndexItem;
  /** The others, those most like the best first. */
  readonly copies: readonly DuplicateCopy[];
}

export interface DuplicateCopy {
  readonly item: IndexItem;
  /** The cosine of its vector and that of the best. */
  readonly score: number;
}

/** The least cosine of two copies, by the name of the model: what 1,000 photographs of ImageNet and their copies showed. */
const SCORES: Readonly<Record<string, number>> = { 'mobilenet-v1-0.25': 0.91 };
const OTHER_SCORE = 0.97;

const DUPLICATE_OPTIONS = {
  minScore: option(numberFrom(-1, 1)),
  across: option(requireBoolean, false),
  keep: option(oneOf(['largest', 'oldest']), 'largest'),
  signal: option(workingSignal),
  ...FILTER_OPTIONS,
} satisfies OptionTable<DuplicateOptions>;

/** So many rows are compared with the others in one pass. */
const QUERIES = 8;
const BYTES_ERROR = 0.02;
const FLOAT_ERROR = 1e-5;

/** Compares all pictures with all. @throws TypeError, RangeError */
export async function findDuplicates(
  state: IndexState,
  options: DuplicateOptions | undefined,
): Promise<DuplicateGroup[]> {
  const given = fillOptions('Cannot find duplicates', options, DUPLICATE_OPTIONS);
  const { keep, across, signal } = given;
  const minScore = given.minScore ?? SCORES[state.manifest.model?.name ?? ''] ?? OTHER_SCORE;
  const filter = createFilter(given);
  const accepts = (row: number): boolean => !state.isHidden(row) && (filter?.(state.item(row)) ?? true);
  const groups = await connect(state, minScore, accepts, signal);
  const found: DuplicateGroup[] = [];
  for (const rows of groups) {
    const items = rows.map((row) => state.item(row));
    if (across && new Set(items.map((item) => path.dirname(item.path))).size < 2) continue;
    found.push(await rankCopies(state, rows, keep));
  }
  return found;
}

/** The sets of rows that are linked by pairs of at least `minScore`, in the order of their first rows. */
async function connect(
  state: IndexState,
  minScore: number,
  accepts: (row: number) => boolean,
  signal: AbortSignal | undefined,
): Promise<number[][]> {
  const scan = await state.scan();
  const { rows, dimension } = state.manifest;
  const isExact = scan.precision === 'float32';
  const bar = minScore - (isExact ? FLOAT_ERROR : BYTES_ERROR);
  const sets = new DisjointSets(rows);
  const { blockRows } = scan;
  // Every pair once: a row is compared with those behind the beginning of its own block.
  for (let block = 0; block < rows; block += blockRows) {
    const end = Math.min(rows, block + blockRows);
    const vectors = await state.readRows(block, end - block);
    for (let first = block; first < end; first += QUERIES) {
      const queries: Float32Array[] = [];
      for (let row = first; row < Math.min(end, first + QUERIES); row++) {
        queries.push(vectors.subarray((row - block) * dimension, (row - block + 1) * dimension));
      }
      const pairs: (readonly [number, number])[] = [];
      await scan.scanRows(
        block,
        rows,
        queries,
        (index, from, count, scores) => {
          const own = first + index;
          for (let at = Math.max(0, own + 1 - from); at < count; at++) {
            if ((scores[at] as number) >= bar) pairs.push([own, from + at]);
          }
        },
        signal,
      );
      for (const [one, other] of pairs) {
        if (sets.isJoined(one, other) || !accepts(one) || !accepts(other)) continue;
        const score = cosine(await state.readRows(one, 1), await state.readRows(other, 1));
        if (score >= minScore) sets.join(one, other);
      }
    }
  }
  return sets.groups();
}

async function rankCopies(
  state: IndexState,
  rows: readonly number[],
  keep: 'largest' | 'oldest',
): Promise<DuplicateGroup> {
  const better = keep === 'largest' ? isLarger : isOlder;
  const best = rows.reduce((one, other) => (better(state.item(other), state.item(one)) ? other : one));
  const vector = await state.readRows(best, 1);
  const copies: DuplicateCopy[] = [];
  for (const row of rows) {
    if (row !== best) copies.push({ item: state.item(row), score: cosine(vector, await state.readRows(row, 1)) });
  }
  return { best: state.item(best), copies: copies.sort((a, b) => b.score - a.score) };
}

function isLarger(one: IndexItem, other: IndexItem): boolean {
  const pixels = pixelsOf(one) - pixelsOf(other);
  return pixels === 0 ? (one.size ?? 0) > (other.size ?? 0) : pixels > 0;
}

function pixelsOf({ width = 0, height = 0 }: IndexItem): number {
  return width * height;
}

function isOlder(one: IndexItem, other: IndexItem): boolean {
  return (dateOf(one) ?? '9') < (dateOf(other) ?? '9');
}

/** Of vectors of length 1, in double precision. */
function cosine(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let at = 0; at < a.length; at++) sum += (a[at] as number) * (b[at] as number);
  return sum;
}

/** Union-find with path halving. The root of a set is its lowest row. */
class DisjointSets {
  readonly #parents: Int32Array;

  constructor(length: number) {
    this.#parents = Int32Array.from({ length }, (_, row) => row);
  }

  #root(row: number): number {
    const parents = this.#parents;
    let at = row;
    while (parents[at] !== at) {
      parents[at] = parents[parents[at] as number] as number;
      at = parents[at] as number;
    }
    return at;
  }

  isJoined(one: number, other: number): boolean {
    return this.#root(one) === this.#root(other);
  }

  join(one: number, other: number): void {
    const [a, b] = [this.#root(one), this.#root(other)];
    this.#parents[Math.max(a, b)] = Math.min(a, b);
  }

  /** The sets of at least two rows. */
  groups(): number[][] {
    const groups = new Map<number, number[]>();
    for (let row = 0; row < this.#parents.length; row++) {
      const root = this.#root(row);
      const group = groups.get(root);
      if (group !== undefined) group.push(row);
      else if (root === row) groups.set(row, [row]);
    }
    return [...groups.values()].filter((group) => group.length > 1);
  }
}
