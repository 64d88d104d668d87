/**
 * Walks folders for image files.
 *
 * Invariant: an unreadable entry is reported with its error, and the walk continues. Only a root that can't be opened fails the walk, before its first
 * entry.
 */
import type { Dirent } from 'node:fs';
import { lstat, opendir, stat } from 'node:fs/promises';
import path from 'node:path';
import { isError, type MillraceError } from '../../core/index.js';
import { decodePath, encodePath, printablePath } from '../file-name.js';
import { ImageForbiddenError, ImageNotFoundError, ImageReadError, ImageUnsupportedError } from '../image-errors.js';

/**
 * The file name extensions of images, in lower case with their dot. HEIC is included although only AVIF of its family is decoded, so that such a
 * photograph is reported and not silently skipped.
 */
export const imageFileEndings: ReadonlySet<string> = new Set(
  '.jpg .jpeg .jpe .jfif .png .webp .gif .avif .heic .heif .tif .tiff'.split(' '),
);

/** Folders with previews and deleted files of network storage and systems. A walk skips them unless one is its root. */
export const systemFolders: ReadonlySet<string> = new Set([
  '@eaDir',
  '#recycle',
  '#snapshot',
  '@Recycle',
  '@Recently-Snapshot',
  '$RECYCLE.BIN',
  'System Volume Information',
  'lost+found',
]);

/** An entry of a folder. */
export interface FolderEntry {
  readonly name: string;
  /** `'linked folder'` for a link to a folder; `'special'` for a FIFO, a socket or a device. */
  readonly kind: 'file' | 'folder' | 'linked folder' | 'special' | 'broken link';
  /** Why its image can't be read, for a special file and a broken link. */
  readonly error?: MillraceError | undefined;
}

/** A file that a walk found. */
export interface WalkedFile {
  /** See `decodePath` for names that are not UTF-8. */
  readonly path: string;
  /** Why this file or folder can't be read. */
  readonly error?: MillraceError | undefined;
}

/** Why a walk skipped an entry. */
export type PassedOver = 'other file' | 'system folder' | 'excluded';

/** Options of {@link walkImages}. */
export interface WalkOptions {
  /** The extensions of wanted files, in lower case with their dot. */
  readonly endings: ReadonlySet<string>;
  /** Whether to exclude a file, or a folder with its content. */
  readonly isExcluded?: ((file: string) => boolean) | undefined;
  /** Called for each skipped entry. */
  readonly onPassedOver?: ((file: string, why: PassedOver) => void) | undefined;
}

/**
 * Walks a folder and its subfolders for files with an image extension, in the system's order. Linked files are included. Linked folders are not
 * followed, since they may lead to duplicates or cycles. Dot names and `systemFolders` are skipped. Unreadable folders, broken links and special files
 * are entries with an error.
 *
 * @throws ImageNotFoundError, ImageReadError When the folder itself can't be opened.
 */
export async function* walkImages(folder: string, options: WalkOptions): AsyncGenerator<WalkedFile, void, void> {
  const { endings, isExcluded = () => false, onPassedOver } = options;
  const pending = [folder];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    try {
      for await (const { name, kind, error } of readFolder(next)) {
        if (name.startsWith('.') || kind === 'linked folder') continue;
        const file = path.join(next, name);
        const isImage = endings.has(path.extname(name).toLowerCase());
        if (kind !== 'folder' && !isImage) {
          if (kind === 'file') onPassedOver?.(file, 'other file');
        } else if (isExcluded(file)) onPassedOver?.(file, 'excluded');
        else if (kind !== 'folder') yield error === undefined ? { path: file } : { path: file, error };
        else if (systemFolders.has(name)) onPassedOver?.(file, 'system folder');
        else pending.push(file);
      }
    } catch (error) {
      if (!(error instanceof FolderError)) throw error;
      if (next === folder && !error.isOpen) throw error.reason;
      yield { path: next, error: error.reason };
    }
  }
}

