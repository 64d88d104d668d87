import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { testModels, writeTestModel } from '../../../scripts/make-test-models.js';
import { OnnxBuilder } from '../../../scripts/onnx/onnx-builder.js';
import { EmbeddingSession } from '../../../src/image-embedding/inference/session.js';
import { readModelFolder } from '../../../src/image-embedding/model/model-folder.js';
import { createModelSpec, type ModelSpec } from '../../../src/image-embedding/model/model-spec.js';

let below: string;

beforeAll(async () => {
  below = await mkdtemp(path.join(os.tmpdir(), 'millrace-session-'));
});

afterAll(async () => {
  await rm(below, { recursive: true, force: true });
});

function picture(spec: ModelSpec, seed: number): Uint8Array {
  const length = 3 * spec.preprocess.output.width * spec.preprocess.output.height;
  return Uint8Array.from({ length }, (_, index) => ((index * 7919 * seed) % 1000) / 4);
}

function furthest(one: Float32Array, other: Float32Array): number {
  return one.reduce((most, value, index) => Math.max(most, Math.abs(value - (other[index] as number))), 0);
}

/** A model that averages each colour, with whatever input and output a test wants. */
async function colours(
  name: string,
  shape: { input?: readonly (number | string)[]; output?: string; dims?: readonly (number | string)[] } = {},
): Promise<ModelSpec> {
  const builder = new OnnxBuilder();
  builder.input('image', 'float32', shape.input ?? ['batch', 3, 8, 8]);
  const output = shape.output ?? 'features';
  builder.node('Flatten', [builder.node('GlobalAveragePool', ['image'])], { axis: 1 }, output);
  builder.output(output, 'float32', shape.dims ?? ['batch', 3]);
  const file = path.join(below, `${name}.onnx`);
  await writeFile(file, builder.build({ name, doc: '' }));
  return createModelSpec({ file, size: 8 });
}

/** What Git has in the place of a large file that was not brought along. */
const POINTER = 'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n';

