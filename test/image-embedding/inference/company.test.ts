import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { testModels, writeTestModel } from '../../../scripts/make-test-models.js';
import { OnnxBuilder } from '../../../scripts/onnx/onnx-builder.js';
import { createImageEmbeddingPool } from '../../../src/image-embedding/index.js';
import { dependsOnCompany } from '../../../src/image-embedding/inference/company.js';
import { EmbeddingSession } from '../../../src/image-embedding/inference/session.js';
import { createModelSpec, type ModelSpec } from '../../../src/image-embedding/model/model-spec.js';

const SIDE = 8;
const PIXELS = 3 * SIDE * SIDE;
const LENGTH = 16;

let below: string;

beforeAll(async () => {
  below = await mkdtemp(path.join(os.tmpdir(), 'millrace-company-'));
});

afterAll(async () => {
  await rm(below, { recursive: true, force: true });
});

/** A layer as `quantize_dynamic` makes it: the scale of what comes in is found as it runs, and is one for the whole batch. */
async function quantised(name: string, options: { batch?: number; padding?: number } = {}): Promise<string> {
  const builder = new OnnxBuilder();
  const batch = options.batch ?? 'batch';
  builder.input('image', 'float32', [batch, 3, SIDE, SIDE]);
  // Weights that the reader has to pass over, in front of what counts.
  if (options.padding !== undefined)
    builder.weight('unused', [options.padding], new Float32Array(options.padding).fill(0.5));
  builder.weight(
    'weights',
    [PIXELS, LENGTH],
    Int8Array.from({ length: PIXELS * LENGTH }, (_, n) => ((n * 7919) % 255) - 127),
  );
  builder.weight('one', [], Float32Array.of(1 / 127));
  const flat = builder.node('Flatten', ['image'], { axis: 1 });
  builder.node('DynamicQuantizeLinear', [flat], {}, 'bytes', ['scale', 'zero']);
  const product = builder.node('MatMulInteger', ['bytes', 'weights', 'zero']);
  const numbers = builder.node('Cast', [product], { to: 1 });
  const scaled = builder.node('Mul', [numbers, 'scale']);
  builder.node('Mul', [scaled, 'one'], {}, 'features');
  builder.output('features', 'float32', [batch, LENGTH]);
  const file = path.join(below, `${name}.onnx`);
  await writeFile(file, builder.build({ name, doc: '' }));
  return file;
}

const spec = (file: string): ModelSpec => createModelSpec({ file, size: SIDE });

/** A picture of little contrast, and others that are black and white. */
const grey = Uint8Array.from({ length: PIXELS }, (_, index) => 110 + ((index * 31) % 17));
const white = new Uint8Array(PIXELS).fill(255);
const black = new Uint8Array(PIXELS);
const noise = Uint8Array.from({ length: PIXELS }, (_, index) => (index * 7919) % 256);

describe('A model that quantises as it runs', () => {
  test.each([
    ['of any batch', {}],
    ['fixed to a batch of 4', { batch: 4 }],
    ['fixed to a batch of 1', { batch: 1 }],
  ])('gives an image the same vector whatever its neighbours are: %s', async (name, options) => {
    const session = await EmbeddingSession.load(spec(await quantised(name, options)));
    const [alone] = await session.run([grey]);
    for (const company of [
      [white, grey, black],
      [grey, noise],
      [noise, white, black, noise, grey, white],
    ]) {
      const vectors = await session.run(company);
      expect(vectors).toHaveLength(company.length);
      expect([...(vectors[company.indexOf(grey)] as Float32Array)]).toEqual([...(alone as Float32Array)]);
    }
    await session.dispose();
  });

  test('gives the same fixed to a batch as with any', async () => {
    const vectors = [];
    for (const [name, options] of [
      ['one', { batch: 1 }],
      ['four', { batch: 4 }],
      ['any', {}],
    ] as const) {
      const session = await EmbeddingSession.load(spec(await quantised(name, options)));
      vectors.push([...((await session.run([grey, white]))[0] as Float32Array)]);
      await session.dispose();
    }
    expect(vectors[1]).toEqual(vectors[0]);
    expect(vectors[2]).toEqual(vectors[0]);
  });

  test('does so through a pool, alone and in a crowd', async () => {
    const photo = (name: string) => fileURLToPath(new URL(`../../../examples/photos/${name}.jpg`, import.meta.url));
    await using pool = createImageEmbeddingPool({ model: spec(await quantised('pooled')), workers: 1 });
    const alone = await pool.embedImage(photo('cat-1'));
    const crowd = ['rocket-1', 'clock', 'cat-1', 'coffee-1', 'rocket-2', 'cat-2'].map(photo);
    const batch = await pool.batchEmbedImages(crowd);
    expect([...(batch[2] as Float32Array)]).toEqual([...alone]);
    const burst = await Promise.all(crowd.map((each) => pool.embedImage(each)));
    expect([...(burst[2] as Float32Array)]).toEqual([...alone]);
  }, 30_000);
});

describe('dependsOnCompany()', () => {
  test('finds the operator behind weights of any size, and not what is only named like it', async () => {
    expect(await dependsOnCompany(await quantised('small'))).toBe(true);
    expect(await dependsOnCompany(await quantised('large', { padding: 3_000_000 }))).toBe(true);
    const named = new OnnxBuilder();
    named.input('DynamicQuantizeLinear', 'float32', ['batch', 3, SIDE, SIDE]);
    named.node('Flatten', [named.node('GlobalAveragePool', ['DynamicQuantizeLinear'])], { axis: 1 }, 'features');
    named.output('features', 'float32', ['batch', 3]);
    const file = path.join(below, 'named.onnx');
    await writeFile(file, named.build({ name: 'DynamicQuantizeLinear', doc: '"\u0015DynamicQuantizeLinear' }));
    expect(await dependsOnCompany(file)).toBe(false);
  });

  test.each(testModels.map(({ name }) => name))('is false of %s', async (name) => {
    const model = testModels.find((each) => each.name === name) as (typeof testModels)[number];
    expect(await dependsOnCompany(path.join(await writeTestModel(name, below), 'onnx', model.file))).toBe(false);
  });

  test('is false of what is missing, cut short or no graph, whose load says what it is', async () => {
    const file = await quantised('whole');
    const bytes = await readFile(file);
    const cut = path.join(below, 'cut.onnx');
    expect(await dependsOnCompany(path.join(below, 'nowhere.onnx'))).toBe(false);
    expect(await dependsOnCompany(below)).toBe(false);
    for (let length = 0; length < bytes.length; length += 97) {
      await writeFile(cut, bytes.subarray(0, length));
      expect(await dependsOnCompany(cut)).toBeTypeOf('boolean');
    }
    await writeFile(cut, Buffer.alloc(1_000, 0xff));
    expect(await dependsOnCompany(cut)).toBe(false);
  });
});
