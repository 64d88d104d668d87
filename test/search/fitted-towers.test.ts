import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { COLOURS, draw, randomOf, SHAPES, SIDE, writeFittedTowers } from '../../scripts/make-fitted-towers.js';
import { createImageEmbeddingPool, type ImageEmbeddingPool, identifyModel } from '../../src/image-embedding/index.js';
import { createIndex, embedExpression, type ImageIndex, parseExpression, updateIndex } from '../../src/search/index.js';

/** 48 kinds, 15 of each: by chance one in 48 is right, which is .021. */
const EACH = 15;

let root: string;
let pool: ImageEmbeddingPool;
let index: ImageIndex;

beforeAll(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'millrace-fitted-'));
  const model = await writeFittedTowers(root);
  const photos = path.join(root, 'photos');
  await mkdir(photos);
  const random = randomOf(99);
  const files: string[] = [];
  for (let turn = 0; turn < EACH; turn++) {
    for (const colour of Object.keys(COLOURS)) {
      for (const shape of Object.keys(SHAPES)) {
        const file = path.join(photos, `${colour}-${shape}-${turn}.png`);
        const raw = { width: SIDE, height: SIDE, channels: 3 } as const;
        await sharp(draw(colour, shape, random), { raw })
          .png()
          .toFile(file);
        files.push(file);
      }
    }
  }
  pool = createImageEmbeddingPool({ model, workers: { max: 1 } });
  const identity = await identifyModel(await pool.describe(), { preprocess: 'fast', normalize: true });
  index = await createIndex(path.join(root, 'photos.idx'), { dimension: identity.dimensions, model: identity });
  for await (const progress of updateIndex(index, pool, files)) expect(progress.failed).toBe(0);
}, 120_000);

afterAll(async () => {
  await index?.close();
  await pool?.close();
  await rm(root, { recursive: true, force: true });
});

/** The kinds of the best ten. */
async function found(query: string): Promise<string[][]> {
  const terms = await embedExpression(await parseExpression([query], () => false), pool);
  const hits = await index.search(terms, { limit: 10 });
  return hits.map((hit) => path.basename(hit.path).split('-'));
}

const mean = (numbers: readonly number[]): number => numbers.reduce((sum, each) => sum + each, 0) / numbers.length;

test('two words find pictures of both, and a colour its pictures, by two towers of one model', async () => {
  const both: number[] = [];
  const colours: number[] = [];
  for (const colour of Object.keys(COLOURS)) {
    colours.push(mean((await found(colour)).map(([name]) => (name === colour ? 1 : 0))));
    for (const shape of Object.keys(SHAPES)) {
      const kinds = await found(`${colour} ${shape}`);
      both.push(mean(kinds.map(([name, form]) => (name === colour && form === shape ? 1 : 0))));
    }
  }
  expect(mean(colours)).toBeGreaterThanOrEqual(0.9);
  expect(mean(both)).toBeGreaterThanOrEqual(0.5);
}, 60_000);

test('a colour that is taken off is not among the first ten, and one that is added is', async () => {
  for (const colour of Object.keys(COLOURS)) {
    expect((await found(`circle - ${colour}`)).filter(([name]) => name === colour)).toEqual([]);
  }
  const sum = await found('2:red + circle');
  expect(sum.filter(([name]) => name === 'red').length).toBeGreaterThan(7);
});
