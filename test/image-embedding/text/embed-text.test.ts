import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, test } from 'vitest';
import { testModelFiles, testModels, writeTestModel } from '../../../scripts/make-test-models.js';
import {
  buildTextTower,
  clipTokenizer,
  siglipTokenizer,
  type TextTowerConfig,
} from '../../../scripts/make-text-towers.js';
import { createImageEmbeddingPool, type ImageEmbeddingPool, similarity } from '../../../src/image-embedding/index.js';
import { linux, testNeeding } from '../../support/needs.js';
import { isAlive, treeBytes } from '../../support/process-tree.js';
import { until } from '../../support/until.js';
import { startLocalHub } from '../hub/local-hub.js';

const clip = clipTokenizer(['c a', 'ca t</w>', 'd o', 'do g</w>']);
const siglip = siglipTokenizer(['▁a', '▁photo', '▁cat', '▁dog', 's', '▁']);
const CLIP_TOWER: TextTowerConfig = {
  vocabulary: 518,
  dimension: 24,
  seed: 1,
  output: 'text_embeds',
  pooling: 'highest id',
};
const SIGLIP_TOWER: TextTowerConfig = {
  vocabulary: 8,
  dimension: 32,
  seed: 1,
  output: 'pooler_output',
  pooling: 'last',
};

let below: string;
const pools: ImageEmbeddingPool[] = [];

beforeAll(async () => {
  below = await mkdtemp(path.join(tmpdir(), 'millrace-text-'));
});

afterEach(async () => {
  await Promise.all(pools.splice(0).map((pool) => pool.close()));
});

afterAll(async () => {
  await rm(below, { recursive: true, force: true });
});

async function folderOf(
  name: string,
  tower: TextTowerConfig,
  tokenizer: object,
  config: object,
  file = 'onnx/text_model.onnx',
): Promise<string> {
  const model = await writeTestModel(name, await mkdtemp(path.join(below, 'model-')));
  const text = path.join(model, file);
  await mkdir(path.dirname(text), { recursive: true });
  await writeFile(text, buildTextTower(tower));
  const place = file.startsWith('textual/') ? path.join(model, 'textual') : model;
  await writeFile(path.join(place, 'tokenizer.json'), JSON.stringify(tokenizer));
  await writeFile(path.join(place, 'tokenizer_config.json'), JSON.stringify(config));
  return model;
}

function open(options: Parameters<typeof createImageEmbeddingPool>[0]): ImageEmbeddingPool {
  const pool = createImageEmbeddingPool({ workers: { max: 1 }, ...options });
  pools.push(pool);
  return pool;
}

