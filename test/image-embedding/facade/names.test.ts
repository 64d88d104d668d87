/** What models of an image pool are called: by their users, and in metrics. */
import { cp, mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { writeTestModel } from '../../../scripts/make-test-models.js';
import {
  type ImageEmbeddingPool,
  type ImageEmbeddingPoolOptions,
  readModelFolder,
} from '../../../src/image-embedding/index.js';
import { readPreprocessorConfig } from '../../../src/image-embedding/model/preprocessor-config.js';
import { createDirectPool } from './direct-pool.js';

const cat = fileURLToPath(new URL('../../../examples/photos/cat-1.jpg', import.meta.url));
const everyObjectHas = Object.getOwnPropertyNames(Object.prototype);

let below: string;
let vit: string;
const open: ImageEmbeddingPool[] = [];

beforeAll(async () => {
  below = await mkdtemp(path.join(os.tmpdir(), 'millrace-names-'));
  vit = await writeTestModel('tiny-vit', below);
});

afterEach(async () => {
  await Promise.all(open.splice(0).map((pool) => pool.close()));
});

afterAll(async () => {
  await rm(below, { recursive: true, force: true });
});

function direct(options?: ImageEmbeddingPoolOptions): ImageEmbeddingPool {
  const { pool } = createDirectPool(options);
  open.push(pool);
  return pool;
}

test.each(everyObjectHas)('a model can be named %s', async (name) => {
  const models = Object.defineProperty({}, name, { value: vit, enumerable: true });
  const pool = direct({ models });
  expect(await pool.embedImage(cat, { model: name })).toHaveLength(32);
  expect(await pool.embedImage(cat)).toHaveLength(256);
  expect(Object.keys(pool.health().models)).toEqual([name, 'default']);
});

test.each(everyObjectHas)('a model that nobody has named %s is not found', async (name) => {
  const pool = direct({ models: { mine: vit } });
  await expect(pool.embedImage(cat, { model: name })).rejects.toMatchObject({
    code: expect.stringMatching(/^ERR_MODEL_/),
  });
});

test.each(everyObjectHas)('an image processor of the type %s is not known', (name) => {
  expect(() => readPreprocessorConfig({ image_processor_type: `${name}ImageProcessor` }, 'here')).toThrow(
    expect.objectContaining({ code: 'ERR_MODEL_UNSUPPORTED' }),
  );
});

test('metrics call a model of a folder or a spec by a short name of its own, without its path', async () => {
  const twin = path.join(below, 'other', path.basename(vit));
  await cp(vit, twin, { recursive: true });
  const clip = await writeTestModel('tiny-clip', below);
  const pool = direct({ models: { 'tiny-siglip': vit } });
  const spec = await readModelFolder(clip);
  await writeTestModel('tiny-siglip', below);
  for (const model of ['default', vit, twin, spec, path.join(below, 'tiny-siglip'), 'tiny-siglip']) {
    await pool.embedImage(cat, { model });
  }
  const text = await pool.metrics();
  const labels = [
    ...text.matchAll(
      /millrace_pool_workers_target\{pool="image-embedding",model="([^"]*)"|millrace_pool_worker_starts_total\{pool="image-embedding",model="([^"]*)"/g,
    ),
  ];
  expect(labels.map(([, one, other]) => one ?? other).sort()).toEqual([
    'default',
    'tiny-clip',
    'tiny-siglip',
    'tiny-siglip 2',
    'tiny-vit',
    'tiny-vit 2',
  ]);
  expect(text).not.toContain(below);
});
