import { randomUUID } from 'node:crypto';
import { mkdir, rename, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';

/**
 * Makes a folder and those above it, where they are not there.
 *
 * @throws The system's error. Node says "no such file" of a folder in a read-only file system, and so hides the cause; here it is EROFS.
 * @internal
 */
export async function makeFolder(folder: string, mode?: number): Promise<void> {
  try {
    await mkdir(folder, { recursive: true, mode });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    // The first that is missing, by itself, fails with what is the matter.
    for (const each of lineage(folder)) {
      await mkdir(each, { mode }).catch((cause: NodeJS.ErrnoException) => {
        if (cause.code !== 'EEXIST') throw cause;
      });
    }
  }
}

/** A folder and those above it, the outermost first. */
function lineage(folder: string): string[] {
  const above = path.dirname(folder);
  return above === folder ? [folder] : [...lineage(above), folder];
}

/**
 * Puts a file in the place of another, at once and whole: it is made under a name of its own, which no other maker of the same file has, be it
 * in this process, and renamed.
 *
 * @param file The place. Its folder is made.
 * @param make Makes the file under the name that it is given.
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

/** The user's home folder; undefined where there is none: a user id without an entry, or an empty environment. */
export function homeFolder(): string | undefined {
  try {
    return os.homedir() || undefined;
  } catch {
    return undefined;
  }
}
