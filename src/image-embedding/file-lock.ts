import { mkdir, open, rm, stat, utimes } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

/** A lock whose owner has not touched it for this long is left over from a process that is no more, in ms. */
const STALE_MS = 15_000;
const TOUCH_MS = 5_000;
const LOOK_MS = 100;

/** Runs something while no other process does, for one file: a lock file beside it, kept fresh, and taken over when its owner died. */
export async function withFileLock<T>(
  file: string,
  signal: AbortSignal | undefined,
  run: () => Promise<T>,
): Promise<T> {
  const lock = `${file}.lock`;
  await mkdir(path.dirname(lock), { recursive: true });
  for (;;) {
    signal?.throwIfAborted();
    try {
      await (await open(lock, 'wx')).close();
      break;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      const age = await stat(lock).then(
        (info) => Date.now() - info.mtimeMs,
        () => 0,
      );
      if (age > STALE_MS) await rm(lock, { force: true });
      else await delay(LOOK_MS, undefined, signal === undefined ? {} : { signal });
    }
  }
  const touch = setInterval(() => {
    const now = new Date();
    utimes(lock, now, now).catch(() => undefined);
  }, TOUCH_MS);
  touch.unref();
  try {
    return await run();
  } finally {
    clearInterval(touch);
    await rm(lock, { force: true });
  }
}
