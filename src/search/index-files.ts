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
import { NPY_HEADER_BYTES, type NpyLayout, parseNpyHeader } from './npy.js';
import { FileRows, type RowSource, readFully } from './row-source.js';
import { IndexCorruptError } from './search-errors.js';

export const VECTOR_FILE = 'vectors.npy';
export const ITEM_FILE = 'items.jsonl';
/** The ending of a file that a compaction has not yet put into place. */
export const DRAFT = '.new';

const FLOAT = 4;
const ATTEMPTS = 100;

/** One generation, as it is read. */
export interface IndexSnapshot {
  readonly manifest: Manifest;
  readonly vectors: RowSource;
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
        const layout = await requireWhole(folder, manifest, vectors, lines);
        return { manifest, vectors: new FileRows(vectors, layout), lines };
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

/** The most bytes of a header that another program may have written. */
const MAX_HEADER_BYTES = 4_096;

async function requireWhole(
  folder: string,
  manifest: Manifest,
  vectors: FileHandle,
  lines: Buffer,
): Promise<NpyLayout> {
  const start = `Cannot open index ${folder}:`;
  const { rows, dimension, itemBytes } = manifest;
  if (lines.length < itemBytes) throw new IndexCorruptError(`${start} ${ITEM_FILE} is cut off`);
  const layout = await readLayout(vectors);
  if (layout?.columns !== dimension) {
    throw new IndexCorruptError(`${start} ${VECTOR_FILE} is no float32 or float16 matrix of ${dimension} columns`);
  }
  const { size } = await vectors.stat();
  const rowBytes = dimension * (layout.type === 'float16' ? FLOAT / 2 : FLOAT);
  if (size < layout.offset + rows * rowBytes) throw new IndexCorruptError(`${start} ${VECTOR_FILE} is cut off`);
  return layout;
}

/** How an open NumPy file has its rows; undefined where it is none. */
export async function readLayout(handle: FileHandle): Promise<NpyLayout | undefined> {
  const header = Buffer.alloc(MAX_HEADER_BYTES);
  return parseNpyHeader(header.subarray(0, await readFully(handle, header, 0)));
}

/** Where a row begins in a `vectors.npy` that is written here. */
export function offsetOf(row: number, dimension: number): number {
  return NPY_HEADER_BYTES + row * dimension * FLOAT;
}
