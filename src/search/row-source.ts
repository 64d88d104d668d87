/** Where the vectors of an index are read from: a NumPy file, whose halves are widened, or memory. */
import type { FileHandle } from 'node:fs/promises';
import { fromFloat16, normalizeInPlace } from '../image-embedding/internal.js';
import type { NpyLayout } from './npy.js';
import { IndexCorruptError } from './search-errors.js';

export interface RowSource {
  /** Fills a buffer with whole rows, from one on. @throws IndexCorruptError When there are fewer. */
  readInto(first: number, target: Float32Array): Promise<void>;
  close(): Promise<void>;
}

/** Rows of an open file. */
export class FileRows implements RowSource {
  readonly #handle: FileHandle;
  readonly #layout: NpyLayout;

  constructor(handle: FileHandle, layout: NpyLayout) {
    this.#handle = handle;
    this.#layout = layout;
  }

  async readInto(first: number, target: Float32Array): Promise<void> {
    const { columns, offset, type } = this.#layout;
    const isHalf = type === 'float16';
    const start = offset + first * columns * (isHalf ? 2 : 4);
    const halves = isHalf ? new Uint16Array(target.length) : undefined;
    const { buffer, byteOffset, byteLength } = halves ?? target;
    const bytes = new Uint8Array(buffer, byteOffset, byteLength);
    if ((await readFully(this.#handle, bytes, start)) < byteLength) {
      throw new IndexCorruptError(`Cannot read vectors: they end before row ${first + target.length / columns}`);
    }
    if (halves === undefined) return;
    target.set(fromFloat16(halves));
    // Rounding has made them a little longer or shorter than 1.
    for (let at = 0; at < target.length; at += columns) normalizeInPlace(target.subarray(at, at + columns));
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }
}

/** Rows in memory. */
export class MemoryRows implements RowSource {
  readonly #rows: Float32Array;
  readonly #dimension: number;

  constructor(rows: Float32Array, dimension: number) {
    this.#rows = rows;
    this.#dimension = dimension;
  }

  readInto(first: number, target: Float32Array): Promise<void> {
    const from = first * this.#dimension;
    target.set(this.#rows.subarray(from, from + target.length));
    return Promise.resolve();
  }

  async close(): Promise<void> {}
}

/** Reads until the buffer is full or the file ends; returns how many bytes came. */
export async function readFully(handle: FileHandle, target: Uint8Array, position: number): Promise<number> {
  let length = 0;
  while (length < target.length) {
    const { bytesRead } = await handle.read(target, length, target.length - length, position + length);
    if (bytesRead === 0) break;
    length += bytesRead;
  }
  return length;
}
