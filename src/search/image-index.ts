import { stat } from 'node:fs/promises';
import path from 'node:path';
import {
  type Check,
  faultOf,
  fillOptions,
  numberFrom,
  type OptionTable,
  oneOf,
  option,
  positiveIntegerUpTo,
  requireBoolean,
  required,
  requireLimit,
  requireString,
  workingSignal,
} from '../core/index.js';
import type { ModelIdentity } from '../image-embedding/index.js';
import { type DuplicateGroup, type DuplicateOptions, findDuplicates } from './duplicates.js';
import { isEmbedOutput } from './embed-output.js';
import { createFilter, FILTER_OPTIONS, type FilterOptions } from './filter.js';
import { IndexState } from './index-state.js';
import { IndexWriter } from './index-writer.js';
import { formatItem, type IndexItem, pickItem } from './item.js';
import { type IndexModelSource, MANIFEST_FILE, type Manifest, readManifest } from './manifest.js';
import { describeModel, isSameModel } from './model-of-index.js';
import { prepareQuery, type SearchQuery, unitVector } from './query.js';
import { rank } from './rank.js';
import { IndexClosedError, IndexModelError, IndexWriteError } from './search-errors.js';
import type { ScanPrecision } from './vector-scan.js';

/** A picture to add: its vector, or why it has none. */
export interface IndexEntry extends IndexItem {
  /** Of the index's dimension; it is scaled to length 1. Missing where `error` says why. */
  readonly vector?: Float32Array | undefined;
}

/** Options of {@link createIndex}. */
export interface CreateIndexOptions {
  /** The length of a vector. */
  readonly dimension: number;
  /** What makes the vectors: an index refuses those of another model. */
  readonly model?: ModelIdentity | undefined;
  /** How that model is named, for programs that open the index later. */
  readonly source?: IndexModelSource | undefined;
}

/** Options of {@link openIndex}. */
export interface OpenIndexOptions {
  /** Whether it is to be changed: there is one writer, and any number of readers. False by default. */
  readonly writable?: boolean | undefined;
  /** The model that its vectors must be of. */
  readonly model?: ModelIdentity | undefined;
  /** How vectors are kept in memory; `'auto'` by default: `'int8'` from 128 MB of them on. Scores are exact either way. */
  readonly precision?: ScanPrecision | 'auto' | undefined;
}

/** Options of {@link ImageIndex.search}. */
export interface SearchOptions extends FilterOptions {
  /** How many pictures at most, 10 by default. */
  readonly limit?: number | undefined;
  /** The least score, from -1 to 1. */
  readonly minScore?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

const requireModelIdentity: Check<ModelIdentity> = (action, name, value) => {
  const digest = (value as Partial<ModelIdentity> | null)?.digest;
  if (typeof digest !== 'string') throw faultOf(action, name, 'what identifyModel() or an index says', value);
  return value as ModelIdentity;
};

const CREATE_OPTIONS = {
  dimension: required(positiveIntegerUpTo(65_536)),
  model: option(requireModelIdentity),
  source: option<IndexModelSource>((action, name, value) => {
    return { ...(value as IndexModelSource), from: requireString(action, name, (value as IndexModelSource).from) };
  }),
} satisfies OptionTable<CreateIndexOptions>;

const OPEN_OPTIONS = {
  writable: option(requireBoolean, false),
  model: option(requireModelIdentity),
  precision: option(oneOf(['auto', 'float32', 'int8']), 'auto'),
} satisfies OptionTable<OpenIndexOptions>;

const SEARCH_OPTIONS = {
  limit: option<number>((action, _name, value) => requireLimit(action, value), 10),
  minScore: option(numberFrom(-1, 1), -1),
  signal: option(workingSignal),
  ...FILTER_OPTIONS,
} satisfies OptionTable<SearchOptions>;

/** A picture that was found. */
export interface SearchHit {
  readonly path: string;
  /** The cosine of its vector and the query; for several terms their weighted mean. */
  readonly score: number;
  readonly item: IndexItem;
}

/** A compaction pays when so many rows are gone, and they are a third of all. */
const MIN_GONE = 1_024;

/** Embedded pictures in a folder, to be searched. Made by {@link openIndex} and {@link createIndex}. */
export class ImageIndex implements AsyncDisposable {
  /** Where it is. */
  readonly folder: string;
  /** Whether it is one file that `millrace embed` has written. */
  readonly #isOutput: boolean;
  readonly #precision: ScanPrecision | 'auto';
  readonly #writer: IndexWriter | undefined;
  #state: IndexState;
  #stamp: string;
  #isClosed = false;
  /** Changes, one after another. */
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(
    folder: string,
    precision: ScanPrecision | 'auto',
    state: IndexState,
    stamp: string,
    writer: IndexWriter | undefined,
    isOutput: boolean,
  ) {
    this.folder = folder;
    this.#isOutput = isOutput;
    this.#precision = precision;
    this.#state = state;
    this.#stamp = stamp;
    this.#writer = writer;
  }

