import { opendir } from 'node:fs/promises';
import path from 'node:path';
import { ImageNotFoundError } from '../image-errors.js';

const IMAGE = /\.(jpe?g|jfif|png|webp|gif|avif|heic|heif|tiff?)$/i;

/**
 * Walks a folder and its subfolders for files with an image's ending, folders and files in the order that the system gives them. Links are not
 * followed; names that begin with a dot are passed over.
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
      else if (entry.isFile() && IMAGE.test(entry.name)) yield file;
    }
  }
}
