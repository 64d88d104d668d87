import { fstat } from 'node:fs';
import { stat } from 'node:fs/promises';
import path from 'node:path';
import type { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { isDynamicPattern } from 'tinyglobby';
import type { MillraceError } from '../../core/index.js';
import {
  decodePath,
  encodePath,
  imageFileEndings,
  pathOfFileUrl,
  printablePath,
  type WalkedFile,
  walkImages,
} from '../../image-embedding/internal.js';
import { errorMessage, UsageError } from '../errors.js';
import { createExclusion, type Exclusion, expandGlob } from './globs.js';
import { NameSet } from './name-set.js';
import { listNames, rawArgument } from './raw-names.js';

/** One image to embed. */
export interface EmbedInput {
  /** As it is written into the output. */
  readonly name: string;
  readonly kind: 'path' | 'url';
  /** The file to open if `name` is not it: see `decodePath` for names that are not UTF-8. */
  readonly file?: string;
}

/** A file or folder that was found and can't be read. */
export interface UnreadableInput {
  /** As it is written into the output. */
  readonly name: string;
  readonly error: MillraceError;
}

/** Everything to embed. */
export interface InputList {
  readonly items: Iterable<EmbedInput> | AsyncIterable<EmbedInput>;
  /** Folders that could not be read, and links without a target: each gets an error record. */
  readonly unreadable: readonly UnreadableInput[];
  /** How many items there are; undefined if they come from standard input. */
  readonly total: number | undefined;
  /** Notes for the user, one line each. */
  readonly notes: readonly string[];
  /** Notes on the list from standard input, after it was read. */
  lateNotes(): readonly string[];
}

/** Options of {@link collectInputs}. */
export interface CollectOptions {
  /** The endings that a file must have to be taken from a folder, in lower case with their dot. */
  readonly endings: ReadonlySet<string>;
  /** The output, which is never an input. */
  readonly output?: string | undefined;
  /** Globs of files to leave out. */
  readonly exclude?: readonly string[] | undefined;
  /** The stream that `-` reads a list from. */
  readonly stdin?: Readable;
  /** Whether the names in that list end in NUL. */
  readonly isNullSeparated?: boolean | undefined;
  /** Ends the reading of that list. */
  readonly signal?: AbortSignal;
}

/** The endings of image files in a folder. A file that is named or matched by a glob may have any. */
export const IMAGE_ENDINGS: ReadonlySet<string> = imageFileEndings;

/** The endings of files that hold base64 rather than an image. */
export const BASE64_ENDINGS: ReadonlySet<string> = new Set(['.b64', '.base64', '.txt']);

const URL_START = /^https?:\/\//i;

/**
 * Turns arguments into a list of inputs: files, folders (all images in them, at any depth, in order of name), globs, http(s) URLs, and `-` for
 * a list on standard input. `!glob` leaves out what matches. An input named twice is taken once. A file that does not exist stays in the list
 * and fails when it is embedded; a folder or a glob without images is noted.
 *
 * @throws UsageError when nothing is left to embed, a folder that is named can't be read, or standard input is a folder.
 */
export async function collectInputs(args: readonly string[], options: CollectOptions): Promise<InputList> {
  const { given, exclude } = await splitExclusions(args, options.exclude ?? []);
  const collection = new Collection(options, createExclusion(exclude));
  if (given.includes('-')) {
    if (given.length > 1) {
      throw new UsageError("Cannot embed: '-' (a list on standard input) does not go with other inputs");
    }
    const stdin = options.stdin ?? process.stdin;
    await refuseFolder(stdin);
    return {
      items: collection.readList(stdin),
      unreadable: [],
      total: undefined,
      notes: [],
      lateNotes: () => collection.countNotes(),
    };
  }
  if (options.isNullSeparated) {
    throw new UsageError("Cannot read names that end in NUL: '--null' goes with '-', a list on standard input");
  }
  for (const arg of given) await collection.addArgument(arg);
  const { items, unreadable, notes } = collection;
  if (items.length === 0 && unreadable.length === 0) {
    const left = [...notes, ...collection.countNotes()];
    throw new UsageError(`Cannot embed: no images found (${left.join('; ') || given.join(', ') || 'no inputs'})`);
  }
  unreadable.sort((a, b) => (a.name < b.name ? -1 : 1));
  return {
    items,
    unreadable,
    total: items.length,
    notes: [...notes, ...collection.countNotes()],
    lateNotes: () => [],
  };
}

/** `!glob` among the inputs is one more `--exclude`, unless a file has that name. */
async function splitExclusions(
  args: readonly string[],
  exclude: readonly string[],
): Promise<{ given: string[]; exclude: string[] }> {
  const given: string[] = [];
  const left = [...exclude];
  for (const arg of args) {
    const isExclusion = /^!(?!\()./s.test(arg) && !(await stat(arg).catch(() => undefined));
    if (isExclusion) left.push(arg.slice(1));
    else given.push(arg);
  }
  return { given, exclude: left };
}

class Collection {
  readonly items: EmbedInput[] = [];
  readonly unreadable: UnreadableInput[] = [];
  readonly notes: string[] = [];
  readonly #options: CollectOptions;
  readonly #output: string | undefined;
  readonly #isExcluded: Exclusion;
  readonly #seen = new NameSet();
  readonly #system = new Set<string>();
  #repeated = 0;
  #others = 0;
  #excluded = 0;

  constructor(options: CollectOptions, isExcluded: Exclusion) {
    this.#options = options;
    this.#output = options.output === undefined ? undefined : path.resolve(options.output);
    this.#isExcluded = isExcluded;
  }

  async addArgument(arg: string): Promise<void> {
    if (URL_START.test(arg)) {
      const input: EmbedInput = { name: arg, kind: 'url' };
      if (this.#accept(input)) this.items.push(input);
      return;
    }
    if (arg === '') throw new UsageError('Cannot embed: an input is an empty string');
    const file = await rawArgument(arg);
    const found = await stat(encodePath(file)).catch(() => undefined);
    if (found?.isDirectory()) await this.#addFolder(file);
    else if (found !== undefined || !isDynamicPattern(file)) this.#addFile(arg, file);
    else await this.#addGlob(file);
  }

  async #addFolder(folder: string): Promise<void> {
    const found: WalkedFile[] = [];
    const walk = walkImages(folder, {
      endings: this.#options.endings,
      isExcluded: (file) => this.#isExcluded(file, folder),
      onPassedOver: (file, why) => {
        if (why === 'other file') this.#others++;
        else if (why === 'excluded') this.#excluded++;
        else this.#system.add(path.basename(file));
      },
    });
    try {
      for await (const each of walk) found.push(each);
    } catch (error) {
      throw new UsageError(errorMessage(error), { cause: error });
    }
    if (found.length === 0) this.notes.push(`no images in folder ${printablePath(folder)}`);
    this.#addFound(found.sort((a, b) => (a.path < b.path ? -1 : 1)));
  }

  async #addGlob(pattern: string): Promise<void> {
    const excludedBefore = this.#excluded;
    const found = await expandGlob(pattern, {
      isExcluded: this.#isExcluded,
      onSystemFolder: (folder) => this.#system.add(path.basename(folder)),
      onExcluded: () => this.#excluded++,
    }).catch((error: unknown) => {
      throw new UsageError(errorMessage(error), { cause: error });
    });
    this.#addFound(found);
    if (found.length > 0) return;
    // Names may have brackets and braces: a pattern without a wildcard is a file that does not exist.
    if (!/[*?]/.test(pattern)) this.#addFile(pattern, pattern);
    else if (this.#excluded === excludedBefore) this.notes.push(`nothing matches ${pattern}`);
  }

  #addFound(found: readonly WalkedFile[]): void {
    for (const { path: file, error } of found) {
      const key = path.resolve(file);
      if (key === this.#output || !this.#isNew(key)) continue;
      if (error === undefined) this.items.push(fileInput(file));
      else this.unreadable.push({ name: printablePath(file), error });
    }
  }

  #addFile(arg: string, file: string): void {
    if (this.#output !== undefined && path.resolve(file) === this.#output) {
      throw new UsageError(`Cannot embed: ${arg} is both an input and the output`);
    }
    const input = namedInput(file);
    if (this.#accept(input)) this.items.push(input);
  }

  /** The inputs of a list on standard input. */
  async *readList(stdin: Readable): AsyncGenerator<EmbedInput, void, void> {
    const { isNullSeparated, signal } = this.#options;
    for await (const bytes of listNames(stdin, { isNullSeparated, signal })) {
      const name = decodePath(bytes);
      if (name.trim() === '') continue;
      const input = inputOf(name);
      if (this.#accept(input)) yield input;
    }
  }

  /** Notes on the inputs left out. */
  countNotes(): string[] {
    const notes: string[] = [];
    const files = (count: number): string => `${count} other ${count === 1 ? 'file' : 'files'}`;
    if (this.#repeated > 0) notes.push(`${this.#repeated} named more than once, taken once`);
    if (this.#others > 0) notes.push(`${files(this.#others)} in the folders left out`);
    if (this.#excluded > 0) notes.push(`${this.#excluded} left out by --exclude`);
    if (this.#system.size > 0) notes.push(`system folders left out: ${[...this.#system].sort().join(', ')}`);
    return notes;
  }

  /** Whether a named input is to be embedded: it is not the output, not named before, and not excluded. */
  #accept(input: EmbedInput): boolean {
    const { kind, name, file = name } = input;
    const key = kind === 'url' ? name : path.resolve(file);
    if (key === this.#output) return false;
    if (kind === 'path' && this.#isExcluded(file)) {
      this.#excluded++;
      return false;
    }
    return this.#isNew(key);
  }

  #isNew(key: string): boolean {
    const isNew = this.#seen.add(key);
    if (!isNew) this.#repeated++;
    return isNew;
  }
}

/** A file that was found. */
function fileInput(file: string): EmbedInput {
  const name = printablePath(file);
  return name === file ? { name, kind: 'path' } : { name, kind: 'path', file };
}

/** The input with a name from a list or an output. */
export function inputOf(name: string): EmbedInput {
  return URL_START.test(name) ? { name, kind: 'url' } : namedInput(name);
}

/** A named file: by its path, or by the file URL that outputs use for a path that is not UTF-8. */
function namedInput(text: string): EmbedInput {
  const file = pathOfFileUrl(text);
  return file === undefined ? fileInput(text) : { name: text, kind: 'path', file };
}

/** Node reads a folder on standard input as an empty file. */
async function refuseFolder({ fd }: Readable & { readonly fd?: number | null }): Promise<void> {
  if (typeof fd === 'number' && (await promisify(fstat)(fd)).isDirectory()) {
    throw new UsageError('Cannot read the list on standard input: it is a folder');
  }
}