  /** @internal */
  static async open(folder: string, options: OpenIndexOptions | undefined): Promise<ImageIndex> {
    const action = `Cannot open index ${folder}`;
    const { writable, model, precision } = fillOptions(action, options, OPEN_OPTIONS);
    if (isEmbedOutput(folder) && !(await isFolder(folder))) {
      if (writable) throw new IndexWriteError(`${action}: an output of millrace embed is only read`);
      const stamp = await stampOf(folder);
      const state = await IndexState.read(folder, precision);
      requireModel(action, state.manifest, model);
      return new ImageIndex(folder, precision, state, stamp, undefined, true);
    }
    requireModel(action, await readManifest(folder), model);
    const writer = writable ? await IndexWriter.open(folder) : undefined;
    try {
      const stamp = await stampOf(path.join(folder, MANIFEST_FILE));
      const state = await IndexState.open(folder, precision);
      return new ImageIndex(folder, precision, state, stamp, writer, false);
    } catch (error) {
      await writer?.close();
      throw error;
    }
  }

  /** What made its vectors, where it says so. */
  get model(): ModelIdentity | undefined {
    return this.#state.manifest.model;
  }

  /** How that model is named; undefined for the built-in one. */
  get source(): IndexModelSource | undefined {
    return this.#state.manifest.source;
  }

  /** The length of its vectors. */
  get dimension(): number {
    return this.#state.manifest.dimension;
  }

  /** How many pictures can be found. */
  get size(): number {
    return this.#state.size;
  }

  /** How many pictures could not be embedded. */
  get failed(): number {
    return this.#state.paths.size - this.#state.size;
  }

  /** The item of a picture; undefined when it is not in the index. */
  get(file: string): IndexItem | undefined {
    const row = this.#state.paths.get(file);
    return row === undefined ? undefined : this.#state.item(row);
  }

  /** All pictures, failures included, in the order in which they were added. */
  *items(): Generator<IndexItem, void, void> {
    const state = this.#state;
    for (const row of state.paths.values()) yield state.item(row);
  }

  /** The vector of a picture; undefined when it has none. */
  async vector(file: string): Promise<Float32Array | undefined> {
    const state = this.#open().retain();
    try {
      const row = state.paths.get(file);
      return row === undefined || state.isHidden(row) ? undefined : await state.readRows(row, 1);
    } finally {
      await state.release();
    }
  }

  /**
   * Finds the pictures that match best. A reader sees what writers have committed by then.
   *
   * **Cancel safety:** cancel safe.
   *
   * @param query A vector, or terms: see {@link QueryTerm}.
   * @param options See {@link SearchOptions}.
   * @returns The best first; of equal scores the one that was added first.
   * @throws TypeError, RangeError When the query has no direction or another length, or an option is wrong.
   */
  async search(query: SearchQuery, options?: SearchOptions): Promise<SearchHit[]> {
    const action = 'Cannot search';
    const given = fillOptions(action, options, SEARCH_OPTIONS);
    const { limit, minScore, signal } = given;
    const filter = createFilter(given);
    signal?.throwIfAborted();
    await this.refresh();
    const prepared = prepareQuery(action, query, this.dimension);
    const state = this.#open().retain();
    try {
      const accepts = (row: number): boolean => !state.isHidden(row) && (filter?.(state.item(row)) ?? true);
      const found = await rank(state, prepared, { limit, minScore, accepts, signal });
      return found.map(({ row, score }) => {
        const item = state.item(row);
        return { path: item.path, score, item };
      });
    } finally {
      await state.release();
    }
  }

