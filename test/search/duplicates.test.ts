/** Copies as people have them, of the example photographs, by the built-in model at the default score. */
import { mkdir, readdir } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp, { type Sharp } from 'sharp';
import { expect, test } from 'vitest';
import { createImageEmbeddingPool } from '../../src/image-embedding/index.js';
import { createIndex, updateIndex } from '../../src/search/index.js';
import { tempFolder } from '../support/temp-folder.js';

const photos = fileURLToPath(new URL('../../examples/photos', import.meta.url));
const at = tempFolder('copies');

/** What becomes of a photograph on its way through phones, chats and web sites. */
const COPIES: Readonly<Record<string, (image: Sharp, width: number, height: number) => Sharp>> = {
  'encoded again': (image) => image.jpeg({ quality: 60 }),
  'as WebP': (image) => image.webp({ quality: 75 }),
  'three quarters of the size': (image, width) => image.resize(Math.round(0.75 * width)).jpeg(),
  'half of the size': (image, width) => image.resize(Math.round(0.5 * width)).jpeg(),
  'cut by 3 % at each side': (image, width, height) => {
    const [left, top] = [Math.round(0.03 * width), Math.round(0.03 * height)];
    return image.extract({ left, top, width: width - 2 * left, height: height - 2 * top }).jpeg();
  },
};

test('ImageIndex.duplicates() finds copies that were encoded again, resized or slightly cut, and puts no two subjects together', async () => {
  const names = (await readdir(photos)).filter((name) => name.endsWith('.jpg'));
  const kinds = Object.entries(COPIES);
  const all: string[] = names.map((name) => path.join(photos, name));
  await mkdir(at('copies'));
  for (const name of names) {
    const file = path.join(photos, name);
    const { width = 0, height = 0 } = await sharp(file).metadata();
    for (const [kind, make] of kinds) {
      const copy = at('copies', `${path.parse(name).name} ${kind}.img`);
      await make(sharp(file), width, height).toFile(copy);
      all.push(copy);
    }
  }
  await using pool = createImageEmbeddingPool({ workers: { max: 2 } });
  await using index = await createIndex(at('copies.idx'), { dimension: 256 });
  for await (const { failure } of updateIndex(index, pool, all)) expect(failure).toBeUndefined();

  const groups = (await index.duplicates()).map(({ best, copies }) => [
    best.path,
    ...copies.map(({ item }) => item.path),
  ]);
  const subjectOf = (file: string): string => /^[a-z]+/.exec(path.basename(file))?.[0] ?? '';
  for (const group of groups) expect(new Set(group.map(subjectOf)).size).toBe(1);
  const groupOf = new Map(groups.flatMap((group, number) => group.map((file) => [file, number] as const)));
  let found = 0;
  for (const name of names) {
    const own = groupOf.get(path.join(photos, name));
    for (const [kind] of kinds) {
      const copy = at('copies', `${path.parse(name).name} ${kind}.img`);
      if (own !== undefined && groupOf.get(copy) === own) found += 1;
    }
  }
  const recall = found / (names.length * kinds.length);
  expect(recall).toBeGreaterThanOrEqual(0.95);
}, 60_000);
