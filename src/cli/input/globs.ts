/** Globs: what one matches, and what `--exclude` leaves out. */
import type { Dirent } from 'node:fs';
import { stat } from 'node:fs/promises';
import path from 'node:path';
import PQueue from 'p-queue';
import picomatch from 'picomatch';
import { type FileSystemAdapter, glob } from 'tinyglobby';
import type { MillraceError } from '../../core/index.js';
import {
  encodePath,
  type FolderEntry,
  FolderError,
  readFolder,
  systemFolders,
} from '../../image-embedding/internal.js';

const OPEN_FOLDERS = 16;

/** Options of {@link expandGlob}. */
export interface GlobOptions {
  isExcluded(file: string, root: string): boolean;
  onSystemFolder(file: string): void;
  onExcluded(file: string): void;
}

/** A file that matches a glob, or with `error` a folder that can't be read: a file in it might match. */
export interface Match {
  readonly path: string;
  readonly error?: MillraceError;
}

/**
 * Expands a glob, in order of name. Its first segments are literal as long as folders of that name exist: `photos (2024)/*.jpg` needs no
 * escapes. Links are treated as in a walk over a folder.
 *
 * @throws ImageReadError when the folder that it starts in can't be read.
 */
export async function expandGlob(pattern: string, options: GlobOptions): Promise<Match[]> {
  const segments = pattern.split('/');
  let folder = '';
  while (segments.length > 1) {
    const next = `${folder}${segments[0]}/`;
    if (!(await stat(encodePath(next)).catch(() => undefined))?.isDirectory()) break;
    folder = next;
    segments.shift();
  }
  const root = folder === '' ? '.' : folder;
  const errors = new Map<string, MillraceError>();
  const closed = new Map<string, MillraceError>();

  const list = async (inner: string): Promise<Dirent[]> => {
    const found: Dirent[] = [];
    try {
      for await (const entry of readFolder(inner)) {
        const file = path.join(inner, entry.name);
        if (entry.kind === 'linked folder') continue;
        if (entry.kind === 'folder' && systemFolders.has(entry.name)) options.onSystemFolder(file);
        else if (entry.kind !== 'folder' || !options.isExcluded(file, root)) found.push(asDirent(entry));
        else options.onExcluded(file);
        if (entry.error !== undefined) errors.set(file, entry.error);
      }
    } catch (error) {
      if (!(error instanceof FolderError)) throw error;
      closed.set(path.resolve(inner), error.reason);
    }
    return found;
  };
  // The crawler asks for all folders at once, and each takes a file descriptor.
  const folders = new PQueue({ concurrency: OPEN_FOLDERS });
  // The crawler ignores errors.
  let failure: { readonly error: unknown } | undefined;
  const fs = {
    readdir(inner: string, _options: unknown, done: (error: null, entries: Dirent[]) => void): void {
      void folders
        .add(() => list(fromGlobText(inner)))
        .catch((error: unknown) => {
          failure = { error };
          return [];
        })
        .then((entries) => done(null, entries));
    },
  } as unknown as FileSystemAdapter;

  const matched = await glob(toGlobText(segments.join('/')), {
    cwd: root,
    dot: false,
    expandDirectories: false,
    followSymbolicLinks: false,
    fs,
  });
  if (failure !== undefined) throw failure.error;
  const reason = closed.get(path.resolve(root));
  if (reason !== undefined) throw reason;
  const named = (name: string): string => (folder === '' ? name : path.join(folder, name));
  const matches: Match[] = [];
  for (const name of matched.map(fromGlobText)) {
    const file = path.resolve(root, name);
    const error = errors.get(file);
    if (options.isExcluded(file, root)) options.onExcluded(file);
    else matches.push(error === undefined ? { path: named(name) } : { path: named(name), error });
  }
  for (const [inner, error] of closed) matches.push({ path: named(path.relative(root, inner)), error });
  return matches.sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** A link whose target does not exist counts as a file, so that it is matched by its name. */
function asDirent({ name, kind }: FolderEntry): Dirent {
  const isFolder = kind === 'folder';
  return {
    name: toGlobText(name),
    isFile: () => !isFolder,
    isDirectory: () => isFolder,
    isSymbolicLink: () => false,
  } as unknown as Dirent;
}

/** Whether a file or folder is left out; `root` is the folder or glob that it was found in. */
export type Exclusion = (file: string, root?: string) => boolean;

/**
 * Compiles the patterns of `--exclude`. A pattern without a slash is matched against each name of a path below its root; one with slashes
 * against the path from the root, from the working folder, and from `/`. A pattern that matches a folder leaves out everything in it.
 */
export function createExclusion(patterns: readonly string[]): Exclusion {
  if (patterns.length === 0) return () => false;
  const plain = patterns.map((pattern) =>
    toGlobText(pattern)
      .replace(/^\.\//, '')
      .replace(/(?<=.)\/+$/, ''),
  );
  const byName = plain.filter((pattern) => !pattern.includes('/'));
  const byPath = plain.filter((pattern) => pattern.includes('/'));
  const matchesName = byName.length === 0 ? () => false : picomatch(byName, { dot: true });
  const matchesPath = byPath.length === 0 ? () => false : picomatch(byPath, { dot: true });
  return (file, root) => {
    const absolute = toGlobText(path.resolve(file));
    const below = path.relative(toGlobText(root ?? ''), absolute);
    if (below.split('/').some((name) => matchesName(name))) return true;
    if (byPath.length === 0) return false;
    return [below, path.relative('', absolute), absolute].some((whole) => prefixes(whole).some(matchesPath));
  };
}

/** A path, and the paths of the folders that it is in. */
function prefixes(file: string): string[] {
  const names = file.split('/');
  return names.map((_, index) => names.slice(0, index + 1).join('/')).filter((each) => each !== '');
}

/** Line breaks in names, each replaced by a private character for the matcher: its `*` and `?` match no name that begins with a line break. */
const BREAKS = '\n\r\u2028\u2029';
const FIRST = 0xf780;

/** A name or a pattern as the matcher sees it. */
function toGlobText(text: string): string {
  return text.replace(/[\n\r\u2028\u2029]/g, (each) => String.fromCharCode(FIRST + BREAKS.indexOf(each)));
}

/** The name that {@link toGlobText} was given. */
function fromGlobText(text: string): string {
  return text.replace(/[\uF780-\uF783]/g, (each) => BREAKS.charAt(each.charCodeAt(0) - FIRST));
}
