/**
 * Brings an index up to date with files: new and changed ones are embedded, moved ones keep their vectors, deleted ones leave.
 *
 * Every commit holds whole pictures, so a run that is cut off at any moment is continued by the next.
 */
import { stat } from 'node:fs/promises';
import path from 'node:path';
import { fillOptions, type OptionTable, option, requireBoolean, workingSignal } from '../core/index.js';
import type { StreamResult } from '../image-embedding/index.js';
import { encodePath, printablePath } from '../image-embedding/internal.js';
import { type FileContent, readContent } from './file-content.js';
import type { ImageIndex, IndexEntry } from './image-index.js';
import type { ItemError } from './item.js';

/** What embeds: an `ImageEmbeddingPool` is one. */
export interface ImageEmbedder {
  embedImages(
    source: AsyncIterable<string | URL>,
    options: { readonly ordered: false; readonly signal?: AbortSignal },
  ): AsyncIterable<StreamResult<string | URL>>;
}

/** Options of {@link updateIndex}. */
export interface UpdateOptions {
  /** Folders whose pictures were all named: those of the index that are in them and were not named are removed. */
  readonly roots?: Iterable<string> | undefined;
  /** What could not be read: nothing in there is removed. */
  readonly unreadable?: Iterable<string> | undefined;
  /** Whether pictures that failed before and have not changed are tried again. False by default. */
  readonly retryErrors?: boolean | undefined;
  /** Stops the run: what is finished is kept. */
  readonly signal?: AbortSignal | undefined;
}

/** How far an update is. */
export interface IndexProgress {
  /** Pictures that are done, in whichever way. */
  readonly done: number;
  readonly total: number;
  /** Embedded for the first time, or again because they had changed. */
  readonly embedded: number;
  readonly unchanged: number;
  /** Renamed, moved or copied: found by their content, and not embedded. */
  readonly moved: number;
  readonly removed: number;
  readonly failed: number;
  /** The picture that failed last, where one has since the last progress. */
  readonly failure?: { readonly path: string; readonly error: ItemError } | undefined;
  /** Roots in which nothing was found though the index has pictures there. These stay: the disk may not be mounted. */
  readonly emptyRoots: readonly string[];
}

const list = (_action: string, _name: string, value: unknown): readonly string[] => [...(value as Iterable<string>)];

const UPDATE_OPTIONS = {
  roots: option<readonly string[]>(list, []),
  unreadable: option<readonly string[]>(list, []),
  retryErrors: option(requireBoolean, false),
  signal: option(workingSignal),
} satisfies OptionTable<UpdateOptions>;

const STATS_AT_ONCE = 64;
const READS_AT_ONCE = 16;
const COMMIT_ENTRIES = 512;
const COMMIT_MS = 2_000;
const PROGRESS_FILES = 2_048;

/** Failures that another run would meet again, as long as the file is the same. */
const LASTING = /^ERR_IMAGE_(UNSUPPORTED|CORRUPT|TOO_LARGE)$/;

/** A picture to look at. */
interface Candidate {
  /** As it is opened: an absolute path, or a URL. */
  readonly file: string;
  readonly key: string;
  readonly size?: number;
  readonly mtime?: number;
  readonly content?: FileContent;
}

/**
 * Updates an index from files.
 *
 * **Cancel safety:** an abort, or leaving the loop, keeps what is finished; the next run goes on from there.
 *
 * @param index An index that is open for writing.
 * @param pool What embeds the pictures, by the model of the index.
 * @param files Paths and http(s) URLs.
 * @param options See {@link UpdateOptions}.
 * @returns Progress, the last one after all is durable.
 * @throws What is wrong with the model, the pool or the index. A picture that fails is counted, and the run goes on.
 */
