import { readdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import sharp, { type Sharp } from 'sharp';
import { describe, expect, it } from 'vitest';
import { plainJpegSize } from '../../../src/image-embedding/decode/formats.js';
import { mutatedImages } from '../mutated-images.js';

const photos = fileURLToPath(new URL('../../../examples/photos/', import.meta.url));
const picture = (): Sharp => sharp({ create: { width: 60, height: 41, channels: 3, background: '#204060' } });
const size = { width: 60, height: 41 };

/** Marker, beginning and end of every segment up to the scan. */
function segments(bytes: Buffer): [marker: number, start: number, end: number][] {
  const found: [number, number, number][] = [];
  for (let at = 2; found.at(-1)?.[0] !== 0xda; at = found.at(-1)?.[2] as number) {
    found.push([bytes[at + 1] as number, at, at + 2 + bytes.readUInt16BE(at + 2)]);
  }
  return found;
}

describe('plainJpegSize()', () => {
  it('says what libvips says of plain JPEGs', async () => {
    for (const name of (await readdir(photos)).filter((each) => each.endsWith('.jpg'))) {
      const bytes = await sharp(photos + name)
        .jpeg()
        .toBuffer();
      const { width, height } = await sharp(bytes).metadata();
      expect({ name, ...plainJpegSize(bytes) }).toEqual({ name, width, height });
    }
    expect(plainJpegSize(await picture().jpeg({ progressive: true }).toBuffer())).toEqual(size);
    expect(plainJpegSize(await picture().jpeg({ chromaSubsampling: '4:4:4', mozjpeg: true }).toBuffer())).toEqual(size);
    expect(plainJpegSize(await picture().greyscale().jpeg().toBuffer())).toEqual(size);
    expect(plainJpegSize(await picture().withXmp('<x/>').jpeg().toBuffer())).toEqual(size);
  });

  it('leaves profiles, orientations and four colours to libvips', async () => {
    expect(plainJpegSize(await picture().withIccProfile('p3').jpeg().toBuffer())).toBeUndefined();
    expect(plainJpegSize(await picture().withMetadata({ orientation: 6 }).jpeg().toBuffer())).toBeUndefined();
    expect(plainJpegSize(await picture().toColourspace('cmyk').jpeg().toBuffer())).toBeUndefined();
    expect(plainJpegSize(await picture().png().toBuffer())).toBeUndefined();
  });

  it('leaves an orientation and a second frame to libvips wherever they stand before the scan', async () => {
    const plain = await picture().jpeg().toBuffer();
    const turned = await picture().withMetadata({ orientation: 6 }).jpeg().toBuffer();
    const [exif] = segments(turned).filter(([marker]) => marker === 0xe1);
    const [frame] = segments(plain).filter(([marker]) => marker === 0xc0);
    for (const [marker, , end] of segments(plain).filter(([each]) => each !== 0xda)) {
      const insert = (segment: Uint8Array) => Buffer.concat([plain.subarray(0, end), segment, plain.subarray(end)]);
      const oriented = insert(turned.subarray(exif?.[1], exif?.[2]));
      expect((await sharp(oriented).metadata()).autoOrient).toMatchObject({ width: 41, height: 60 });
      expect({ marker, found: plainJpegSize(oriented) }).toEqual({ marker, found: undefined });
      expect(plainJpegSize(insert(plain.subarray(frame?.[1], frame?.[2])))).toBeUndefined();
      expect(plainJpegSize(insert(Buffer.from([0xff, 0xfe, 0, 3, 0])))).toEqual(size);
    }
  });

  it('reads nothing beyond the bytes, wherever they end, and whatever they hold', async () => {
    const bytes = await picture().jpeg().toBuffer();
    const whole = Array.from({ length: bytes.length }, (_, end) => plainJpegSize(bytes.subarray(0, end)));
    for (const found of whole) if (found !== undefined) expect(found).toEqual(size);
    expect(whole[20]).toBeUndefined();
    for (const { bytes: damaged } of await mutatedImages(400, 7)) plainJpegSize(damaged);
  });

  it('agrees with libvips on damaged JPEGs that both can read', async () => {
    let both = 0;
    for (const { name, bytes } of await mutatedImages(400, 11)) {
      const found = plainJpegSize(bytes);
      const metadata = await sharp(bytes)
        .metadata()
        .catch(() => undefined);
      if (found === undefined || metadata === undefined) continue;
      both += 1;
      expect({ name, ...found }).toEqual({ name, width: metadata.width, height: metadata.height });
    }
    expect(both).toBeGreaterThan(10);
  });
});
