import { copyFile, mkdir, mkdtemp, rename, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import {
  createIndex,
  type ImageEmbedder,
  type ImageIndex,
  type IndexProgress,
  updateIndex,
} from '../../src/search/index.js';
import { vectorOf } from './support/vectors.js';

const PHOTOS = fileURLToPath(new URL('../../examples/photos/', import.meta.url));

let root: string;
let index: ImageIndex;
let embedded: string[];

/** Embeds by name, and counts. */
const pool: ImageEmbedder = {
  async *embedImages(source) {
    let at = 0;
    for await (const input of source) {
      const name = path.basename(String(input));
      embedded.push(name);
      const place = { index: at++, input };
      if (name.startsWith('bad')) {
        yield { ...place, error: Object.assign(new Error('cut off'), { code: 'ERR_IMAGE_CORRUPT' }) };
      } else yield { ...place, embedding: vectorOf(name.length + name.charCodeAt(0), 8) };
    }
  },
};

beforeEach(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'millrace-update-'));
  embedded = [];
  await mkdir(path.join(root, 'photos', 'sub'), { recursive: true });
  for (const name of ['cat-1.jpg', 'clock.jpg', 'sub/stairs.jpg']) {
    await copyFile(path.join(PHOTOS, path.basename(name)), path.join(root, 'photos', name));
  }
  index = await createIndex(path.join(root, 'photos.idx'), { dimension: 8 });
});

afterEach(async () => {
  await index.close();
  await rm(root, { recursive: true, force: true });
});

const file = (name: string): string => path.join(root, 'photos', name);
const paths = (): string[] => [...index.items()].map((item) => path.relative(root, item.path)).sort();

async function update(
  names: readonly string[],
  options: Parameters<typeof updateIndex>[3] = {},
): Promise<IndexProgress> {
  let last: IndexProgress | undefined;
  const roots = [path.join(root, 'photos')];
  for await (const each of updateIndex(index, pool, names.map(file), { roots, ...options })) last = each;
  return last as IndexProgress;
}

const ALL = ['cat-1.jpg', 'clock.jpg', 'sub/stairs.jpg'];

it('embeds what is new, and nothing when nothing has changed', async () => {
  expect(await update(ALL)).toMatchObject({ done: 3, total: 3, embedded: 3, unchanged: 0 });
  expect(await update(ALL)).toMatchObject({ done: 3, embedded: 0, unchanged: 3 });
  expect(embedded).toHaveLength(3);
  expect(index.get(file('clock.jpg'))).toMatchObject({
    size: expect.any(Number),
    hash: expect.stringMatching(/^[0-9a-f]{32}$/),
  });
});

it('embeds again what has changed, and not what was only touched', async () => {
  await update(ALL);
  await utimes(file('clock.jpg'), 1, 1);
  await copyFile(path.join(PHOTOS, 'retina.jpg'), file('cat-1.jpg'));
  embedded = [];
  expect(await update(ALL)).toMatchObject({ embedded: 1, moved: 1, unchanged: 1 });
  expect(embedded).toEqual(['cat-1.jpg']);
  expect(await update(ALL)).toMatchObject({ unchanged: 3 });
});

it('keeps the vector of what was moved, renamed or copied', async () => {
  await update(ALL);
  const vector = await index.vector(file('clock.jpg'));
  await rename(file('clock.jpg'), file('sub/time.jpg'));
  await copyFile(file('cat-1.jpg'), file('cat-copy.jpg'));
  embedded = [];
  const last = await update(['cat-1.jpg', 'cat-copy.jpg', 'sub/stairs.jpg', 'sub/time.jpg']);
  expect(last).toMatchObject({ embedded: 0, moved: 2, removed: 1, unchanged: 2 });
  expect(embedded).toEqual([]);
  expect(await index.vector(file('sub/time.jpg'))).toEqual(vector);
  expect(paths()).toEqual(['photos/cat-1.jpg', 'photos/cat-copy.jpg', 'photos/sub/stairs.jpg', 'photos/sub/time.jpg']);
});

it('takes out what was deleted, and only from the roots that were named', async () => {
  await index.add([{ path: '/elsewhere/a.jpg', vector: vectorOf(1, 8) }]);
  await update(ALL);
  await rm(file('clock.jpg'));
  expect(await update(['cat-1.jpg', 'sub/stairs.jpg'])).toMatchObject({ removed: 1 });
  expect(index.get('/elsewhere/a.jpg')).toBeDefined();
  expect(index.size).toBe(3);
});

it('keeps what lies in a folder that could not be read, and in a root that is empty all at once', async () => {
  await update(ALL);
  expect(await update(['cat-1.jpg', 'clock.jpg'], { unreadable: [file('sub')] })).toMatchObject({ removed: 0 });
  const last = await update([]);
  expect(last).toMatchObject({ removed: 0, emptyRoots: [path.join(root, 'photos')] });
  expect(index.size).toBe(3);
});

it('takes out a file that is named and gone', async () => {
  await update(ALL);
  await rm(file('clock.jpg'));
  expect(await update(ALL, { roots: [] })).toMatchObject({ removed: 1, failed: 1 });
  expect(paths()).toHaveLength(2);
});

it('remembers what could not be embedded, until it changes or is to be tried again', async () => {
  await writeFile(file('bad.jpg'), 'no picture');
  expect(await update([...ALL, 'bad.jpg'])).toMatchObject({ embedded: 3, failed: 1 });
  embedded = [];
  const last = await update([...ALL, 'bad.jpg']);
  expect([last.failed, embedded]).toEqual([1, []]);
  await update([...ALL, 'bad.jpg'], { retryErrors: true });
  expect(embedded).toEqual(['bad.jpg']);
  expect([index.size, index.failed]).toEqual([3, 1]);
});

it('keeps what is finished when the loop is left, and goes on from there', async () => {
  const names = Array.from({ length: 20 }, (_, at) => `n${at}.jpg`);
  for (const [at, name] of names.entries()) await writeFile(file(name), `picture ${at}`);
  let count = 0;
  for await (const each of updateIndex(index, pool, names.map(file))) {
    count = each.embedded;
    if (count === 7) break;
  }
  expect(index.size).toBe(7);
  embedded = [];
  expect(await update(names, { roots: [] })).toMatchObject({ unchanged: 7, embedded: 13 });
});

it('says how far it is, and which picture failed', async () => {
  await writeFile(file('bad.jpg'), 'no picture');
  const seen: IndexProgress[] = [];
  for await (const each of updateIndex(index, pool, [...ALL, 'bad.jpg'].map(file))) seen.push(each);
  expect(seen.flatMap((each) => each.failure ?? [])).toEqual([
    { path: file('bad.jpg'), error: { code: 'ERR_IMAGE_CORRUPT', message: 'cut off' } },
  ]);
  expect(seen.map((each) => each.done)).toEqual([...seen.map((each) => each.done)].sort((a, b) => a - b));
});
