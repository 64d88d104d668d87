/**
 * The vectors of an index in memory, and the scan over them.
 *
 * The memory is WebAssembly's: room for queries and scores, then blocks of rows. A block of bytes has the scales of its rows in front of them.
 * Every step of a scan writes its queries, runs over one block and reads the scores without a pause between, so scans can run side by side, and
 * rows can be appended meanwhile.
 */
import { readFile } from 'node:fs/promises';
import { scheduleMacrotask } from '../core/index.js';
import { packageFile } from '../worker/internal.js';

/** How rows are kept: as they are, or rounded to bytes, for a quarter of the memory and of the time. */
export type ScanPrecision = 'float32' | 'int8';

/** Sees the scores of `count` rows by one query. The scores are overwritten by the next call. */
export type SeeScores = (query: number, firstRow: number, count: number, scores: Float32Array) => void;

interface ScanFunctions {
  readonly memory: { readonly buffer: ArrayBuffer; grow(pages: number): number };
  dotFloats(
    queries: number,
    count: number,
    rows: number,
    length: number,
    groups: number,
    scores: number,
    scoreStride: number,
  ): void;
  dotBytes(
    queries: number,
    count: number,
    rows: number,
    scales: number,
    length: number,
    groups: number,
    scores: number,
    scoreStride: number,
  ): void;
  quantizeRows(rows: number, length: number, groups: number, target: number, scales: number): void;
}

/** What of the engine's global is used: only the types of a browser declare it. */
interface WebAssemblyGlobal {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object) => { readonly exports: object };
}

const PAGE = 65_536;
/** The memory's first page is left to the compiler. */
const START = PAGE;
const BLOCK_ROWS = 2_048;
const GROUP = 16;
const FLOAT = 4;
/** So many queries share one pass. */
const MAX_QUERIES = 8;
/** A scan gives the event loop a turn after so many bytes of rows, about 2 ms. */
const SLICE_BYTES = 32 << 20;

let compiled: Promise<object> | undefined;

export class VectorScan {
  readonly precision: ScanPrecision;
  readonly dimension: number;
  readonly #run: ScanFunctions;
  /** Groups of 16 numbers in a row. */
  readonly #groups: number;
  readonly #queries: number;
  readonly #queryBytes: number;
  readonly #queryScales: number;
  readonly #scores: number;
  /** One block of float32 on its way to bytes. */
  readonly #staging: number;
  readonly #blocks: number;
  readonly #blockBytes: number;
  #length = 0;

  private constructor(run: ScanFunctions, dimension: number, precision: ScanPrecision) {
    this.#run = run;
    this.dimension = dimension;
    this.precision = precision;
    this.#groups = Math.ceil(dimension / GROUP);
    const width = this.#groups * GROUP;
    let at = START;
    const reserve = (bytes: number): number => {
      const place = at;
      at += Math.ceil(bytes / GROUP) * GROUP;
      return place;
    };
    this.#queries = reserve(MAX_QUERIES * width * FLOAT);
    this.#queryBytes = reserve(MAX_QUERIES * width);
    this.#queryScales = reserve(MAX_QUERIES * FLOAT);
    this.#scores = reserve(MAX_QUERIES * BLOCK_ROWS * FLOAT);
    this.#staging = precision === 'int8' ? reserve(BLOCK_ROWS * width * FLOAT) : 0;
    this.#blocks = at;
    this.#blockBytes = precision === 'int8' ? BLOCK_ROWS * (FLOAT + width) : BLOCK_ROWS * width * FLOAT;
  }

  /** A scan over no rows yet. */
  static async create(dimension: number, precision: ScanPrecision): Promise<VectorScan> {
    const engine = (globalThis as unknown as { readonly WebAssembly: WebAssemblyGlobal }).WebAssembly;
    compiled ??= readFile(packageFile('search/kernels/scan.wasm')).then((bytes) => new engine.Module(bytes));
    const { exports } = new engine.Instance(await compiled);
    return new VectorScan(exports as ScanFunctions, dimension, precision);
  }

  /** How many rows it has. */
  get length(): number {
    return this.#length;
  }

  /** Takes rows that are in memory. */
  append(rows: Float32Array): void {
    const count = rows.length / this.dimension;
    for (let done = 0; done < count; ) {
      const taken = this.#room(count - done);
      const target = this.#floats(this.#target(), taken * this.#groups * GROUP);
      this.#pad(rows.subarray(done * this.dimension, (done + taken) * this.dimension), target);
      this.#commit(taken);
      done += taken;
    }
  }

  /**
   * Takes rows from a file, straight into the memory where their length allows it. Not to be called twice at once.
   *
   * @param read Fills a buffer with the bytes of the rows from one on.
   */
  async load(count: number, read: (firstRow: number, target: Uint8Array) => Promise<void>): Promise<void> {
    const first = this.#length;
    // Grown once: a memory that grows takes its buffers away from reads that are under way.
    this.#grow(first + count);
    const isWhole = this.dimension % GROUP === 0;
    const buffer = isWhole ? undefined : new Float32Array(BLOCK_ROWS * this.dimension);
    for (let done = 0; done < count; ) {
      const taken = this.#room(count - done);
      const length = taken * this.dimension;
      const rows = buffer?.subarray(0, length) ?? this.#floats(this.#target(), length);
      await read(first + done, new Uint8Array(rows.buffer, rows.byteOffset, rows.byteLength));
      if (buffer !== undefined) this.#pad(rows, this.#floats(this.#target(), taken * this.#groups * GROUP));
      this.#commit(taken);
      done += taken;
    }
  }

