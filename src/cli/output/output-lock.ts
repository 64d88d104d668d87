import { stat } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { FileLock, type LockHolder, STALE_MS } from '../../image-embedding/index.js';
import { UsageError } from '../exit-codes.js';
import { linkTarget } from './link-target.js';

/** How an output is locked. */
export interface LockOptions {
  /**
   * Whether to wait while a lock may be that of a killed run: of another machine or container only the age of its lock tells, so that one killed a
   * moment ago looks alive.
   */
  readonly isPatient?: boolean;
  /** Is told, once, what is waited for. */
  readonly onWait?: (text: string) => void;
  readonly signal?: AbortSignal;
}

const LOOK_MS = 250;

/**
 * Keeps a second run from writing the same output: a file beside it, `<name>.lock`, that says which process writes.
 *
 * @returns Undefined where there is nothing to lock: the output is no regular file, or nothing can be written beside it.
 * @throws UsageError when another run has it.
 */
export async function lockOutput(output: string, options: LockOptions = {}): Promise<FileLock | undefined> {
  const found = await stat(output).catch(() => undefined);
  if (found !== undefined && !found.isFile()) return undefined;
  const file = `${await linkTarget(output)}.lock`;
  let waitedFor: number | undefined;
  for (;;) {
    let lock: FileLock | LockHolder;
    try {
      lock = await FileLock.tryTake(file);
    } catch {
      // Whether the output itself can be written is its writer's to find out.
      return undefined;
    }
    if (lock instanceof FileLock) return lock;
    const { touchedAt } = lock;
    // A lock that is touched while it is waited for is that of a living run.
    if (!options.isPatient || touchedAt === undefined || (waitedFor ?? touchedAt) !== touchedAt) {
      throw new UsageError(`Cannot write ${output}: ${whoIs(lock)} is writing it; ${adviceFor(lock, file)}`);
    }
    if (waitedFor === undefined) {
      const seconds = Math.max(1, Math.ceil((touchedAt + STALE_MS - Date.now()) / 1000));
      options.onWait?.(
        `waiting up to ${seconds} s: ${file} is of ${whoIs(lock)}, which may have been killed: without a sign of life it is taken over`,
      );
    }
    waitedFor = touchedAt;
    await delay(LOOK_MS, undefined, options.signal === undefined ? {} : { signal: options.signal });
  }
}

function whoIs({ pid, host }: LockHolder): string {
  return pid === undefined ? 'another run' : `another run (process ${pid} on ${host})`;
}

function adviceFor({ touchedAt }: LockHolder, file: string): string {
  return touchedAt === undefined
    ? `if there is none, remove ${file}`
    : `if there is none, remove ${file}, or wait ${STALE_MS / 1000} s: it is then taken over, and --resume waits by itself`;
}