/**
 * The image files of a folder, as `walkImages` finds them, as absolute paths.
 *
 * @param folder The folder.
 * @param errors Receives the errors of unreadable entries by path, and their paths are yielded. Without it they are skipped.
 */
export async function* imageFilesIn(
  folder: string,
  errors?: Map<unknown, MillraceError>,
): AsyncGenerator<string, void, void> {
  for await (const found of walkImages(path.resolve(folder), { endings: imageFileEndings })) {
    if (found.error !== undefined) errors?.set(found.path, found.error);
    if (found.error === undefined || errors !== undefined) yield found.path;
  }
}

/** A folder could not be read; `reason` is the error for callers. */
export class FolderError extends Error {
  readonly reason: MillraceError;
  /** Whether the folder was opened before the failure. */
  readonly isOpen: boolean;

  constructor(reason: MillraceError, isOpen: boolean) {
    super(reason.message);
    this.reason = reason;
    this.isOpen = isOpen;
  }
}

/** The entries of a folder, with links resolved. @throws FolderError */
export async function* readFolder(folder: string): AsyncGenerator<FolderEntry, void, void> {
  let isOpen = false;
  try {
    // As bytes: names that are not UTF-8 can't be represented by Node's strings.
    const entries = await opendir(encodePath(folder) as string, { encoding: 'buffer' as BufferEncoding });
    isOpen = true;
    for await (const entry of entries) {
      const name = decodePath(entry.name as unknown as Buffer);
      yield await classify(name, path.join(folder, name), entry);
    }
  } catch (error) {
    if (!(isError(error) && 'syscall' in error)) throw error;
    throw new FolderError(folderError(folder, error as NodeJS.ErrnoException), isOpen);
  }
}

async function classify(name: string, file: string, entry: Dirent): Promise<FolderEntry> {
  if (entry.isFile()) return { name, kind: 'file' };
  if (entry.isDirectory()) return { name, kind: 'folder' };
  try {
    const isLink = entry.isSymbolicLink();
    const found = await (isLink ? stat : lstat)(encodePath(file));
    if (found.isFile()) return { name, kind: 'file' };
    if (found.isDirectory()) return { name, kind: isLink ? 'linked folder' : 'folder' };
    // Some file systems report no entry types.
    if (found.isSymbolicLink()) return await classify(name, file, found as unknown as Dirent);
    const what = found.isFIFO() ? 'a FIFO' : 'a device or a socket';
    const message = `Cannot read image ${quote(file)}: expected a file, found ${what}`;
    return { name, kind: 'special', error: new ImageUnsupportedError(message) };
  } catch (error) {
    return { name, kind: 'broken link', error: linkError(file, error as NodeJS.ErrnoException) };
  }
}

const REASONS: Readonly<Record<string, string>> = {
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EIO: 'the device failed',
  ESTALE: 'the file server no longer knows it',
  EMFILE: 'too many files are open (see ulimit -n)',
  ENFILE: 'too many files are open',
};

function linkError(file: string, cause: NodeJS.ErrnoException): MillraceError {
  const start = `Cannot read image ${quote(file)}: `;
  switch (cause.code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return new ImageNotFoundError(`${start}its link is broken`, { cause });
    case 'ELOOP':
      return new ImageForbiddenError(`${start}its links form a cycle`, { cause });
    default:
      return new ImageReadError(`${start}${reasonOf(cause)}`, { cause });
  }
}

function folderError(folder: string, cause: NodeJS.ErrnoException): MillraceError {
  const start = `Cannot read folder ${quote(folder)}: `;
  switch (cause.code) {
    case 'ENOENT':
      return new ImageNotFoundError(`${start}it does not exist`, { cause });
    case 'ENOTDIR':
      return new ImageNotFoundError(`${start}it is not a folder`, { cause });
    default:
      return new ImageReadError(`${start}${reasonOf(cause)}`, { cause });
  }
}

function reasonOf({ code = 'the system refused' }: NodeJS.ErrnoException): string {
  const reason = REASONS[code];
  return reason === undefined ? code : `${reason} (${code})`;
}

function quote(file: string): string {
  return JSON.stringify(printablePath(file));
}