  /**
   * Finds groups of pictures that look the same. Nothing is changed.
   *
   * **Cancel safety:** cancel safe.
   *
   * @param options See {@link DuplicateOptions}.
   * @returns The groups, each with its best copy first.
   */
  async duplicates(options?: DuplicateOptions): Promise<DuplicateGroup[]> {
    await this.refresh();
    const state = this.#open().retain();
    try {
      return await findDuplicates(state, options);
    } finally {
      await state.release();
    }
  }

  /**
   * Adds pictures, or replaces those of the same path. They are durable once the promise resolves, and either all of them are in the index or
   * none.
   *
   * **Cancel safety:** takes no signal.
   *
   * @param entries The pictures.
   * @throws TypeError, RangeError When an entry has no path, or a vector that is not of this index.
   * @throws IndexWriteError When the system refuses; the index is as it was.
   */
  async add(entries: Iterable<IndexEntry>): Promise<void> {
    const action = 'Cannot add to index';
    const latest = new Map<string, IndexEntry>();
    for (const entry of entries) latest.set(requireString(action, 'path', entry?.path), entry);
    const items = [...latest.values()].map(pickItem);
    const vectors = new Float32Array(items.length * this.dimension);
    const failed: number[] = [];
    for (const [at, { vector, error }] of [...latest.values()].entries()) {
      if (vector !== undefined) vectors.set(unitVector(action, vector, this.dimension), at * this.dimension);
      else if (error !== undefined) failed.push(at);
      else throw faultOf(action, 'vector', 'a Float32Array', vector);
    }
    if (items.length === 0) return;
    await this.#change(action, async (writer) => {
      const { paths } = this.#state;
      const gone = items.map(({ path: file }) => paths.get(file)).filter((row) => row !== undefined);
      const lines = Buffer.from(items.map(formatItem).join(''));
      await writer.commit({ vectors, lines, gone, failed });
      await this.#state.advance(writer.manifest, vectors, items);
    });
  }

  /**
   * Removes pictures.
   *
   * **Cancel safety:** takes no signal.
   *
   * @param files Their paths; those that are not in the index count nothing.
   * @returns How many were removed.
   * @throws IndexWriteError When the system refuses; the index is as it was.
   */
  async remove(files: Iterable<string>): Promise<number> {
    const wanted = [...new Set(files)];
    return await this.#change('Cannot remove from index', async (writer) => {
      const { paths } = this.#state;
      const gone = wanted.map((file) => paths.get(file)).filter((row) => row !== undefined);
      if (gone.length === 0) return 0;
      await writer.commit({ vectors: new Float32Array(0), lines: Buffer.alloc(0), gone, failed: [] });
      await this.#state.advance(writer.manifest, new Float32Array(0), []);
      return gone.length;
    });
  }

  /** Gives the room of removed pictures back. It comes about by itself once they are a third of all. */
  async compact(): Promise<void> {
    await this.#change('Cannot compact index', async (writer) => await this.#compact(writer));
  }

  async #compact(writer: IndexWriter): Promise<void> {
    await writer.compact();
    await this.#reopen();
  }

  /** Looks for what a writer of another process has committed. A search does so by itself. */
  async refresh(): Promise<void> {
    if (this.#writer !== undefined) return;
    await this.#inTurn(async () => {
      const stamp = await stampOf(this.#isOutput ? this.folder : path.join(this.folder, MANIFEST_FILE));
      if (stamp === this.#stamp) return;
      if (this.#isOutput) {
        this.#stamp = stamp;
        return await this.#reopen();
      }
      const manifest = await readManifest(this.folder);
      const known = this.#open().manifest;
      if (manifest.generation !== known.generation || manifest.rows < known.rows) await this.#reopen();
      else await this.#state.follow(manifest);
      this.#stamp = stamp;
    });
  }

  async #reopen(): Promise<void> {
    const old = this.#open();
    this.#state = await (this.#isOutput ? IndexState.read : IndexState.open)(this.folder, this.#precision);
    await old.release();
  }

  /** Ends what is under way, closes the files, and lets another writer in. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#turn;
    await this.#writer?.close();
    await this.#state.release();
  }

  /** The same as `close()`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #open(): IndexState {
    if (this.#isClosed) throw new IndexClosedError(`Cannot use index ${this.folder}: it is closed`);
    return this.#state;
  }

  async #change<T>(action: string, run: (writer: IndexWriter) => Promise<T>): Promise<T> {
    this.#open();
    const writer = this.#writer;
    if (writer === undefined) {
      throw new IndexClosedError(`${action}: it is open for reading, pass writable: true to openIndex`);
    }
    return await this.#inTurn(async () => {
      const result = await run(writer);
      const { gone, rows } = writer.manifest;
      if (gone.length >= MIN_GONE && gone.length * 3 >= rows) await this.#compact(writer);
      return result;
    });
  }

  #inTurn<T>(run: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(run);
    this.#turn = result.catch(() => undefined);
    return result;
  }
}

async function isFolder(name: string): Promise<boolean> {
  return (await stat(name).catch(() => undefined))?.isDirectory() ?? false;
}

/** Tells whether a file has been replaced or written to. */
async function stampOf(file: string): Promise<string> {
  const found = await stat(file, { bigint: true }).catch(() => undefined);
  return `${found?.ino} ${found?.mtimeNs} ${found?.size}`;
}