export async function* updateIndex(
  index: ImageIndex,
  pool: ImageEmbedder,
  files: Iterable<string>,
  options?: UpdateOptions,
): AsyncGenerator<IndexProgress, void, void> {
  const { roots, unreadable, retryErrors, signal } = fillOptions('Cannot update index', options, UPDATE_OPTIONS);
  const run = new Update(index, [...files], retryErrors);
  yield* run.look(signal);
  run.findMissing(
    roots.map((root) => path.resolve(root)),
    unreadable.map((file) => path.resolve(file)),
  );
  yield run.progress();
  try {
    const call = signal === undefined ? ({ ordered: false } as const) : ({ ordered: false, signal } as const);
    for await (const result of pool.embedImages(run.toEmbed(), call)) {
      run.take(result);
      if (run.isCommitDue) await run.commit();
      yield run.progress();
    }
  } finally {
    await run.commit();
  }
  await run.removeMissing();
  yield run.progress();
}

class Update {
  readonly #index: ImageIndex;
  readonly #files: readonly string[];
  readonly #retryErrors: boolean;
  readonly #seen = new Set<string>();
  readonly #candidates: Candidate[] = [];
  readonly #underway = new Map<string | URL, Candidate>();
  readonly #entries: IndexEntry[] = [];
  /** The picture of each content. */
  readonly #contents = new Map<string, string>();
  #missing: readonly string[] = [];
  #emptyRoots: readonly string[] = [];
  #lastCommit = Date.now();
  #unchanged = 0;
  #embedded = 0;
  #moved = 0;
  #removed = 0;
  #failed = 0;
  #failure: IndexProgress['failure'];

  constructor(index: ImageIndex, files: readonly string[], retryErrors: boolean) {
    this.#index = index;
    this.#files = files;
    this.#retryErrors = retryErrors;
    for (const { path: key, hash, error } of index.items()) {
      if (hash !== undefined && error === undefined) this.#contents.set(hash, key);
    }
  }

  progress(): IndexProgress {
    const failure = this.#failure;
    this.#failure = undefined;
    const counts = {
      embedded: this.#embedded,
      unchanged: this.#unchanged,
      moved: this.#moved,
      failed: this.#failed,
    };
    return {
      done: counts.embedded + counts.unchanged + counts.moved + counts.failed,
      total: this.#files.length,
      ...counts,
      removed: this.#removed,
      ...(failure === undefined ? {} : { failure }),
      emptyRoots: this.#emptyRoots,
    };
  }

