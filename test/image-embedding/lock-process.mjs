/**
 * Takes a lock in a process of its own: node lock-process.mjs <lock> <rounds> <die>. With 0 rounds it takes the lock, says so and keeps it.
 * Otherwise it takes it that often, makes sure that nobody else is inside, and, where `die` is 1, ends by SIGKILL with the lock held.
 */
import { rmSync, writeFileSync } from 'node:fs';
import { FileLock } from '../../dist/image-embedding/internal.js';

const [file, rounds, die] = process.argv.slice(2);
const inside = `${file}-inside`;

async function take() {
  for (;;) {
    const lock = await FileLock.tryTake(file);
    if (lock instanceof FileLock) return lock;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

if (Number(rounds) === 0) {
  await take();
  process.stdout.write('taken\n');
  setInterval(() => {}, 1_000);
}
for (let round = 1; round <= Number(rounds); round += 1) {
  const lock = await take();
  writeFileSync(inside, String(process.pid), { flag: 'wx' });
  await new Promise((resolve) => setImmediate(resolve));
  rmSync(inside);
  if (die === '1' && round === Number(rounds)) process.kill(process.pid, 'SIGKILL');
  await lock.release();
}