function requireModel(action: string, manifest: Manifest, model: ModelIdentity | undefined): void {
  if (model === undefined || manifest.model === undefined) return;
  if (isSameModel(model, manifest.model)) return;
  throw new IndexModelError(
    `${action}: its vectors are of ${describeModel(manifest.model)}, asked for is ${describeModel(model)}`,
  );
}

/**
 * Opens an index, or searches what `millrace embed` has written: a file that ends with `.jsonl`, `.npy` or `.parquet`, which is read whole.
 *
 * @param folder Where it is.
 * @param options See {@link OpenIndexOptions}.
 * @returns The index; `await using` closes it.
 * @throws IndexNotFoundError, IndexCorruptError, IndexModelError And IndexLockedError where it is to be written and another process does so.
 */
export async function openIndex(folder: string, options?: OpenIndexOptions): Promise<ImageIndex> {
  return await ImageIndex.open(requireString('Cannot open index', 'folder', folder), options);
}

/**
 * Creates an index and opens it for writing.
 *
 * @param folder Where it goes: a folder that is empty, or not there.
 * @param options See {@link CreateIndexOptions}.
 * @returns The index; `await using` closes it.
 * @throws IndexExistsError, IndexLockedError, IndexWriteError
 * @example
 * ```ts
 * import { mkdtemp } from 'node:fs/promises';
 * import { tmpdir } from 'node:os';
 * import path from 'node:path';
 *
 * const folder = await mkdtemp(path.join(tmpdir(), 'index-'));
 * const index = await createIndex(path.join(folder, 'photos.idx'), { dimension: 2 });
 * await index.add([
 *   { path: '/photos/a.jpg', vector: Float32Array.of(1, 0) },
 *   { path: '/photos/b.jpg', vector: Float32Array.of(0, 1) },
 * ]);
 * const [best] = await index.search(Float32Array.of(0.1, 0.9));
 * best?.path; // => '/photos/b.jpg'
 * await index.close();
 * ```
 */
export async function createIndex(folder: string, options: CreateIndexOptions): Promise<ImageIndex> {
  const place = requireString('Cannot create index', 'folder', folder);
  const action = `Cannot create index ${place}`;
  const { dimension, model, source } = fillOptions(action, options, CREATE_OPTIONS);
  await IndexWriter.create(place, {
    format: 'millrace-index',
    version: 1,
    ...(model === undefined ? {} : { model }),
    ...(source === undefined ? {} : { source }),
    dimension,
    rows: 0,
    itemBytes: 0,
    gone: [],
    failed: [],
    // Not that of an index which this one takes the place of: its readers have to see the difference.
    generation: Date.now(),
  });
  return await ImageIndex.open(place, { writable: true });
}
