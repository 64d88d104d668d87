import { mkdir } from 'node:fs/promises';
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
