import { randomUUID } from 'node:crypto';
import { rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { makeFolder } from './make-folder.js';

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