describe('ImageEmbeddingPool.embedText()', () => {
  it('embeds by the text tower of CLIP, in the space of its pictures', async () => {
    const pool = open({ model: await folderOf('tiny-clip', CLIP_TOWER, clip, { pad_token: '<|endoftext|>' }) });
    const [cat, dog, again] = await pool.embedText(['cat', 'dog', ' CAT ']);
    expect([cat?.length, await pool.embeddingDimension()]).toEqual([24, 24]);
    expect(similarity(cat as Float32Array, cat as Float32Array)).toBeCloseTo(1, 6);
    expect(cat).toEqual(again);
    expect(similarity(cat as Float32Array, dog as Float32Array)).toBeLessThan(0.99);
    expect(await pool.embedText('cat')).toEqual(cat);
    expect(await pool.textVectors('cat')).toEqual([cat]);
  });

  it('runs a graph of fixed lengths, of int32 ids, with a mask, of another output: each as its exporter made it', async () => {
    const config = { pad_token: '<|endoftext|>' };
    const free = open({ model: await folderOf('tiny-clip', { ...CLIP_TOWER, hasMask: true }, clip, config) });
    const masked = await free.embedText('cat');
    const immich = await folderOf(
      'tiny-clip',
      { ...CLIP_TOWER, input: { name: 'text', type: 'int32' }, batch: 1, length: 77, output: 'embedding' },
      clip,
      config,
      'textual/model.onnx',
    );
    expect((await open({ model: immich }).embedText('cat')).length).toBe(24);
    const batched = await folderOf('tiny-clip', { ...CLIP_TOWER, hasMask: true, batch: 3 }, clip, config);
    expect(await open({ model: batched }).embedText('cat')).toEqual(masked);
  });

  it("fills SigLIP's rows to 64, whatever the graph would take", async () => {
    const config = { pad_token: '</s>', tokenizer_class: 'SiglipTokenizer' };
    const free = open({ model: await folderOf('tiny-siglip', SIGLIP_TOWER, siglip, config) });
    const fixed = open({ model: await folderOf('tiny-siglip', { ...SIGLIP_TOWER, length: 64 }, siglip, config) });
    const text = 'A photo, cats!';
    expect(await free.embedText(text)).toEqual(await fixed.embedText(text));
    expect(await free.embedText('a photo cats')).toEqual(await free.embedText(text));
  });

  it('has deadlines, aborts and a closed pool as pictures have', async () => {
    const model = await folderOf('tiny-clip', CLIP_TOWER, clip, {});
    const pool = open({ model });
    await expect(pool.embedText('cat', { timeoutMs: 0 })).rejects.toMatchObject({ code: 'ERR_DEADLINE_EXCEEDED' });
    const reason = new Error('enough');
    await expect(pool.embedText('cat', { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    await expect(pool.embedText('')).rejects.toThrow(RangeError);
    await expect(pool.embedText('cat', { priorty: 'batch' } as never)).rejects.toThrow(/unknown option 'priorty'/);
    await pool.embedText('cat');
    await pool.close();
    await expect(pool.embedText('cat')).rejects.toMatchObject({ code: 'ERR_POOL_CLOSED' });
  });

  it('has a worker of its own, which leaves when no text comes', async () => {
    const model = await folderOf('tiny-clip', CLIP_TOWER, clip, {});
    const pool = open({ model, idleTimeoutMs: 300 });
    await pool.embedText('cat');
    const workers = (): number => {
      const [, text] = Object.entries(pool.health().models).find(([key]) => key.endsWith('(text)')) ?? [];
      return Object.values(text?.workers ?? { missing: Number.NaN }).reduce((sum, each) => sum + each, 0);
    };
    expect(workers()).toBe(1);
    const began = Date.now();
    while (workers() !== 0 && Date.now() - began < 10_000) await new Promise((go) => setTimeout(go, 20));
    expect(workers()).toBe(0);
    expect((await pool.embedText('cat')).length).toBe(24);
  });

  testNeeding(linux)('gives the memory of its text tower back when no text comes', async () => {
    const tower = { ...CLIP_TOWER, vocabulary: 40_000, dimension: 512 };
    const pool = open({ model: await folderOf('tiny-clip', tower, clip, {}), idleTimeoutMs: 3_000 });
    await pool.embedText('cat');
    const text = (await pool.workers()).find(({ model }) => model.endsWith('(text)'));
    const pid = text?.pid as number;
    // The weights are 82 MB, a process without them has some 60.
    expect(treeBytes(pid)).toBeGreaterThan(120e6);
    await until('the text worker is gone', () => !isAlive(pid));
    expect(treeBytes(pid)).toBe(0);
    // The worker for pictures is another.
    expect((await pool.embedImage('examples/photos/cat-1.jpg')).length).toBe(24);
  });

  it('says that a model has nothing for text, and that a tower is none', async () => {
    const none = open({ model: await writeTestModel('tiny-vit', await mkdtemp(path.join(below, 'none-'))) });
    await expect(none.embedText('cat')).rejects.toMatchObject({ code: 'ERR_MODEL_NO_TEXT', fault: 'caller' });
    const model = await folderOf('tiny-clip', CLIP_TOWER, clip, {});
    await writeFile(path.join(model, 'onnx', 'text_model.onnx'), 'no graph');
    await expect(open({ model }).embedText('cat')).rejects.toMatchObject({ code: 'ERR_MODEL_CORRUPT' });
  });
});

describe('ImageEmbeddingPool.embedText() of a model from the hub', () => {
  it('brings the text tower when a text is asked for, and not before', async () => {
    const model = testModels.find(({ name }) => name === 'tiny-clip') as (typeof testModels)[number];
    const json = (value: object) => Buffer.from(JSON.stringify(value));
    const hub = await startLocalHub(
      'millrace/tiny-clip',
      new Map<string, Uint8Array>([
        ...testModelFiles(model),
        ['onnx/text_model.onnx', buildTextTower(CLIP_TOWER)],
        ['onnx/text_model_quantized.onnx', buildTextTower(CLIP_TOWER)],
        ['tokenizer.json', json(clip)],
        ['tokenizer_config.json', json({ pad_token: '<|endoftext|>' })],
      ]),
    );
    const cacheDir = await mkdtemp(path.join(below, 'hub-'));
    const options = { model: 'millrace/tiny-clip', hub: { endpoint: hub.endpoint, cacheDir, offline: false } };
    const files = () => hub.requests.filter((each) => each.includes('/resolve/')).map((each) => path.basename(each));
    try {
      const pool = open(options);
      expect(await pool.embeddingDimension()).toBe(24);
      expect(files().filter((file) => /text|token/.test(file))).toEqual([]);
      const cat = await pool.embedText('cat');
      expect(cat).toHaveLength(24);
      expect(
        files()
          .filter((file) => /text|token/.test(file))
          .sort(),
      ).toEqual(['text_model.onnx', 'tokenizer.json', 'tokenizer_config.json']);
      const offline = open({ ...options, hub: { ...options.hub, offline: true } });
      expect(await offline.embedText('cat')).toEqual(cat);
    } finally {
      await hub.close();
    }
  });
});

describe('ImageEmbeddingPool.textVectors() of the built-in model', () => {
  it('knows nouns in any form, and no sentences', async () => {
    const pool = open({});
    const vectors = await pool.textVectors('dogs');
    expect(vectors).toHaveLength(118);
    for (const vector of vectors) expect(similarity(vector, vector)).toBeCloseTo(1, 5);
    expect(await pool.textVectors('The  Tabby Cat')).toHaveLength(1);
    expect(await pool.textVectors('a photo of a tabby cat')).toEqual(await pool.textVectors('tabby cat'));
    for (const word of ['snow', 'tree', 'sunset', 'child', 'lake', 'bicyle']) {
      await expect(pool.textVectors(word)).rejects.toThrow(/is no word of this model.*; near ones: \w/);
    }
    expect((await pool.embedText('dog')).length).toBe(256);
    expect(pool.stats().accepted).toBe(0);
    await expect(pool.textVectors('beach')).rejects.toMatchObject({
      code: 'ERR_WORD_UNKNOWN',
      message: expect.stringMatching(/near ones: beach wag/),
    });
    await expect(pool.textVectors('a dog on a boat')).rejects.toThrow(/known of it: dog, boat/);
  });
});

test("the built-in model's words are 3,230 nouns in about 100 KB, with WordNet's notice", async () => {
  const folder = new URL('../../../models/words/', import.meta.url);
  const text = await readFile(new URL('imagenet-words.json', folder), 'utf8');
  const { words } = JSON.parse(text) as { readonly words: Readonly<Record<string, string>> };
  expect(Object.keys(words)).toHaveLength(3_230);
  expect(text.length).toBeLessThan(103_000);
  const everyday =
    'dog cat bird fish horse snake spider butterfly insect bear monkey elephant lion tiger sheep pig rabbit fox wolf';
  const things =
    'car bus truck train boat ship airplane bicycle motorcycle vehicle building church bridge castle clock phone';
  const more =
    'computer keyboard camera book bottle cup food fruit vegetable pizza flower mushroom mountain volcano chair bed table';
  const known = `${everyday} ${things} ${more}`.split(' ').filter((word) => Object.hasOwn(words, word));
  expect(known.length).toBeGreaterThanOrEqual(44);
  expect(await readFile(new URL('LICENSE', folder), 'utf8')).toContain('Princeton University');
});
