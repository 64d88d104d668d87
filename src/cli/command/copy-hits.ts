import { constants, copyFile } from 'node:fs/promises';
import path from 'node:path';
import { encodePath, makeFolder, pathOfFileUrl } from '../../image-embedding/internal.js';
import type { SearchHit } from '../../search/index.js';
import { errorCode, errorMessage, UsageError } from '../errors.js';
import { printable } from '../terminal/text.js';
import type { CommandContext } from './context.js';

const MAX_NAMES = 10_000;

/**
 * Copies the pictures that were found into a folder. A name that is taken gets a number: nothing is overwritten. What can't be copied is noted.
 *
 * @throws UsageError when the folder can't be made.
 */
export async function copyHits({ stderr }: CommandContext, hits: readonly SearchHit[], folder: string): Promise<void> {
  try {
    await makeFolder(folder);
  } catch (error) {
    throw new UsageError(`Cannot make folder ${folder}: ${errorMessage(error)}`, { cause: error });
  }
  let copied = 0;
  for (const { path: name } of hits) {
    const file = pathOfFileUrl(name) ?? name;
    if (/^https?:/i.test(file)) {
      stderr.write(`note: ${printable(file)} is not copied, it is on the web\n`);
      continue;
    }
    try {
      await copyBeside(file, folder);
      copied++;
    } catch (error) {
      stderr.write(`note: ${printable(file)} is not copied: ${errorMessage(error)}\n`);
    }
  }
  stderr.write(`${copied} ${copied === 1 ? 'picture' : 'pictures'} copied to ${printable(folder)}\n`);
}

async function copyBeside(file: string, folder: string): Promise<void> {
  const { name, ext } = path.parse(file);
  for (let count = 1; count <= MAX_NAMES; count++) {
    const target = path.join(folder, count === 1 ? `${name}${ext}` : `${name}-${count}${ext}`);
    try {
      return await copyFile(encodePath(file), encodePath(target), constants.COPYFILE_EXCL);
    } catch (error) {
      if (errorCode(error) !== 'EEXIST') throw error;
    }
  }
  throw new Error('every name for it is taken');
}