  /** Scores all rows by all queries; gives the event loop a turn now and then. */
  async scan(queries: readonly Float32Array[], see: SeeScores, signal?: AbortSignal): Promise<void> {
    await this.scanRows(0, this.#length, queries, see, signal);
  }

  /** The same for the rows from `first` up to `end`. `first` must be a multiple of {@link blockRows}. */
  async scanRows(
    first: number,
    end: number,
    queries: readonly Float32Array[],
    see: SeeScores,
    signal?: AbortSignal,
  ): Promise<void> {
    let bytes = 0;
    for (let row = first; row < end; row += BLOCK_ROWS) {
      const count = Math.min(BLOCK_ROWS, end - row);
      for (let query = 0; query < queries.length; query += MAX_QUERIES) {
        this.#step(queries.slice(query, query + MAX_QUERIES), row, count, (index, scores) => {
          see(query + index, row, count, scores);
        });
        bytes += this.#blockBytes;
      }
      if (bytes < SLICE_BYTES) continue;
      bytes = 0;
      await new Promise<void>((resolve) => scheduleMacrotask(resolve));
      signal?.throwIfAborted();
    }
  }

  /** A copy of a row, which must be float32. */
  row(row: number): Float32Array {
    return this.#floats(this.#blocks + row * this.#groups * GROUP * FLOAT, this.dimension).slice();
  }

  /** How many rows are scored at once. */
  get blockRows(): number {
    return BLOCK_ROWS;
  }

  #step(
    queries: readonly Float32Array[],
    row: number,
    count: number,
    see: (index: number, scores: Float32Array) => void,
  ): void {
    const run = this.#run;
    const groups = this.#groups;
    const block = this.#blocks + (row / BLOCK_ROWS) * this.#blockBytes;
    const stride = BLOCK_ROWS * FLOAT;
    const width = groups * GROUP;
    for (const [index, query] of queries.entries()) {
      this.#floats(this.#queries + index * width * FLOAT, this.dimension).set(query);
    }
    if (this.precision === 'float32') {
      run.dotFloats(this.#queries, queries.length, block, count, groups, this.#scores, stride);
    } else {
      run.quantizeRows(this.#queries, queries.length, groups, this.#queryBytes, this.#queryScales);
      const rows = block + BLOCK_ROWS * FLOAT;
      run.dotBytes(this.#queryBytes, queries.length, rows, block, count, groups, this.#scores, stride);
    }
    const scales = this.#floats(this.#queryScales, MAX_QUERIES);
    for (let index = 0; index < queries.length; index++) {
      const scores = this.#floats(this.#scores + index * stride, count);
      if (this.precision === 'int8') {
        const scale = scales[index] as number;
        for (let at = 0; at < count; at++) scores[at] = (scores[at] as number) * scale;
      }
      see(index, scores);
    }
  }

  /** How many of some rows the block has room for that the next row is in. */
  #room(count: number): number {
    return Math.min(count, BLOCK_ROWS - (this.#length % BLOCK_ROWS));
  }

  /** Where the float32 of the next row go. */
  #target(): number {
    this.#grow(this.#length + 1);
    if (this.precision === 'int8') return this.#staging;
    return this.#blocks + this.#length * this.#groups * GROUP * FLOAT;
  }

  /** Counts rows whose float32 are where {@link VectorScan.#target} said. */
  #commit(count: number): void {
    if (this.precision === 'int8') {
      const at = this.#length % BLOCK_ROWS;
      const block = this.#blocks + Math.floor(this.#length / BLOCK_ROWS) * this.#blockBytes;
      const rows = block + BLOCK_ROWS * FLOAT + at * this.#groups * GROUP;
      this.#run.quantizeRows(this.#staging, count, this.#groups, rows, block + at * FLOAT);
    }
    this.#length += count;
  }

  #pad(rows: Float32Array, target: Float32Array): void {
    const width = this.#groups * GROUP;
    const { dimension } = this;
    if (width === dimension) {
      target.set(rows);
      return;
    }
    for (let from = 0, to = 0; from < rows.length; from += dimension, to += width) {
      target.set(rows.subarray(from, from + dimension), to);
      target.fill(0, to + dimension, to + width);
    }
  }

  #floats(place: number, length: number): Float32Array {
    return new Float32Array(this.#run.memory.buffer, place, length);
  }

  #grow(rows: number): void {
    const { memory } = this.#run;
    const needed = this.#blocks + Math.ceil(rows / BLOCK_ROWS) * this.#blockBytes;
    const missing = needed - memory.buffer.byteLength;
    if (missing > 0) memory.grow(Math.ceil(missing / PAGE));
  }
}
