import { readlink, realpath } from 'node:fs/promises';
import path from 'node:path';

/** As many links as the system itself follows. */
const MOST_LINKS = 40;

/** The file that a name stands for, through links and also where they lead to none yet. */
export async function linkTarget(name: string): Promise<string> {
  let target = path.resolve(name);
  for (let count = 0; count < MOST_LINKS; count += 1) {
    const real = await realpath(target).catch(() => undefined);
    if (real !== undefined) return real;
    const link = await readlink(target).catch(() => undefined);
    if (link === undefined) return target;
    target = path.resolve(path.dirname(target), link);
  }
  return path.resolve(name);
}
