import { randomUUID } from 'node:crypto';
import { open, readFile, realpath, rm, stat, utimes } from 'node:fs/promises';
import { hostname } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { errorCode, UsageError } from '../exit-codes.js';

/** A lock that was not touched for this long is left over from a run that is no more, in ms. */
const STALE_MS = 30_000;
const TOUCH_MS = 5_000;
/** How long two runs that find the same stale lock at once take to see which of them has it now, in ms. */
const SETTLE_MS = 50;

/** Keeps a second run from writing the same output: a file beside it, `<name>.lock`, that says which process writes. */
export class OutputLock {
  readonly #file: string;
  readonly #touch: NodeJS.Timeout;

  private constructor(file: string) {
    this.#file = file;
    this.#touch = setInterval(() => {
      const now = new Date();
      utimes(file, now, now).catch(() => undefined);
    }, TOUCH_MS);
    this.#touch.unref();
  }

  /**
   * Takes the lock of an output. A lock whose process is gone is taken over.
   *
   * @returns Undefined where there is nothing to lock: the output is no regular file, or nothing can be written beside it.
   * @throws UsageError when another run has it.
   */
  static async take(output: string): Promise<OutputLock | undefined> {
    const found = await stat(output).catch(() => undefined);
    if (found !== undefined && !found.isFile()) return undefined;
    const target = await realpath(output).catch(() => path.resolve(output));
    const file = `${target}.lock`;
    const owner = `${process.pid} ${hostname()} ${randomUUID()}\n`;
    for (let isTakingOver = false; ; isTakingOver = true) {
      try {
        const handle = await open(file, 'wx');
        await handle.writeFile(owner).finally(() => handle.close());
      } catch (error) {
        // Whether the output itself can be written is its writer's to find out.
        if (errorCode(error) !== 'EEXIST') return undefined;
        const other = await readFile(file, 'utf8').catch(() => '');
        if (await isHeld(file, other)) throw taken(output, other, file);
        await rm(file, { force: true });
        continue;
      }
      if (isTakingOver) {
        await delay(SETTLE_MS);
        const now = await readFile(file, 'utf8').catch(() => '');
        if (now !== owner) throw taken(output, now, file);
      }
      return new OutputLock(file);
    }
  }

  /** Gives it back. */
  async release(): Promise<void> {
    clearInterval(this.#touch);
    await rm(this.#file, { force: true });
  }
}

async function isHeld(file: string, owner: string): Promise<boolean> {
  const age = await stat(file).then(
    ({ mtimeMs }) => Date.now() - mtimeMs,
    () => Number.POSITIVE_INFINITY,
  );
  if (age > STALE_MS) return false;
  const [pid, host] = owner.split(' ');
  // Of another machine's processes, and of a lock that is only just being written, nothing is known but its age.
  if (host !== hostname() || !/^\d+$/.test(pid ?? '')) return true;
  try {
    process.kill(Number(pid), 0);
    return true;
  } catch (error) {
    return errorCode(error) === 'EPERM';
  }
}

function taken(output: string, owner: string, file: string): UsageError {
  const [pid, host] = owner.split(' ');
  const who = host === undefined ? 'another run' : `another run (process ${pid} on ${host})`;
  return new UsageError(`Cannot write ${output}: ${who} is writing it; if there is none, remove ${file}`);
}
