/** Photographs that take long enough to decode for something to happen in the middle of a run. */
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import sharp from 'sharp';
import { PHOTOS } from './cli-process.js';

/**
 * Fills a folder with one large photograph under many names, in order. Each has a comment of its own: the same bytes would be decoded once.
 *
 * @returns The folder.
 */
export async function makeSlowPhotos(folder: string, count: number): Promise<string> {
  await mkdir(folder, { recursive: true });
  const jpeg = await sharp(path.join(PHOTOS, 'coffee-1.jpg'))
    .resize(2400, 1800, { fit: 'fill' })
    .jpeg({ quality: 90 })
    .toBuffer();
  for (let index = 0; index < count; index++) {
    const comment = Buffer.from([0xff, 0xfe, 0, 4, index >> 8, index & 0xff]);
    const bytes = Buffer.concat([jpeg.subarray(0, 2), comment, jpeg.subarray(2)]);
    await writeFile(path.join(folder, `photo-${String(index).padStart(3, '0')}.jpg`), bytes);
  }
  return folder;
}
