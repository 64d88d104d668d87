/**
 * The three files of an index, as a reader sees them: `vectors.npy`, `items.jsonl`, and the manifest that says how much of both counts.
 *
 * Invariants: what the manifest counts is never overwritten. Appends write behind it, then replace the manifest. A compaction writes whole new
 * files with the ending `.new`, then a manifest of the next generation, then renames them; so while a manifest says `isReplacing` a file of its
 * generation has either name. A reader that finds the same generation before and after opening has opened files that belong together.
 */
import { type FileHandle, open } from 'node:fs/promises';
import path from 'node:path';
import { type Manifest, readManifest } from './manifest.js';
import { NPY_HEADER_BYTES, parseNpyHeader } from './npy.js';
import { IndexCorruptError } from './search-errors.js';

export const VECTOR_FILE = 'vectors.npy';
export const ITEM_FILE = 'items.jsonl';
/** The ending of a file that a compaction has not yet put into place. */
export const DRAFT = '.new';

const FLOAT = 4;
const ATTEMPTS = 100;

/** Open files of one generation. */
export interface IndexSnapshot {
  readonly manifest: Manifest;
  readonly vectors: FileHandle;
  /** The lines that the manifest counts. */
  readonly lines: Buffer;
}

/** Opens what the manifest of a folder names. @throws IndexNotFoundError, IndexCorruptError */
export async function openSnapshot(folder: string): Promise<IndexSnapshot> {
  for (let attempt = 0; ; attempt++) {
    const manifest = await readManifest(folder);
    let vectors: FileHandle | undefined;
    try {
      vectors = await openFile(folder, VECTOR_FILE, manifest);
      const lines = await readLines(folder, manifest);
      const after = await readManifest(folder);
      if (after.generation === manifest.generation) {
        await requireWhole(folder, manifest, vectors, lines);
        return { manifest, vectors, lines };
      }
    } catch (error) {
      await vectors?.close();
      const isMissing = (error as NodeJS.ErrnoException).code === 'ENOENT';
      if (!isMissing) throw error;
      if (attempt >= ATTEMPTS) {
        throw new IndexCorruptError(`Cannot open index ${folder}: a file is missing`, { cause: error });
      }
      continue;
    }
    await vectors.close();
  }
}

/** The manifest's own version of a file, whichever name it has by now. */
async function openFile(folder: string, name: string, { isReplacing }: Manifest): Promise<FileHandle> {
  const file = path.join(folder, name);
  if (isReplacing) {
    try {
      return await open(`${file}${DRAFT}`, 'r');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
  return await open(file, 'r');
}

async function readLines(folder: string, manifest: Manifest): Promise<Buffer> {
  const handle = await openFile(folder, ITEM_FILE, manifest);
  try {
    const lines = Buffer.allocUnsafe(manifest.itemBytes);
    return lines.subarray(0, await readFully(handle, lines, 0));
  } finally {
    await handle.close();
  }
}

async function requireWhole(folder: string, manifest: Manifest, vectors: FileHandle, lines: Buffer): Promise<void> {
  const start = `Cannot open index ${folder}:`;
  const { rows, dimension, itemBytes } = manifest;
  if (lines.length < itemBytes) throw new IndexCorruptError(`${start} ${ITEM_FILE} is cut off`);
  const header = Buffer.alloc(NPY_HEADER_BYTES);
  await readFully(vectors, header, 0);
  const found = parseNpyHeader(header);
  if (found?.columns !== dimension || found.offset !== NPY_HEADER_BYTES) {
    throw new IndexCorruptError(`${start} ${VECTOR_FILE} is no float32 matrix of ${dimension} columns`);
  }
  const { size } = await vectors.stat();
  if (size < offsetOf(rows, dimension)) throw new IndexCorruptError(`${start} ${VECTOR_FILE} is cut off`);
}

/** Where a row begins in `vectors.npy`. */
export function offsetOf(row: number, dimension: number): number {
  return NPY_HEADER_BYTES + row * dimension * FLOAT;
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

/** Reads whole rows. @throws IndexCorruptError When the file ends before. */
export async function readRows(
  handle: FileHandle,
  first: number,
  count: number,
  dimension: number,
): Promise<Float32Array> {
  const rows = new Float32Array(count * dimension);
  const bytes = new Uint8Array(rows.buffer);
  if ((await readFully(handle, bytes, offsetOf(first, dimension))) < bytes.length) {
    throw new IndexCorruptError(`Cannot read ${VECTOR_FILE}: it ends before row ${first + count}`);
  }
  return rows;
}
