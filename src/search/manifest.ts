import { open, readFile, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import type { ModelDtype, ModelIdentity } from '../image-embedding/index.js';
import { IndexCorruptError, IndexNotFoundError } from './search-errors.js';

/** How a model is named: a folder or a name on the hub, and which of its files. */
export interface IndexModelSource {
  readonly from: string;
  readonly dtype?: ModelDtype | undefined;
  readonly revision?: string | undefined;
}

/** `index.json`: which part of the other files counts. An index changes by this file being replaced, and by nothing else. */
export interface Manifest {
  readonly format: 'millrace-index';
  readonly version: 1;
  /** What made the vectors. */
  readonly model?: ModelIdentity | undefined;
  /** How the model was named when the index was made; the built-in one when it was not. */
  readonly source?: IndexModelSource | undefined;
  /** The length of a vector. */
  readonly dimension: number;
  /** How many rows `vectors.npy`, and lines `items.jsonl`, has. What follows them is of a write that did not come to its end. */
  readonly rows: number;
  /** Bytes of those lines. */
  readonly itemBytes: number;
  /** Rows whose pictures were removed or replaced, in ascending order. */
  readonly gone: readonly number[];
  /** Rows whose pictures could not be embedded, in ascending order. */
  readonly failed: readonly number[];
  /** Is one more after each compaction. */
  readonly generation: number;
  /** Whether the files of this generation may still have the ending `.new`. */
  readonly isReplacing?: boolean | undefined;
}

export const MANIFEST_FILE = 'index.json';

/** Reads the manifest of an index. @throws IndexNotFoundError, IndexCorruptError */
export async function readManifest(folder: string): Promise<Manifest> {
  const file = path.join(folder, MANIFEST_FILE);
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code !== 'ENOENT' && code !== 'ENOTDIR') {
      throw new IndexCorruptError(`Cannot open index ${folder}: ${file} cannot be read (${code})`, { cause });
    }
    throw new IndexNotFoundError(`Cannot open index ${folder}: there is none`);
  }
  const manifest = parse(text);
  if (manifest === undefined) {
    throw new IndexCorruptError(`Cannot open index ${folder}: ${file} is no manifest of version 1`);
  }
  return manifest;
}

function parse(text: string): Manifest | undefined {
  try {
    const value = JSON.parse(text) as Partial<Manifest> | null;
    const counts = [value?.dimension, value?.rows, value?.itemBytes, value?.generation];
    const isSound =
      value?.format === 'millrace-index' &&
      value.version === 1 &&
      counts.every((each) => Number.isSafeInteger(each) && (each as number) >= 0) &&
      [value.gone, value.failed].every((rows) => isRows(rows, value.rows as number));
    return isSound ? (value as Manifest) : undefined;
  } catch {
    return undefined;
  }
}

function isRows(value: unknown, length: number): boolean {
  return Array.isArray(value) && value.every((row) => Number.isSafeInteger(row) && row >= 0 && row < length);
}

/** Replaces the manifest at once: it is written under another name, brought to the disk, and renamed. */
export async function writeManifest(folder: string, manifest: Manifest): Promise<void> {
  const file = path.join(folder, MANIFEST_FILE);
  const draft = `${file}.new`;
  try {
    const handle = await open(draft, 'w');
    try {
      await handle.writeFile(`${JSON.stringify(manifest)}\n`);
      await handle.datasync();
    } finally {
      await handle.close();
    }
    await rename(draft, file);
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
}
