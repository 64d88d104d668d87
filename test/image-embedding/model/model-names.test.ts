import { afterEach, describe, expect, test } from 'vitest';
import { createImageEmbeddingPool, type ImageEmbeddingPool } from '../../../src/image-embedding/index.js';
import { builtInNames, nearestName } from '../../../src/image-embedding/model/resolve-model.js';

test.each([
  ['clpi', 'clip'],
  ['CLIP', 'clip'],
  ['cilp', 'clip'],
  ['clipp', 'clip'],
  ['default ', 'default'],
  ['mobilenet', 'mobilenet-v1-0.25'],
  ['mobilenet-v1-0.2.5', 'mobilenet-v1-0.25'],
  ['Xenova/clip-vit-base-patch23', 'Xenova/clip-vit-base-patch32'],
  ['mobilnet', 'mobilenet-v1-0.25'],
  ['clip-vit-base-patch32', 'Xenova/clip-vit-base-patch32'],
  ['dino', undefined],
  ['photos', undefined],
  ['', undefined],
])('nearestName(%j) is %j', (given, wanted) => {
  expect(nearestName(given, [...builtInNames, 'clip', 'Xenova/clip-vit-base-patch32'])).toBe(wanted);
});

describe('a model that is asked for by name', () => {
  let pool: ImageEmbeddingPool;
  afterEach(() => pool.close());

  test('is named with those that there are when it is misspelt', async () => {
    pool = createImageEmbeddingPool({ models: { clip: 'default', other: 'default' }, host: 'inline' });
    const failure = await pool.describe('clpi').catch((error: unknown) => error);
    expect(failure).toMatchObject({
      code: 'ERR_MODEL_NOT_FOUND',
      message: expect.stringMatching(
        /clpi must be a folder, found nothing; did you mean 'clip'\? models that have a name: default, mobilenet-v1-0\.25, clip, other, and owner\/name/,
      ),
    });
  });

  test('may be the built-in one by its own name', async () => {
    pool = createImageEmbeddingPool({ model: 'mobilenet-v1-0.25', host: 'inline' });
    expect(await pool.describe()).toMatchObject({ name: 'mobilenet-v1-0.25', dimension: 256 });
  });
});