describe('EmbeddingSession', () => {
  test.each(testModels.map(({ name }) => name))(
    '.run() gives each image of a batch what it gives it alone: %s',
    async (name) => {
      const spec = await readModelFolder(await writeTestModel(name, below));
      const session = await EmbeddingSession.load(spec);
      const images = [1, 2, 3, 4, 5].map((seed) => picture(spec, seed));
      const together = await session.run(images);
      expect(together).toHaveLength(5);
      for (const [index, image] of images.entries()) {
        const [alone] = await session.run([image]);
        expect(alone).toHaveLength(name === 'tiny-clip' ? 24 : 32);
        expect(furthest(together[index] as Float32Array, alone as Float32Array)).toBeLessThan(1e-5);
      }
      expect(furthest(together[0] as Float32Array, together[1] as Float32Array)).toBeGreaterThan(1e-3);
      await session.dispose();
    },
  );

  test('.load() picks the output by family, and by name where one is given', async () => {
    const load = async (name: string, output?: ModelSpec['output']) => {
      const spec = await readModelFolder(await writeTestModel(name, below), output === undefined ? {} : { output });
      const session = await EmbeddingSession.load(spec);
      await session.dispose();
      return session.description.output;
    };
    expect(await load('tiny-clip')).toMatchObject({ name: 'image_embeds', pooling: 'none', dimension: 24 });
    expect(await load('tiny-siglip')).toMatchObject({ name: 'pooler_output', pooling: 'none', dimension: 32 });
    expect(await load('tiny-dinov2')).toMatchObject({ name: 'last_hidden_state', pooling: 'cls', dimension: 32 });
    expect(await load('tiny-siglip', { name: 'last_hidden_state' })).toMatchObject({ pooling: 'mean' });
    expect(await load('tiny-vit', { pooling: 'mean' })).toMatchObject({ name: 'last_hidden_state', pooling: 'mean' });
    const mismatch = { code: 'ERR_MODEL_MISMATCH' };
    await expect(load('tiny-clip', { name: 'pooled' })).rejects.toMatchObject(mismatch);
    await expect(load('tiny-clip', { pooling: 'cls' })).rejects.toMatchObject(mismatch);
  });

  test('.run() in half precision stays near single precision', async () => {
    const single = await EmbeddingSession.load(await readModelFolder(await writeTestModel('tiny-vit', below)));
    const spec = await readModelFolder(await writeTestModel('tiny-vit-fp16', below));
    const half = await EmbeddingSession.load(spec);
    const image = picture(spec, 3);
    const [[exact], [rounded]] = await Promise.all([single.run([image]), half.run([image])]);
    expect(furthest(exact as Float32Array, rounded as Float32Array)).toBeLessThan(0.01);
    await Promise.all([single.dispose(), half.dispose()]);
  });

  test('.run() hands BGR planes to a model that wants them', async () => {
    const spec = await colours('bgr');
    const rgb = await EmbeddingSession.load(spec);
    const bgr = await EmbeddingSession.load({ ...spec, channels: 'bgr' });
    const image = picture(spec, 5);
    const [[one], [other]] = await Promise.all([rgb.run([image]), bgr.run([image])]);
    expect([...(other as Float32Array)].reverse()).toEqual([...(one as Float32Array)]);
    await Promise.all([rgb.dispose(), bgr.dispose()]);
  });

  test('.load() refuses a model whose input does not fit, with what was expected and found', async () => {
    const spec = { ...(await colours('small', { input: ['batch', 3, 16, 16] })) };
    await expect(EmbeddingSession.load(spec)).rejects.toMatchObject({
      code: 'ERR_MODEL_MISMATCH',
      message: expect.stringMatching(/one input \[batch, 3, 8, 8\].*found image float32 \[batch, 3, 16, 16\]/),
    });
    await expect(EmbeddingSession.load(await colours('grey', { input: ['batch', 1, 8, 8] }))).rejects.toMatchObject({
      code: 'ERR_MODEL_MISMATCH',
    });
  });

  test('.load() refuses class scores that nobody asked for', async () => {
    const spec = await colours('classes', { output: 'logits' });
    await expect(EmbeddingSession.load(spec)).rejects.toMatchObject({ code: 'ERR_MODEL_MISMATCH' });
    const session = await EmbeddingSession.load({ ...spec, output: { name: 'logits' } });
    await session.dispose();
  });

  test('.load() answers empty, damaged and truncated files with coded errors', async () => {
    const sound = await colours('sound');
    const bytes = await readFile(sound.file);
    const load = async (content: Uint8Array) => {
      const file = path.join(below, 'damaged.onnx');
      await writeFile(file, content);
      return EmbeddingSession.load({ ...sound, file });
    };
    await expect(load(new Uint8Array())).rejects.toMatchObject({ code: 'ERR_MODEL_CORRUPT' });
    await expect(load(Buffer.from('not a model at all'))).rejects.toMatchObject({ code: 'ERR_MODEL_CORRUPT' });
    const mobilenet = await readFile(new URL('../../../models/mobilenet-v1-0.25/onnx/model.onnx', import.meta.url));
    for (const share of [0.1, 0.5, 0.9, 0.999]) {
      await expect(load(mobilenet.subarray(0, Math.floor(mobilenet.length * share)))).rejects.toMatchObject({
        code: 'ERR_MODEL_CORRUPT',
      });
    }
    await expect(load(bytes.subarray(0, bytes.length - 5))).rejects.toMatchObject({
      code: expect.stringMatching(/^ERR_MODEL_(CORRUPT|LOAD)$/),
    });
    await expect(EmbeddingSession.load({ ...sound, file: path.join(below, 'none.onnx') })).rejects.toMatchObject({
      code: 'ERR_MODEL_NOT_FOUND',
    });
  });

  test.each([
    ['../weights.bin', 'outside its folder'],
    ['/etc/hostname', 'outside its folder'],
    ['missing.bin', 'missing.bin, which is missing'],
    ['pointer.bin', 'pointer of Git LFS'],
  ])('.load() refuses weights kept in %s', async (location, what) => {
    await writeFile(path.join(below, 'weights.bin'), new Uint8Array(1024));
    await mkdir(path.join(below, 'inner'), { recursive: true });
    await writeFile(path.join(below, 'inner', 'pointer.bin'), POINTER);
    const builder = new OnnxBuilder();
    builder.input('image', 'float32', ['batch', 3, 8, 8]);
    const weight = builder.externalWeight('weight', [3, 4], location);
    const flat = builder.node('Flatten', [builder.node('GlobalAveragePool', ['image'])], { axis: 1 });
    builder.node('MatMul', [flat, weight], {}, 'features');
    builder.output('features', 'float32', ['batch', 4]);
    const file = path.join(below, 'inner', 'external.onnx');
    await writeFile(file, builder.build({ name: 'external', doc: '' }));
    await expect(EmbeddingSession.load(createModelSpec({ file, size: 8 }))).rejects.toMatchObject({
      code: expect.stringMatching(/^ERR_MODEL_(?:LOAD|CORRUPT)$/),
      message: expect.stringContaining(what),
    });
  });

  test('.load() says of a model that is newer than the runtime what is newer, and what to do', async () => {
    const graph = (operator: string, opset: number): Buffer => {
      const builder = new OnnxBuilder();
      builder.input('image', 'float32', ['batch', 3, 8, 8]);
      builder.node(operator, ['image'], {}, 'features');
      builder.output('features', 'float32', ['batch', 4]);
      return Buffer.from(builder.build({ name: 'new', doc: '', opset }));
    };
    const newer = graph('Identity', 17);
    expect([...newer.subarray(0, 2)]).toEqual([8, 8]);
    newer[1] = 99;
    for (const [bytes, ...words] of [
      [newer, 'IR version 99', 'at most 1'],
      [graph('Identity', 99), 'opset 99', 'at most 2'],
      [graph('FancyOp', 13), 'FancyOp', 'opset 13'],
    ] as const) {
      const file = path.join(below, 'newer.onnx');
      await writeFile(file, bytes);
      const error = await EmbeddingSession.load(createModelSpec({ file, size: 8 })).catch((reason: unknown) => reason);
      expect(error).toMatchObject({ code: 'ERR_MODEL_UNSUPPORTED', cause: expect.any(Error) });
      for (const word of [...words, 'update onnxruntime-node']) expect((error as Error).message).toContain(word);
    }
  });

  test('.load() knows a pointer of Git LFS', async () => {
    const file = path.join(below, 'pointer.onnx');
    await writeFile(file, POINTER);
    await expect(EmbeddingSession.load(createModelSpec({ file, size: 8 }))).rejects.toMatchObject({
      code: 'ERR_MODEL_CORRUPT',
      message: expect.stringContaining('git lfs pull'),
    });
    await writeFile(path.join(below, 'config.json'), POINTER);
    await writeFile(path.join(below, 'model.onnx'), POINTER);
    await expect(readModelFolder(below)).rejects.toMatchObject({
      code: 'ERR_MODEL_CONFIG',
      message: expect.stringContaining('git lfs pull'),
    });
  });

  test('.load() passes an execution provider through, and says so when there is none of that name', async () => {
    const spec = await colours('providers');
    const cpu = await EmbeddingSession.load(spec, { executionProviders: ['cpu'], graphOptimizationLevel: 'basic' });
    await cpu.dispose();
    await expect(EmbeddingSession.load(spec, { executionProviders: ['abacus'] })).rejects.toMatchObject({
      code: 'ERR_MODEL_LOAD',
    });
  });

  test('.run() refuses numbers that are not finite', async () => {
    const spec = await colours('finite');
    const preprocess = { ...spec.preprocess, mean: [Number.NaN, 0, 0] as const };
    const session = await EmbeddingSession.load({ ...spec, preprocess });
    await expect(session.run([picture(spec, 1)])).rejects.toMatchObject({
      code: 'ERR_MODEL_INFERENCE',
      fault: 'model',
    });
    await session.dispose();
  });
});
