import type { Dirent } from 'node:fs';
import { opendir, stat } from 'node:fs/promises';
import path from 'node:path';
import { ImageNotFoundError } from '../image-errors.js';

/**
 * The endings of the files that are taken from a folder, in lower case with their dot. HEIC is among them though only AVIF of its family is
 * decoded: a photograph that can't be embedded is told of, not passed over.
 */
export const imageFileEndings: ReadonlySet<string> = new Set(
  '.jpg .jpeg .jpe .jfif .png .webp .gif .avif .heic .heif .tif .tiff'.split(' '),
);

/**
 * Walks a folder and its subfolders for files with an image's ending, folders and files in the order that the system gives them. Linked files
 * are taken; linked folders are not followed, since what they hold would be taken twice or without end. Names that begin with a dot are passed over.
 */
export async function* imageFilesIn(folder: string): AsyncGenerator<string, void, void> {
  const pending = [path.resolve(folder)];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    let entries: Awaited<ReturnType<typeof opendir>>;
    try {
      entries = await opendir(next);
    } catch (cause) {
      throw new ImageNotFoundError(`Cannot read folder ${JSON.stringify(next)}: it is no folder that can be read`, {
        cause,
      });
    }
    for await (const entry of entries) {
      if (entry.name.startsWith('.')) continue;
      const file = path.join(next, entry.name);
      if (entry.isDirectory()) pending.push(file);
      else if (imageFileEndings.has(path.extname(entry.name).toLowerCase()) && (await isFile(entry, file))) yield file;
    }
  }
}

async function isFile(entry: Dirent, file: string): Promise<boolean> {
  if (!entry.isSymbolicLink()) return entry.isFile();
  return stat(file).then(
    (found) => found.isFile(),
    () => false,
  );
}
