import { readFile } from 'node:fs/promises';
import sharp from 'sharp';
import { expect, test } from 'vitest';
import { createThumbnail } from '../../src/image-embedding/index.js';

const photo = new URL('../../examples/photos/cat-1.jpg', import.meta.url);

test('createThumbnail() makes a JPEG that fits the size and keeps the aspect ratio', async () => {
  const bytes = await readFile(photo);
  const { width: before = 0, height: beforeHeight = 0 } = await sharp(bytes).metadata();
  const { format, width = 0, height = 0 } = await sharp(await createThumbnail(bytes, { size: 120 })).metadata();
  expect([format, Math.max(width, height)]).toEqual(['jpeg', 120]);
  expect(width / height).toBeCloseTo(before / beforeHeight, 1);
});

test('createThumbnail() turns an image upright, lays transparency over white and enlarges nothing', async () => {
  const tall = await sharp({
    create: { width: 40, height: 20, channels: 4, background: { r: 0, g: 0, b: 0, alpha: 0 } },
  })
    .png()
    .toBuffer();
  const turned = await sharp(tall).withMetadata({ orientation: 6 }).png().toBuffer();
  const { data, info } = await sharp(await createThumbnail(turned))
    .raw()
    .toBuffer({ resolveWithObject: true });
  expect([info.width, info.height, info.channels]).toEqual([20, 40, 3]);
  expect(Math.min(...data)).toBe(255);
});

test.each(['/cat.jpg', { length: 3 }, 5, new ArrayBuffer(3), undefined])(
  'createThumbnail() refuses what is no bytes: %s',
  async (bytes) => {
    await expect(createThumbnail(bytes as never)).rejects.toThrow(
      /^Cannot create thumbnail: bytes must be a Uint8Array, received /,
    );
  },
);

test('createThumbnail() tells what is no image', async () => {
  await expect(createThumbnail(Buffer.from('hello'))).rejects.toMatchObject({ code: 'ERR_IMAGE_UNSUPPORTED' });
});
