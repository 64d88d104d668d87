/** What an open index has read: one generation of its files, which grows with the commits that are seen. */
import { open } from 'node:fs/promises';
import path from 'node:path';
import { readEmbedOutput } from './embed-output.js';
import { type IndexSnapshot, ITEM_FILE, openSnapshot } from './index-files.js';
import { type IndexItem, parseItem } from './item.js';
import { ItemTable } from './item-table.js';
import type { Manifest } from './manifest.js';
import { MemoryRows, type RowSource, readFully } from './row-source.js';
import { IndexCorruptError } from './search-errors.js';
import { type ScanPrecision, VectorScan } from './vector-scan.js';

/** From so many bytes of vectors on they are rounded to bytes in memory. */
const LARGE_BYTES = 128 << 20;

export class IndexState {
  readonly folder: string;
  readonly #vectors: RowSource;
  readonly #items: ItemTable;
  readonly #precision: ScanPrecision;
  #manifest: Manifest;
  /** 1 for each row that no search finds. */
  #hidden: Uint8Array;
  #paths: Map<string, number> | undefined;
  #scan: Promise<VectorScan> | undefined;
  #users = 1;

  private constructor(folder: string, { manifest, vectors, lines }: IndexSnapshot, precision: ScanPrecision) {
    this.folder = folder;
    this.#manifest = manifest;
    this.#vectors = vectors;
    this.#items = new ItemTable(path.join(folder, ITEM_FILE), lines, manifest.rows);
    this.#hidden = hiddenRows(manifest);
    this.#precision = precision;
  }

  /** @throws IndexNotFoundError, IndexCorruptError */
  static async open(folder: string, precision: ScanPrecision | 'auto'): Promise<IndexState> {
    const snapshot = await openSnapshot(folder);
    try {
      return new IndexState(folder, snapshot, precisionFor(snapshot.manifest, precision));
    } catch (error) {
      await snapshot.vectors.close();
      throw error;
    }
  }

  /** Reads a file that `millrace embed` has written, whole. @throws IndexNotFoundError, IndexCorruptError, IndexModelError */
  static async read(file: string, precision: ScanPrecision | 'auto'): Promise<IndexState> {
    const { manifest, items, vectors } = await readEmbedOutput(file);
    const rows = new MemoryRows(vectors, manifest.dimension);
    const snapshot = { manifest: { ...manifest, rows: 0 }, vectors: rows, lines: Buffer.alloc(0) };
    const state = new IndexState(file, snapshot, precisionFor(manifest, precision));
    await state.advance(manifest, vectors, items);
    return state;
  }

  get manifest(): Manifest {
    return this.#manifest;
  }

  /** How many pictures can be found. */
  get size(): number {
    const { rows, gone, failed } = this.#manifest;
    if (failed.length === 0) return rows - gone.length;
    const out = new Set(gone);
    return rows - gone.length - failed.filter((row) => !out.has(row)).length;
  }

  item(row: number): IndexItem {
    return this.#items.at(row);
  }

  isHidden(row: number): boolean {
    return this.#hidden[row] === 1;
  }

  /** The row of each path, failures included. */
  get paths(): ReadonlyMap<string, number> {
    return this.#knownPaths();
  }

  #knownPaths(): Map<string, number> {
    if (this.#paths !== undefined) return this.#paths;
    const gone = new Set(this.#manifest.gone);
    const paths = new Map<string, number>();
    for (let row = 0; row < this.#manifest.rows; row++) if (!gone.has(row)) paths.set(this.item(row).path, row);
    this.#paths = paths;
    return paths;
  }

  /** The vectors in memory; read when first asked for. */
  async scan(): Promise<VectorScan> {
    this.#scan ??= this.#load().catch((error: unknown) => {
      this.#scan = undefined;
      throw error;
    });
    return await this.#scan;
  }

  async #load(): Promise<VectorScan> {
    const { rows, dimension } = this.#manifest;
    const scan = await VectorScan.create(dimension, this.#precision);
    await scan.load(rows, async (first, target) => {
      await this.#vectors.readInto(first, new Float32Array(target.buffer, target.byteOffset, target.byteLength / 4));
    });
    return scan;
  }

  /** Rows out of the file, one after another. */
  async readRows(first: number, count: number): Promise<Float32Array> {
    const rows = new Float32Array(count * this.#manifest.dimension);
    await this.#vectors.readInto(first, rows);
    return rows;
  }

  /** Takes a commit of the writer of this process. */
  async advance(manifest: Manifest, vectors: Float32Array, items: readonly IndexItem[]): Promise<void> {
    const first = this.#manifest.rows;
    if (items.length > 0) (await this.#scan)?.append(vectors);
    this.#items.append(items);
    const { gone } = this.#manifest;
    this.#manifest = manifest;
    this.#hidden = hiddenRows(manifest);
    if (this.#paths === undefined) return;
    const known = this.#paths;
    const before = new Set(gone);
    for (const row of manifest.gone) {
      if (!before.has(row) && known.get(this.item(row).path) === row) known.delete(this.item(row).path);
    }
    for (const [index, item] of items.entries()) known.set(item.path, first + index);
  }

  /** Takes the commits that another process has made in the same generation. */
  async follow(manifest: Manifest): Promise<void> {
    const { rows, itemBytes } = this.#manifest;
    const count = manifest.rows - rows;
    if (count === 0) return await this.advance(manifest, new Float32Array(0), []);
    const lines = await readTail(this.folder, itemBytes, manifest.itemBytes);
    const items = lines.toString('utf8').split('\n').slice(0, count).map(parseItem);
    const isWhole = items.length === count && items.every((item) => item !== undefined);
    if (!isWhole) throw new IndexCorruptError(`Cannot read ${path.join(this.folder, ITEM_FILE)}: a line is no item`);
    await this.advance(manifest, await this.readRows(rows, count), items as IndexItem[]);
  }

  /** Keeps the file open for one more user. */
  retain(): this {
    this.#users++;
    return this;
  }

  /** Closes the file with the last user. */
  async release(): Promise<void> {
    this.#users--;
    if (this.#users === 0) await this.#vectors.close();
  }
}

function precisionFor({ rows, dimension }: Manifest, precision: ScanPrecision | 'auto'): ScanPrecision {
  if (precision !== 'auto') return precision;
  return rows * dimension * 4 > LARGE_BYTES ? 'int8' : 'float32';
}

function hiddenRows({ rows, gone, failed }: Manifest): Uint8Array {
  const hidden = new Uint8Array(rows);
  for (const row of gone) hidden[row] = 1;
  for (const row of failed) hidden[row] = 1;
  return hidden;
}

async function readTail(folder: string, from: number, to: number): Promise<Buffer> {
  const handle = await open(path.join(folder, ITEM_FILE), 'r');
  try {
    const lines = Buffer.alloc(to - from);
    return lines.subarray(0, await readFully(handle, lines, from));
  } finally {
    await handle.close();
  }
}
