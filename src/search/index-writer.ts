/** The one writer of an index. It holds the lock, and owns what lies behind the end that the manifest names. */
import { type FileHandle, open, readdir, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { FileLock, type LockHolder, makeFolder } from '../image-embedding/internal.js';
import { DRAFT, ITEM_FILE, offsetOf, readLayout, VECTOR_FILE } from './index-files.js';
import { MANIFEST_FILE, type Manifest, readManifest, writeManifest } from './manifest.js';
import { NPY_HEADER_BYTES, npyHeader } from './npy.js';
import { readFully } from './row-source.js';
import { IndexExistsError, IndexLockedError, IndexNotFoundError, IndexWriteError } from './search-errors.js';

const LOCK_FILE = 'write.lock';
const OWN_FILES = new Set([VECTOR_FILE, ITEM_FILE, MANIFEST_FILE].flatMap((name) => [name, `${name}${DRAFT}`]));
/** How much of the old file a compaction holds in memory. */
const COPY_BYTES = 8 << 20;

/** What one commit changes. */
export interface Change {
  /** Whole rows, one after another. */
  readonly vectors: Float32Array;
  /** As many lines. */
  readonly lines: Buffer;
  /** Rows that count no longer. */
  readonly gone: readonly number[];
  /** Which of the new rows, counted from the first of them, stand for a failure. */
  readonly failed: readonly number[];
}

export class IndexWriter {
  readonly #folder: string;
  readonly #lock: FileLock;
  #manifest: Manifest;
  #vectors: FileHandle;
  #items: FileHandle;

  private constructor(folder: string, lock: FileLock, manifest: Manifest, vectors: FileHandle, items: FileHandle) {
    this.#folder = folder;
    this.#lock = lock;
    this.#manifest = manifest;
    this.#vectors = vectors;
    this.#items = items;
  }

  /** Makes an empty index. @throws IndexExistsError, IndexLockedError, IndexWriteError */
  static async create(folder: string, manifest: Manifest): Promise<void> {
    const action = `Cannot create index ${folder}`;
    await writing(action, () => makeFolder(folder));
    const lock = await takeLock(action, folder);
    try {
      const strange = (await readdir(folder)).find((name) => !OWN_FILES.has(name) && !name.startsWith(LOCK_FILE));
      if (strange !== undefined) throw new IndexExistsError(`${action}: the folder holds other files (${strange})`);
      const isThere = await readManifest(folder).then(
        () => true,
        (error: unknown) => !(error instanceof IndexNotFoundError),
      );
      if (isThere) throw new IndexExistsError(`${action}: there is one`);
      await writing(action, async () => {
        await Promise.all([...OWN_FILES].map((name) => rm(path.join(folder, name), { force: true })));
        await writeWhole(path.join(folder, VECTOR_FILE), npyHeader(0, manifest.dimension));
        await writeWhole(path.join(folder, ITEM_FILE), Buffer.alloc(0));
        await writeManifest(folder, manifest);
      });
    } finally {
      await lock.release();
    }
  }

  /** Takes the lock, finishes or undoes what a killed writer has left, and opens the files. @throws IndexLockedError, IndexWriteError */
  static async open(folder: string): Promise<IndexWriter> {
    const action = `Cannot open index ${folder} for writing`;
    await readManifest(folder);
    const lock = await takeLock(action, folder);
    try {
      return await writing(action, async () => {
        const manifest = await recover(folder, await readManifest(folder));
        const vectors = await open(path.join(folder, VECTOR_FILE), 'r+');
        const items = await open(path.join(folder, ITEM_FILE), 'r+').catch(async (error: unknown) => {
          await vectors.close();
          throw error;
        });
        const writer = new IndexWriter(folder, lock, manifest, vectors, items);
        const layout = await readLayout(vectors);
        if (layout?.type !== 'float32' || layout.offset !== NPY_HEADER_BYTES) {
          await Promise.all([vectors.close(), items.close()]);
          throw new IndexWriteError(
            `${action}: ${VECTOR_FILE} has been rewritten by another program, which only readers take`,
          );
        }
        await writer.#cut();
        return writer;
      });
    } catch (error) {
      await lock.release();
      throw error;
    }
  }

  get manifest(): Manifest {
    return this.#manifest;
  }

  /** Makes a change durable. Either all of it is in the index, or, where it fails, nothing. @throws IndexWriteError */
  async commit({ vectors, lines, gone, failed }: Change): Promise<void> {
    const { rows, dimension, itemBytes } = this.#manifest;
    const count = vectors.length / dimension;
    const bytes = new Uint8Array(vectors.buffer, vectors.byteOffset, vectors.byteLength);
    await writing(`Cannot write index ${this.#folder}`, async () => {
      try {
        if (count > 0) {
          await writeFully(this.#vectors, bytes, offsetOf(rows, dimension));
          await writeFully(this.#items, lines, itemBytes);
          await Promise.all([this.#vectors.datasync(), this.#items.datasync()]);
        }
        const next: Manifest = {
          ...this.#manifest,
          rows: rows + count,
          itemBytes: itemBytes + lines.length,
          gone: gone.length === 0 ? this.#manifest.gone : merge(this.#manifest.gone, gone),
          failed: [...this.#manifest.failed, ...failed.map((row) => rows + row)],
        };
        await writeManifest(this.#folder, next);
        this.#manifest = next;
      } catch (error) {
        await this.#cut().catch(() => undefined);
        throw error;
      }
      // Last: other readers of the array see whole rows only, at worst some fewer until the next commit.
      await writeFully(this.#vectors, npyHeader(rows + count, dimension), 0);
    });
  }

  /** Writes all files anew, without the rows that are gone. @throws IndexWriteError */
  async compact(): Promise<void> {
    const old = this.#manifest;
    const gone = new Set(old.gone);
    const folder = this.#folder;
    await writing(`Cannot compact index ${folder}`, async () => {
      const rows = old.rows - gone.size;
      let itemBytes: number;
      try {
        itemBytes = await this.#writeDrafts(gone, rows);
      } catch (error) {
        await removeDrafts(folder);
        throw error;
      }
      const next: Manifest = {
        ...old,
        rows,
        itemBytes,
        gone: [],
        failed: renumber(old.failed, old.gone),
        generation: old.generation + 1,
        isReplacing: true,
      };
      await writeManifest(folder, next);
      await Promise.all([this.#vectors.close(), this.#items.close()]);
      this.#manifest = await recover(folder, next);
      this.#vectors = await open(path.join(folder, VECTOR_FILE), 'r+');
      this.#items = await open(path.join(folder, ITEM_FILE), 'r+');
    });
  }

  /** Copies what is not gone; returns the bytes of its lines. */
  async #writeDrafts(gone: ReadonlySet<number>, rows: number): Promise<number> {
    const { dimension, itemBytes } = this.#manifest;
    const lines = Buffer.allocUnsafe(itemBytes);
    await readFully(this.#items, lines, 0);
    const kept: Buffer[] = [];
    let at = 0;
    for (let row = 0; row < this.#manifest.rows; row++) {
      const end = lines.indexOf(10, at) + 1;
      if (!gone.has(row)) kept.push(lines.subarray(at, end));
      at = end;
    }
    const text = Buffer.concat(kept);
    await writeWhole(path.join(this.#folder, `${ITEM_FILE}${DRAFT}`), text);
    const draft = await open(path.join(this.#folder, `${VECTOR_FILE}${DRAFT}`), 'w');
    try {
      await writeFully(draft, npyHeader(rows, dimension), 0);
      const rowBytes = dimension * 4;
      const chunk = Buffer.allocUnsafe(Math.max(1, Math.floor(COPY_BYTES / rowBytes)) * rowBytes);
      let target = offsetOf(0, dimension);
      for (let first = 0; first < this.#manifest.rows; first += chunk.length / rowBytes) {
        const count = Math.min(chunk.length / rowBytes, this.#manifest.rows - first);
        await readFully(this.#vectors, chunk.subarray(0, count * rowBytes), offsetOf(first, dimension));
        let kept = 0;
        for (let row = 0; row < count; row++) {
          if (gone.has(first + row)) continue;
          chunk.copyWithin(kept, row * rowBytes, (row + 1) * rowBytes);
          kept += rowBytes;
        }
        await writeFully(draft, chunk.subarray(0, kept), target);
        target += kept;
      }
      await draft.datasync();
    } finally {
      await draft.close();
    }
    return text.length;
  }

  /** Takes away what the manifest does not count, and has the array's header say how many rows there are. */
  async #cut(): Promise<void> {
    const { rows, dimension, itemBytes } = this.#manifest;
    await this.#items.truncate(itemBytes);
    await this.#vectors.truncate(offsetOf(rows, dimension));
    await writeFully(this.#vectors, npyHeader(rows, dimension), 0);
  }

  /** Closes the files and gives the lock back. */
  async close(): Promise<void> {
    await Promise.allSettled([this.#vectors.close(), this.#items.close()]);
    await this.#lock.release();
  }
}

/** Puts the files of a finished compaction into place, and removes those of one that was not. */
async function recover(folder: string, manifest: Manifest): Promise<Manifest> {
  if (!manifest.isReplacing) {
    await removeDrafts(folder);
    return manifest;
  }
  for (const name of [VECTOR_FILE, ITEM_FILE]) {
    const file = path.join(folder, name);
    await rename(`${file}${DRAFT}`, file).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
    });
  }
  const { isReplacing, ...done } = manifest;
  await writeManifest(folder, done);
  return done;
}

async function removeDrafts(folder: string): Promise<void> {
  const names = [VECTOR_FILE, ITEM_FILE, MANIFEST_FILE].map((name) => path.join(folder, `${name}${DRAFT}`));
  await Promise.all(names.map((name) => rm(name, { force: true })));
}

async function takeLock(action: string, folder: string): Promise<FileLock> {
  const lock = await writing(action, () => FileLock.tryTake(path.join(folder, LOCK_FILE)));
  if (lock instanceof FileLock) return lock;
  throw new IndexLockedError(`${action}: ${describeHolder(lock)} writes to it`);
}

function describeHolder({ pid, host }: LockHolder): string {
  return pid === undefined ? 'another process' : `process ${pid} on ${host}`;
}

async function writeWhole(file: string, bytes: Buffer): Promise<void> {
  const handle = await open(file, 'w');
  try {
    await handle.writeFile(bytes);
    await handle.datasync();
  } finally {
    await handle.close();
  }
}

async function writeFully(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  let written = 0;
  while (written < bytes.length) {
    const { bytesWritten } = await handle.write(bytes, written, bytes.length - written, position + written);
    written += bytesWritten;
  }
}

/** Two ascending lists as one, each number once. */
function merge(one: readonly number[], other: readonly number[]): number[] {
  return [...new Set([...one, ...other])].sort((a, b) => a - b);
}

/** What rows are called once those that are gone are taken out. Both lists are ascending. */
function renumber(rows: readonly number[], gone: readonly number[]): number[] {
  const out = new Set(gone);
  let before = 0;
  return rows.flatMap((row) => {
    while (before < gone.length && (gone[before] as number) < row) before++;
    return out.has(row) ? [] : [row - before];
  });
}

/** Runs what writes; the system's refusal becomes an error of ours. */
async function writing<T>(action: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (cause) {
    const { code, syscall } = cause as NodeJS.ErrnoException;
    if (typeof syscall !== 'string') throw cause;
    const why = code === 'ENOSPC' ? 'the disk is full (ENOSPC)' : (code ?? 'the system refused');
    throw new IndexWriteError(`${action}: ${why}`, { cause });
  }
}
