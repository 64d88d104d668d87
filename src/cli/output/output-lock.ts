import { stat } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { FileLock, type LockHolder, STALE_MS } from '../../image-embedding/internal.js';
import { UsageError } from '../errors.js';
import { linkTarget } from './replacing-file.js';

/** Options of {@link lockOutput}. */
export interface LockOptions {
  /** Whether to wait while a lock may belong to a killed run on another machine or container, which only the lock's age tells. */
  readonly isPatient?: boolean;
  /** Called once with a line that says what is waited for. */
  readonly onWait?: (text: string) => void;
  readonly signal?: AbortSignal;
}

const LOOK_MS = 250;

/**
 * Keeps a second run from writing the same output, by a file `<name>.lock` beside it that names the writing process.
 *
 * @returns Undefined when there is nothing to lock: the output is no regular file, or its folder cannot be written.
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
      // The writer reports an output that cannot be written.
      return undefined;
    }
    if (lock instanceof FileLock) return lock;
    const { touchedAt } = lock;
    // A lock that is touched during the wait belongs to a living run.
    if (!options.isPatient || touchedAt === undefined || (waitedFor ?? touchedAt) !== touchedAt) {
      throw new UsageError(`Cannot write ${output}: ${whoIs(lock)} is writing it; ${adviceFor(lock, file)}`);
    }
    if (waitedFor === undefined) {
      const seconds = Math.max(1, Math.ceil((touchedAt + STALE_MS - Date.now()) / 1000));
      options.onWait?.(
        `waiting up to ${seconds} s: ${file} belongs to ${whoIs(lock)}, which may have been killed; it is taken over if that run does not touch it`,
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
