/** Photographs that take long enough to decode for something to happen in the middle of a run. */
import { copyFile, mkdir } from 'node:fs/promises';
import path from 'node:path';
import sharp from 'sharp';
import { PHOTOS } from './cli-process.js';

/**
 * Fills a folder with copies of one large photograph, named in order.
 *
 * @returns The folder.
 */
export async function makeSlowPhotos(folder: string, count: number): Promise<string> {
  await mkdir(folder, { recursive: true });
  const first = path.join(folder, 'photo-000.jpg');
  await sharp(path.join(PHOTOS, 'coffee-1.jpg'))
    .resize(2400, 1800, { fit: 'fill' })
    .jpeg({ quality: 90 })
    .toFile(first);
  for (let index = 1; index < count; index++) {
    await copyFile(first, path.join(folder, `photo-${String(index).padStart(3, '0')}.jpg`));
  }
  return folder;
}