  /** Finds out which files are new or have changed. */
  async *look(signal: AbortSignal | undefined): AsyncGenerator<IndexProgress, void, void> {
    for (let at = 0; at < this.#files.length; at += STATS_AT_ONCE) {
      signal?.throwIfAborted();
      await Promise.all(this.#files.slice(at, at + STATS_AT_ONCE).map((file) => this.#lookAt(file)));
      if (at > 0 && at % PROGRESS_FILES === 0) yield this.progress();
    }
  }

  async #lookAt(name: string): Promise<void> {
    if (/^https?:\/\//i.test(name)) {
      this.#seen.add(name);
      if (this.#index.get(name) === undefined) this.#candidates.push({ file: name, key: name });
      else this.#unchanged++;
      return;
    }
    const file = path.resolve(name);
    const key = printablePath(file);
    let found: { readonly size: number; readonly mtimeMs: number };
    try {
      found = await stat(encodePath(file));
    } catch (error) {
      const { code = 'ERR_UNKNOWN', message } = error as NodeJS.ErrnoException;
      // A missing file is removed from the index with all other unseen ones.
      if (code !== 'ENOENT') this.#seen.add(key);
      this.#fail(key, { code: code === 'ENOENT' ? 'ERR_IMAGE_NOT_FOUND' : 'ERR_IMAGE_READ', message });
      return;
    }
    this.#seen.add(key);
    const { size, mtimeMs } = found;
    const known = this.#index.get(key);
    const isSame = known?.size === size && known.mtime === mtimeMs;
    if (isSame && known.error !== undefined && !this.#retryErrors) this.#fail(key, known.error);
    else if (isSame && known.error === undefined) this.#unchanged++;
    else this.#candidates.push({ file, key, size, mtime: mtimeMs });
  }

  /** Finds what is in the roots no more. */
  findMissing(roots: readonly string[], unreadable: readonly string[]): void {
    const counts = new Map<string, number>(roots.map((root) => [root, 0]));
    for (const key of this.#seen) {
      for (const root of roots) if (isIn(key, root)) counts.set(root, (counts.get(root) as number) + 1);
    }
    const missing = new Set<string>();
    const empty = new Set<string>();
    const named = new Set(this.#files.map((file) => printablePath(path.resolve(file))));
    for (const { path: key } of this.#index.items()) {
      if (this.#seen.has(key) || unreadable.some((file) => isIn(key, file))) continue;
      const own = roots.filter((root) => isIn(key, root));
      if (own.some((root) => counts.get(root) !== 0) || named.has(key)) missing.add(key);
      else for (const root of own) empty.add(root);
    }
    this.#emptyRoots = [...empty];
    this.#missing = [...missing];
  }

  /** The pictures that have to be embedded; the others are dealt with on the way. */
  async *toEmbed(): AsyncGenerator<string | URL, void, void> {
    for (let at = 0; at < this.#candidates.length; at += READS_AT_ONCE) {
      const group = await Promise.all(this.#candidates.slice(at, at + READS_AT_ONCE).map(withContent));
      for (const candidate of group) {
        if (await this.#reuse(candidate)) continue;
        const input = candidate.size === undefined ? new URL(candidate.file) : candidate.file;
        this.#underway.set(input, candidate);
        yield input;
      }
      if (this.isCommitDue) await this.commit();
    }
  }

  /** Takes the vector of a picture with the same content. */
  async #reuse(candidate: Candidate): Promise<boolean> {
    const { content, key } = candidate;
    const same = content === undefined ? undefined : this.#contents.get(content.hash);
    if (same === undefined) return false;
    const vector = await this.#index.vector(same);
    if (vector === undefined) return false;
    this.#entries.push({ ...fileOf(candidate), path: key, vector });
    this.#moved++;
    return true;
  }

  take({ input, embedding, error }: StreamResult<string | URL>): void {
    const candidate = this.#underway.get(input) as Candidate;
    this.#underway.delete(input);
    const { key } = candidate;
    if (embedding !== undefined) {
      this.#embedded++;
      this.#entries.push({ ...fileOf(candidate), path: key, vector: embedding });
      return;
    }
    const { code = 'ERR_UNKNOWN', message } = error as Error & { readonly code?: string };
    this.#fail(key, { code, message });
    if (LASTING.test(code)) this.#entries.push({ ...fileOf(candidate), path: key, error: { code, message } });
  }

  #fail(key: string, error: ItemError): void {
    this.#failed++;
    this.#failure = { path: key, error };
  }

  get isCommitDue(): boolean {
    return this.#entries.length >= COMMIT_ENTRIES || Date.now() - this.#lastCommit >= COMMIT_MS;
  }

  /** Makes durable what is finished. */
  async commit(): Promise<void> {
    const entries = this.#entries.splice(0);
    if (entries.length > 0) await this.#index.add(entries);
    for (const { path: key, hash, error } of entries) {
      if (hash !== undefined && error === undefined) this.#contents.set(hash, key);
    }
    this.#lastCommit = Date.now();
  }

  /** Takes out what is missing. Last: a picture that was moved is missing in one place, and its vector is wanted in another. */
  async removeMissing(): Promise<void> {
    this.#removed = await this.#index.remove(this.#missing);
  }
}

function isIn(file: string, root: string): boolean {
  return file === root || file.startsWith(root.endsWith(path.sep) ? root : `${root}${path.sep}`);
}

function fileOf({ size, mtime, content }: Candidate): Partial<IndexEntry> {
  return { ...(size === undefined ? {} : { size }), ...(mtime === undefined ? {} : { mtime }), ...content };
}

/** Without its content where the file can't be read: the pool says why. */
async function withContent(candidate: Candidate): Promise<Candidate> {
  if (candidate.size === undefined) return candidate;
  const content = await readContent(candidate.file, candidate.size).catch(() => undefined);
  return content === undefined ? candidate : { ...candidate, content };
}
