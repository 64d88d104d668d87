/** File operations that several parts share: folders that are created, and files that are replaced atomically. */
import { randomUUID } from 'node:crypto';
import { mkdir, rename, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';

/**
 * Creates a folder and its missing parents.
 *
 * @throws The system's error. In a read-only file system Node's recursive `mkdir` reports ENOENT; this reports EROFS.
 * @internal
 */
export async function makeFolder(folder: string, mode?: number): Promise<void> {
  try {
    await mkdir(folder, { recursive: true, mode });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    // Creating the first missing folder alone fails with the cause.
    for (const each of lineage(folder)) {
      await mkdir(each, { mode }).catch((cause: NodeJS.ErrnoException) => {
        if (cause.code !== 'EEXIST') throw cause;
      });
    }
  }
}

/** A folder and its parents, outermost first. */
function lineage(folder: string): string[] {
  const above = path.dirname(folder);
  return above === folder ? [folder] : [...lineage(above), folder];
}

/**
 * Replaces a file atomically: it is written under a unique temporary name and renamed.
 *
 * @param file The file. Its folder is created.
 * @param make Writes the file under the given temporary name.
 */
export async function replaceFile(file: string, make: (temporary: string) => Promise<unknown>): Promise<void> {
  const temporary = `${file}.${randomUUID()}.tmp`;
  await makeFolder(path.dirname(file));
  try {
    await make(temporary);
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** The user's home folder; undefined for a user id without an entry, or in an empty environment. */
export function homeFolder(): string | undefined {
  try {
    return os.homedir() || undefined;
  } catch {
    return undefined;
  }
}
