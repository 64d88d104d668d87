import { beforeAll, describe, expect, it } from 'vitest';
import { fromFloat16, TensorInput, type TensorNumbers } from '../../../src/image-embedding/inference/tensors.js';
import { loadKernels } from '../../../src/image-embedding/kernels/kernels.js';
import { squareSpec } from '../square-spec.js';

beforeAll(loadKernels);

const SIDE = 5;
const LENGTH = 3 * SIDE * SIDE;
const preprocess = squareSpec(SIDE, { mean: [0.1, 0.2, 0.3], std: [0.4, 0.5, 0.6] });
const picture = (seed: number) => Uint8Array.from({ length: LENGTH }, (_, index) => (index * 7919 * seed) % 256);

function make(type: 'float32' | 'float16' | 'uint8', channels: 'rgb' | 'bgr' = 'rgb'): TensorInput {
  const size = { width: SIDE, height: SIDE };
  return new TensorInput({ name: 'image', type, batch: undefined, ...size }, { preprocess, channels });
}

/** What the planes of one picture are, computed number by number. */
function expected(pixels: Uint8Array, order: readonly number[], isNormalised: boolean): number[] {
  return order.flatMap((channel) =>
    Array.from({ length: SIDE * SIDE }, (_, pixel) => {
      const shade = pixels[3 * pixel + channel] as number;
      if (!isNormalised) return shade;
      return Math.fround((shade / 255 - (preprocess.mean[channel] as number)) / (preprocess.std[channel] as number));
    }),
  );
}

function closeTo(found: TensorNumbers, wanted: readonly number[], digits: number): void {
  expect(found).toHaveLength(wanted.length);
  for (const [index, number] of wanted.entries()) expect(found[index]).toBeCloseTo(number, digits);
}

describe('TensorInput.write()', () => {
  it('rescales and normalises each channel, into planes', () => {
    const images = [picture(1), picture(2), picture(3)];
    const wanted = images.flatMap((image) => expected(image, [0, 1, 2], true));
    const floats = make('float32').write(images, 3);
    expect(floats).toBeInstanceOf(Float32Array);
    closeTo(floats, wanted, 6);
    const halves = make('float16').write(images, 3);
    expect(halves).toBeInstanceOf(Uint16Array);
    closeTo(fromFloat16(halves as Uint16Array), wanted, 2);
  });

  it('hands bytes to a model of bytes as they are', () => {
    const bytes = make('uint8').write([picture(4)], 1);
    expect(bytes).toBeInstanceOf(Uint8Array);
    expect([...bytes]).toEqual(expected(picture(4), [0, 1, 2], false));
  });

  it('puts blue first where the model was trained so, each normalised as its colour', () => {
    closeTo(make('float32', 'bgr').write([picture(5)], 1), expected(picture(5), [2, 1, 0], true), 6);
  });

  it('leaves nothing of an earlier batch in a later one, whichever is larger', () => {
    const input = make('float32');
    input.write([picture(1)], 1);
    closeTo(
      input.write([picture(1), picture(2), picture(3), picture(4)], 4),
      [1, 2, 3, 4].flatMap((seed) => expected(picture(seed), [0, 1, 2], true)),
      6,
    );
    const blank = new Array<number>(3 * LENGTH).fill(0);
    closeTo(input.write([picture(6)], 4), [...expected(picture(6), [0, 1, 2], true), ...blank], 6);
  });

  it('grows to batches of many pages, and keeps its tables', () => {
    const input = make('float32');
    const images = Array.from({ length: 2000 }, (_, index) => picture(index + 1));
    const found = input.write(images, images.length);
    for (const index of [0, 999, 1999]) {
      closeTo(
        found.subarray(index * LENGTH, (index + 1) * LENGTH),
        expected(images[index] as Uint8Array, [0, 1, 2], true),
        6,
      );
    }
  });

  it('refuses an image of another size', () => {
    expect(() => make('float32').write([picture(1), new Uint8Array(LENGTH - 3)], 2)).toThrow(
      expect.objectContaining({
        code: 'ERR_MODEL_MISMATCH',
        message: 'Cannot run model: an image must be 75 bytes, received 72',
      }),
    );
  });
});
