import type { Dirent } from 'node:fs';
import { stat } from 'node:fs/promises';
import path from 'node:path';
import PQueue from 'p-queue';
import { type FileSystemAdapter, glob } from 'tinyglobby';
import type { MillraceError } from '../../core/index.js';
import { encodePath, FolderError, type FolderEntry, readFolder, systemFolders } from '../../image-embedding/index.js';
import { fromGlobText, toGlobText } from './glob-text.js';

const OPEN_FOLDERS = 16;

/** What a glob is expanded with. */
export interface GlobOptions {
  isExcluded(file: string, root: string): boolean;
  onSystemFolder(file: string): void;
  onExcluded(file: string): void;
}

/** What matches a glob; `error` where it can't be read. A folder that can't be read is among them, since what is in it might match. */
export interface Match {
  readonly path: string;
  readonly error?: MillraceError;
}

/**
 * Expands a glob, in order of name. What it starts with is taken literally as far as folders of that name exist: `photos (2024)/*.jpg` means what it
 * says. Links are treated as in a folder's walk.
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
  // The crawler asks for all folders at once, and each is a file that is open.
  const folders = new PQueue({ concurrency: OPEN_FOLDERS });
  // It takes an error for an empty folder.
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

/** A link that leads nowhere counts as a file, so that it is matched by its name. */
function asDirent({ name, kind }: FolderEntry): Dirent {
  const isFolder = kind === 'folder';
  return {
    name: toGlobText(name),
    isFile: () => !isFolder,
    isDirectory: () => isFolder,
    isSymbolicLink: () => false,
  } as unknown as Dirent;
}
