import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, test, vi } from 'vitest';
import { FileLock } from '../../src/image-embedding/file-lock.js';

const link = vi.hoisted(() =>
  vi.fn(() => Promise.reject(Object.assign(new Error('no links here'), { code: 'EPERM' }))),
);
vi.mock('node:fs/promises', async (original) => ({ ...(await original<object>()), link }));

test('FileLock.tryTake() takes a lock once on a file system without links, too', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'millrace-lock-'));
  const file = path.join(folder, 'a.lock');
  for (let round = 0; round < 5; round += 1) {
    const all = await Promise.all(Array.from({ length: 8 }, () => FileLock.tryTake(file)));
    const winners = all.filter((each) => each instanceof FileLock);
    expect(winners).toHaveLength(1);
    await winners[0]?.release();
    expect(await readdir(folder)).toEqual([]);
  }
  expect(link).toHaveBeenCalled();
  await rm(folder, { recursive: true });
});
