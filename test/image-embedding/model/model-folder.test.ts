import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readModelFolder } from '../../../src/image-embedding/model/model-folder.js';
import { createModelSpec } from '../../../src/image-embedding/model/model-spec.js';

let below: string;

beforeAll(async () => {
  below = await mkdtemp(path.join(os.tmpdir(), 'millrace-model-'));
});

afterAll(async () => {
  await rm(below, { recursive: true, force: true });
});

async function folder(name: string, files: Record<string, string>): Promise<string> {
  const root = path.join(below, name);
  await mkdir(path.join(root, 'onnx'), { recursive: true });
  for (const [file, text] of Object.entries(files)) await writeFile(path.join(root, file), text);
  return root;
}

const clip = {
  'config.json': '{"model_type":"clip"}',
  'preprocessor_config.json': '{"image_processor_type":"CLIPImageProcessor"}',
};

describe('readModelFolder()', () => {
  test('reads the default model', async () => {
    const root = fileURLToPath(new URL('../../../models/mobilenet-v1-0.25', import.meta.url));
    const spec = await readModelFolder(root);
    expect(spec).toMatchObject({ name: 'mobilenet-v1-0.25', family: 'mobilenet_v1', channels: 'rgb' });
    expect(spec.file).toBe(path.join(root, 'onnx', 'model.onnx'));
    expect(spec.preprocess).toMatchObject({ resize: { shortestEdge: 256 }, resample: 'bilinear', mean: [0, 0, 0] });
  });

  test('takes the image tower before the whole model, and the asked-for number format', async () => {
    const root = await folder('clip', {
      ...clip,
      'onnx/model.onnx': '',
      'onnx/vision_model.onnx': '',
      'onnx/vision_model_fp16.onnx': '',
      'onnx/model_quantized.onnx': '',
    });
    const file = async (options?: Parameters<typeof readModelFolder>[1]) =>
      path.relative(root, (await readModelFolder(root, options)).file);
    expect(await file()).toBe(path.join('onnx', 'vision_model.onnx'));
    expect(await file({ dtype: 'fp16' })).toBe(path.join('onnx', 'vision_model_fp16.onnx'));
    expect(await file({ dtype: 'q8' })).toBe(path.join('onnx', 'model_quantized.onnx'));
    expect(await file({ file: 'onnx/model.onnx' })).toBe(path.join('onnx', 'model.onnx'));
    await expect(readModelFolder(root, { dtype: 'q4' })).rejects.toMatchObject({ code: 'ERR_MODEL_NOT_FOUND' });
    await expect(readModelFolder(root, { file: '../other.onnx' })).rejects.toThrow(RangeError);
  });

  test('takes another number format when there is only that', async () => {
    const root = await folder('half', { ...clip, 'onnx/vision_model_fp16.onnx': '' });
    expect((await readModelFolder(root)).file).toBe(path.join(root, 'onnx', 'vision_model_fp16.onnx'));
  });

  test('names what is missing', async () => {
    const missing = path.join(below, 'nowhere');
    await expect(readModelFolder(missing)).rejects.toMatchObject({ code: 'ERR_MODEL_NOT_FOUND', fault: 'caller' });
    const empty = await folder('empty', {});
    await expect(readModelFolder(empty)).rejects.toThrow('must hold an ONNX file such as onnx/model.onnx, found none');
    const bare = await folder('bare', { 'onnx/model.onnx': '' });
    await expect(readModelFolder(bare)).rejects.toThrow('preprocessor_config.json');
    const notFolder = path.join(bare, 'onnx', 'model.onnx');
    await expect(readModelFolder(notFolder)).rejects.toThrow('must be a folder, found a file');
  });

  test('refuses a configuration that is not JSON', async () => {
    const root = await folder('broken', { ...clip, 'preprocessor_config.json': '{"size":', 'onnx/model.onnx': '' });
    await expect(readModelFolder(root)).rejects.toMatchObject({ code: 'ERR_MODEL_CONFIG' });
    const list = await folder('list', { ...clip, 'config.json': '[]', 'onnx/model.onnx': '' });
    await expect(readModelFolder(list)).rejects.toMatchObject({ code: 'ERR_MODEL_CONFIG' });
  });

  test('refuses an unknown option', async () => {
    await expect(readModelFolder(below, { type: 'fp16' } as never)).rejects.toThrow("unknown option 'type'");
  });
});

describe('createModelSpec()', () => {
  test('fills in the defaults and freezes the result', () => {
    const spec = createModelSpec({ file: '/models/resnet.onnx', size: 224 });
    expect(spec).toMatchObject({ name: 'resnet', family: 'custom', channels: 'rgb', output: {}, dimensions: [] });
    expect(spec.preprocess).toMatchObject({ resize: { shortestEdge: 224 }, crop: { width: 224, height: 224 } });
    expect(Object.isFrozen(spec) && Object.isFrozen(spec.preprocess)).toBe(true);
  });

  test('stretches when asked to', () => {
    const { preprocess } = createModelSpec({ file: 'a.onnx', size: { width: 320, height: 240 }, fit: 'stretch' });
    expect(preprocess).toMatchObject({
      resize: { width: 320, height: 240 },
      crop: undefined,
      output: { width: 320, height: 240 },
    });
  });

  test.each([
    [{ file: '', size: 224 }],
    [{ file: 'a.onnx', size: 0 }],
    [{ file: 'a.onnx', size: 224, std: [1, 0, 1] }],
    [{ file: 'a.onnx', size: 224, mean: 1 }],
    [{ file: 'a.onnx', size: 224, resample: 'box' }],
    [{ file: 'a.onnx', size: 224, output: { pooling: 'max' } }],
    [{ file: 'a.onnx', size: 224, colour: 'rgb' }],
  ])('refuses %j', (options) => {
    expect(() => createModelSpec(options as never)).toThrow(/^Cannot create model spec: /);
  });
});
