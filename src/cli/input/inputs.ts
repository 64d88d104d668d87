import { fstat } from 'node:fs';
import { stat } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { glob, isDynamicPattern } from 'tinyglobby';
import { UsageError } from '../exit-codes.js';
import { linkedFiles } from './linked-files.js';

/** One thing to embed. */
export interface EmbedInput {
  /** As it is written into the output. */
  readonly name: string;
  readonly kind: 'path' | 'url';
}

/** Everything to embed. */
export interface InputList {
  readonly items: Iterable<EmbedInput> | AsyncIterable<EmbedInput>;
  /** How many there are; unknown where they come from standard input. */
  readonly total: number | undefined;
  /** What the user may want to know, one line each. */
  readonly notes: readonly string[];
}

/** What {@link collectInputs} goes by. */
export interface CollectOptions {
  /** The endings that a file must have to be taken from a folder, in lower case with their dot. */
  readonly endings: ReadonlySet<string>;
  /** The output, which is never an input. */
  readonly output?: string | undefined;
  /** Where a list comes from when `-` is given. */
  readonly stdin?: Readable;
  /** Ends the reading of that list. */
  readonly signal?: AbortSignal;
}

/** The endings of the image files that are taken from a folder. Files that are named, or matched by a glob, are taken whatever they are called. */
export const IMAGE_ENDINGS: ReadonlySet<string> = new Set(
  '.jpg .jpeg .jpe .jfif .png .webp .gif .avif .heic .heif .tif .tiff'.split(' '),
);

/** The endings of files that hold base64 rather than an image. */
export const BASE64_ENDINGS: ReadonlySet<string> = new Set(['.b64', '.base64', '.txt']);

const URL_START = /^https?:\/\//i;

/**
 * Turns arguments into a list of inputs: files, folders (all images in them, at any depth, in order of name), globs, http(s) URLs, and `-` for
 * a list on standard input, one path or URL a line. What is named twice is taken once. A file that does not exist stays in the list, and fails
 * when its turn comes; a folder or a glob that gives nothing is noted.
 *
 * @throws UsageError when nothing is left to embed, or standard input is a folder.
 */
export async function collectInputs(args: readonly string[], options: CollectOptions): Promise<InputList> {
  if (args.includes('-')) {
    if (args.length > 1) {
      throw new UsageError("Cannot embed: '-' (a list on standard input) does not go with other inputs");
    }
    await refuseFolder(options.stdin ?? process.stdin);
    return { items: readList(options), total: undefined, notes: [] };
  }
  const output = options.output === undefined ? undefined : path.resolve(options.output);
  const items: EmbedInput[] = [];
  const notes: string[] = [];
  const seen = new Set<string>();
  let repeated = 0;
  let skipped = 0;

  const add = (input: EmbedInput): void => {
    const key = input.kind === 'url' ? input.name : path.resolve(input.name);
    if (key === output) return;
    if (seen.has(key)) {
      repeated++;
      return;
    }
    seen.add(key);
    items.push(input);
  };

  for (const arg of args) {
    if (URL_START.test(arg)) {
      add({ name: arg, kind: 'url' });
      continue;
    }
    if (arg === '') throw new UsageError('Cannot embed: an input is an empty string');
    const found = await stat(arg).catch(() => undefined);
    if (found?.isDirectory()) {
      const files = await listFolder(arg);
      const images = files.filter((file) => options.endings.has(path.extname(file).toLowerCase()));
      skipped += files.length - images.length;
      if (images.length === 0) notes.push(`no images in folder ${arg}`);
      for (const name of images) add({ name, kind: 'path' });
    } else if (found === undefined && isDynamicPattern(arg)) {
      const files = await expandGlob(arg);
      // Brackets and braces are found in names too: without a wildcard it is a file that does not exist.
      if (files.length === 0 && !/[*?]/.test(arg)) add({ name: arg, kind: 'path' });
      else if (files.length === 0) notes.push(`nothing matches ${arg}`);
      for (const name of files) add({ name, kind: 'path' });
    } else {
      if (output !== undefined && path.resolve(arg) === output) {
        throw new UsageError(`Cannot embed: ${arg} is both an input and the output`);
      }
      add({ name: arg, kind: 'path' });
    }
  }
  if (items.length === 0) {
    throw new UsageError(`Cannot embed: no images found (${notes.join('; ') || args.join(', ')})`);
  }
  if (repeated > 0) notes.push(`${repeated} named more than once, taken once`);
  if (skipped > 0) notes.push(`${skipped} other ${skipped === 1 ? 'file' : 'files'} in the folders left out`);
  return { items, total: items.length, notes };
}

// Linked files are taken, linked folders are not followed: what they hold would be taken twice, or without end.
const GLOB_OPTIONS = { dot: false, expandDirectories: false, followSymbolicLinks: false, fs: linkedFiles } as const;

async function listFolder(folder: string): Promise<string[]> {
  const names = await glob('**/*', { ...GLOB_OPTIONS, cwd: folder });
  return names.sort(byCodeUnit).map((name) => path.join(folder, name));
}

/** Expands a glob. What it starts with is taken literally as far as folders of that name exist: `photos (2024)/*.jpg` means what it says. */
async function expandGlob(pattern: string): Promise<string[]> {
  const segments = pattern.split('/');
  let folder = '';
  while (segments.length > 1) {
    const next = `${folder}${segments[0]}/`;
    if (!(await stat(next).catch(() => undefined))?.isDirectory()) break;
    folder = next;
    segments.shift();
  }
  const names = await glob(segments.join('/'), { ...GLOB_OPTIONS, cwd: folder === '' ? '.' : folder });
  return names.sort(byCodeUnit).map((name) => (folder === '' ? name : path.join(folder, name)));
}

async function* readList(options: CollectOptions): AsyncGenerator<EmbedInput> {
  const output = options.output === undefined ? undefined : path.resolve(options.output);
  const lines = createInterface({
    input: options.stdin ?? process.stdin,
    crlfDelay: Number.POSITIVE_INFINITY,
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
  for await (const line of lines) {
    if (line.trim() === '') continue;
    if (URL_START.test(line)) yield { name: line, kind: 'url' };
    else if (path.resolve(line) !== output) yield { name: line, kind: 'path' };
  }
}

/** Node answers a folder on standard input as if it were an empty file. */
async function refuseFolder({ fd }: Readable & { readonly fd?: number }): Promise<void> {
  if (fd !== undefined && (await promisify(fstat)(fd)).isDirectory()) {
    throw new UsageError('Cannot read the list on standard input: it is a folder');
  }
}

function byCodeUnit(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
