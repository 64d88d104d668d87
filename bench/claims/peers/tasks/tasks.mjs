// What the pools are given to do, the same for all of them.
import { existsSync, writeFileSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';

export const where = () => ({ pid: process.pid, isThread: !isMainThread });

export const sleep = (ms) => new Promise((resolve) => setTimeout(() => resolve(ms), ms));

/** Computes for a time and looks at nothing. */
export function spin(ms) {
  const end = Date.now() + ms;
  while (Date.now() < end);
  return ms;
}

/** Ends its worker the first time, and answers the second. */
export function dieOnce(marker) {
  if (existsSync(marker)) return 'answered';
  writeFileSync(marker, '');
  process.exit(3);
}

export async function* count(to) {
  for (let n = 1; n <= to; n++) yield n;
}
