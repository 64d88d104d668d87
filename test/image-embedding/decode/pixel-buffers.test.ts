import { readFile } from 'node:fs/promises';
import { expect, it } from 'vitest';
import { createPreprocessor, PixelBuffers } from '../../../src/image-embedding/decode/preprocessor.js';
import { squareSpec } from '../square-spec.js';

it('PixelBuffers.take() gives memory of the length asked for, what was given back first', () => {
  const buffers = new PixelBuffers(1);
  const [one, other] = [buffers.take(12), buffers.take(12)];
  expect(one).not.toBe(other);
  buffers.giveBack(one);
  buffers.giveBack(other);
  expect(buffers.take(12)).toBe(one);
  expect(buffers.take(12)).not.toBe(other);
  buffers.giveBack(one);
  expect(buffers.take(6)).toHaveLength(6);
});

it('Preprocessor.recycle() has a later image written over the pixels', async () => {
  const photo = async (name: string) => readFile(new URL(`../../../examples/photos/${name}.jpg`, import.meta.url));
  const [cat, coffee] = [await photo('cat-1'), await photo('coffee-1')];
  const preprocessor = createPreprocessor(squareSpec(96), 'fast');
  const first = await preprocessor.decode(cat);
  const expected = await createPreprocessor(squareSpec(96), 'fast').decode(coffee);
  expect(await preprocessor.decode(coffee)).not.toBe(first);
  preprocessor.recycle(first);
  const second = await preprocessor.decode(coffee);
  expect(second).toBe(first);
  expect(Buffer.from(second).equals(expected)).toBe(true);
});
