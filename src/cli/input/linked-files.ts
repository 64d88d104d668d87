import { type Dirent, readdir } from 'node:fs';
import { stat } from 'node:fs/promises';
import path from 'node:path';
import type { FileSystemAdapter } from 'tinyglobby';

type Callback = (error: NodeJS.ErrnoException | null, entries: Dirent[]) => void;

/**
 * A `readdir` for a glob that follows no links: a linked file is listed as a file, other links stay links. The glob alone would leave both out, or
 * follow both.
 */
function readdirWithLinkedFiles(folder: string, _options: unknown, callback: Callback): void {
  readdir(folder, { withFileTypes: true }, (error, entries = []) => {
    if (error !== null || !entries.some((entry) => entry.isSymbolicLink())) callback(error, entries);
    else void Promise.all(entries.map((entry) => resolveFile(folder, entry))).then((shown) => callback(null, shown));
  });
}

async function resolveFile(folder: string, entry: Dirent): Promise<Dirent> {
  if (!entry.isSymbolicLink()) return entry;
  const found = await stat(path.join(folder, entry.name)).catch(() => undefined);
  if (found?.isFile() !== true) return entry;
  return Object.create(entry, { isFile: { value: () => true }, isSymbolicLink: { value: () => false } }) as Dirent;
}

/** See {@link readdirWithLinkedFiles}. */
export const linkedFiles: FileSystemAdapter = { readdir: readdirWithLinkedFiles as never };
