import { stat } from 'node:fs/promises';
import { FileLock, type LockHolder } from '../../image-embedding/index.js';
import { UsageError } from '../exit-codes.js';
import { linkTarget } from './link-target.js';

/**
 * Keeps a second run from writing the same output: a file beside it, `<name>.lock`, that says which process writes.
 *
 * @returns Undefined where there is nothing to lock: the output is no regular file, or nothing can be written beside it.
 * @throws UsageError when another run has it.
 */
export async function lockOutput(output: string): Promise<FileLock | undefined> {
  const found = await stat(output).catch(() => undefined);
  if (found !== undefined && !found.isFile()) return undefined;
  const file = `${await linkTarget(output)}.lock`;
  let lock: FileLock | LockHolder;
  try {
    lock = await FileLock.tryTake(file);
  } catch {
    // Whether the output itself can be written is its writer's to find out.
    return undefined;
  }
  if (lock instanceof FileLock) return lock;
  const { pid, host } = lock;
  const who = pid === undefined ? 'another run' : `another run (process ${pid} on ${host})`;
  throw new UsageError(`Cannot write ${output}: ${who} is writing it; if there is none, remove ${file}`);
}
