import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import sharp, { type Sharp } from 'sharp';
import { beforeAll, describe, expect, it } from 'vitest';
import { createPreprocessor } from '../../../src/image-embedding/decode/preprocessor.js';
import { squareSpec } from '../square-spec.js';
import { difference, testPicture } from './plain-resample.js';

const SIDE = 96;
const spec = squareSpec(SIDE, { dtype: 'uint8' });
const modes = [
  ['fast', createPreprocessor(spec, 'fast')],
  ['exact', createPreprocessor(spec, 'exact')],
] as const;

let pixels: Buffer;
const width = 300;
const height = 225;
const raw = { width, height, channels: 3 as const };
const picture = (): Sharp => sharp(pixels, { raw });

beforeAll(async () => {
  const file = fileURLToPath(new URL('../../../examples/photos/raccoon-1.jpg', import.meta.url));
  pixels = await sharp(await readFile(file))
    .resize(width, height, { fit: 'fill' })
    .raw()
    .toBuffer();
});

async function expectLike(
  name: string,
  bytes: Uint8Array,
  expected: Uint8Array,
  largest: number,
  mean: number,
): Promise<void> {
  for (const [mode, preprocessor] of modes) {
    const found = difference(await preprocessor.decode(bytes), await preprocessor.decode(expected));
    const ok = found.largest <= largest && found.mean <= mean;
    expect({ name, mode, ok, ...found }).toMatchObject({ ok: true });
  }
}

function cosine(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [dot, aa, bb] = [0, 0, 0];
  for (let index = 0; index < a.length; index++) {
    const [x, y] = [(a[index] as number) - 128, (b[index] as number) - 128];
    dot += x * y;
    aa += x * x;
    bb += y * y;
  }
  return dot / Math.sqrt(aa * bb);
}

/** The pixels as a camera stores them that tells by an EXIF orientation how to show them. */
function stored(orientation: number): { data: Buffer; width: number; height: number } {
  const swaps = orientation >= 5;
  const [w, h] = swaps ? [height, width] : [width, height];
  const data = Buffer.alloc(pixels.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [right, bottom] = [width - 1 - x, height - 1 - y];
      // Where the shown pixel (x, y) lies in what is stored, by the table of the EXIF standard.
      const places: readonly (readonly [number, number])[] = [
        [x, y],
        [right, y],
        [right, bottom],
        [x, bottom],
        [y, x],
        [y, right],
        [bottom, right],
        [bottom, x],
      ];
      const [sx, sy] = places[orientation - 1] as readonly [number, number];
      pixels.copy(data, (sy * w + sx) * 3, (y * width + x) * 3, (y * width + x) * 3 + 3);
    }
  }
  return { data, width: w, height: h };
}

describe('Preprocessor.decode() on images as people have them', { timeout: 120_000 }, () => {
  it('shows all eight EXIF orientations upright', async () => {
    const upright = await picture().png().toBuffer();
    for (let orientation = 1; orientation <= 8; orientation++) {
      const { data, ...size } = stored(orientation);
      const image = sharp(data, { raw: { ...size, channels: 3 } }).withMetadata({ orientation });
      await expectLike(`PNG ${orientation}`, await image.clone().png().toBuffer(), upright, 0, 0);
      await expectLike(`JPEG ${orientation}`, await image.clone().jpeg({ quality: 100 }).toBuffer(), upright, 30, 1.5);
      await expectLike(
        `TIFF ${orientation}`,
        await image.clone().tiff({ compression: 'lzw' }).toBuffer(),
        upright,
        0,
        0,
      );
    }
  });

  it('orients a photograph that is scaled in steps', async () => {
    const big = await sharp(pixels, { raw }).resize(2400, 1800).jpeg({ quality: 95 }).toBuffer();
    const turned = await sharp(big).rotate(270).withMetadata({ orientation: 6 }).jpeg({ quality: 95 }).toBuffer();
    await expectLike('orientation 6', turned, big, 6, 0.6);
  });

  it('brings colour profiles to sRGB', async () => {
    const srgb = await picture().png().toBuffer();
    const p3 = await picture().withIccProfile('p3').png().toBuffer();
    // Saturated colours show that the numbers in the file are not what comes out.
    const stored = await sharp(p3, { ignoreIcc: true }).raw().toBuffer();
    expect(difference(stored, pixels).largest).toBeGreaterThan(20);
    await expectLike('Display P3', p3, srgb, 6, 0.6);
    await expectLike('sRGB', await picture().withIccProfile('srgb').png().toBuffer(), srgb, 0, 0);
  });

  it('takes lossless encodings for what they are', async () => {
    const expected = await picture().png().toBuffer();
    await expectLike('TIFF', await picture().tiff({ compression: 'none' }).toBuffer(), expected, 0, 0);
    await expectLike(
      'tiled TIFF',
      await picture().tiff({ compression: 'deflate', tile: true }).toBuffer(),
      expected,
      0,
      0,
    );
    await expectLike('BigTIFF', await picture().tiff({ bigtiff: true, compression: 'lzw' }).toBuffer(), expected, 0, 0);
    await expectLike('interlaced PNG', await picture().png({ progressive: true }).toBuffer(), expected, 0, 0);
    await expectLike('lossless WebP', await picture().webp({ lossless: true }).toBuffer(), expected, 0, 0);
    await expectLike('lossless AVIF', await picture().avif({ lossless: true, effort: 0 }).toBuffer(), expected, 3, 0.8);
    await expectLike('opaque RGBA', await picture().ensureAlpha().png().toBuffer(), expected, 0, 0);
    const wide = await picture().toColourspace('rgb16').png().toBuffer();
    expect((await sharp(wide).metadata()).depth).toBe('ushort');
    await expectLike('16 bits', wide, expected, 1, 0.5);
  });

  it('takes lossy encodings for nearly what they are', async () => {
    const expected = await picture().png().toBuffer();
    const encodings: Record<string, Buffer> = {
      jpeg: await picture().jpeg({ quality: 90 }).toBuffer(),
      'progressive jpeg': await picture().jpeg({ quality: 90, progressive: true }).toBuffer(),
      'jpeg 4:4:4': await picture().jpeg({ quality: 90, chromaSubsampling: '4:4:4' }).toBuffer(),
      mozjpeg: await picture().jpeg({ quality: 90, mozjpeg: true }).toBuffer(),
      webp: await picture().webp({ quality: 90 }).toBuffer(),
      avif: await picture().avif({ quality: 80, effort: 1 }).toBuffer(),
      'palette png': await picture().png({ palette: true, colours: 256 }).toBuffer(),
      gif: await picture().gif({ effort: 1 }).toBuffer(),
      'jpeg in tiff': await picture().tiff({ compression: 'jpeg', quality: 90 }).toBuffer(),
      cmyk: await picture().toColourspace('cmyk').jpeg({ quality: 95 }).toBuffer(),
    };
    expect((await sharp(encodings.cmyk).metadata()).space).toBe('cmyk');
    for (const [name, bytes] of Object.entries(encodings)) {
      for (const [mode, preprocessor] of modes) {
        const similarity = cosine(await preprocessor.decode(bytes), await preprocessor.decode(expected));
        expect({ name, mode, ok: similarity >= 0.98, similarity }).toMatchObject({ ok: true });
      }
    }
  });

  it('makes three equal planes of grey', async () => {
    const grey = await picture().greyscale().toColourspace('b-w').png().toBuffer();
    expect((await sharp(grey).metadata()).channels).toBe(1);
    const asRgb = await sharp(grey).toColourspace('srgb').png().toBuffer();
    await expectLike('grey', grey, asRgb, 0, 0);
    await expectLike(
      'grey and alpha',
      await sharp(grey).ensureAlpha().toColourspace('b-w').png().toBuffer(),
      asRgb,
      0,
      0,
    );
    await expectLike(
      'grey JPEG',
      await sharp(grey).toColourspace('b-w').jpeg({ quality: 100 }).toBuffer(),
      asRgb,
      4,
      1,
    );
    await expectLike('16-bit grey', await sharp(grey).toColourspace('grey16').png().toBuffer(), asRgb, 1, 0.5);
    await expectLike(
      '1-bit',
      await sharp(grey).threshold(128).png({ colours: 2, palette: true }).toBuffer(),
      await sharp(grey).threshold(128).toColourspace('srgb').png().toBuffer(),
      1,
      0.5,
    );
    for (const [, preprocessor] of modes) {
      const decoded = await preprocessor.decode(grey);
      const [reds, ...others] = [0, 1, 2].map((channel) => decoded.filter((_, index) => index % 3 === channel));
      for (const other of others) expect(other).toEqual(reds);
    }
  });

  it('lays transparency over white', async () => {
    for (const alpha of [0, 0.5]) {
      for (const format of ['png', 'webp', 'tiff', 'avif', 'gif'] as const) {
        if (format === 'gif' && alpha !== 0) continue;
        const background = { r: 200, g: 0, b: 0, alpha };
        let image = sharp({ create: { width: 120, height: 120, channels: 4, background } });
        if (format === 'tiff') image = image.tiff({ compression: 'lzw' });
        else
          image =
            format === 'webp' || format === 'avif' ? image[format]({ lossless: true, effort: 0 }) : image[format]();
        const bytes = await image.toBuffer();
        for (const [mode, preprocessor] of modes) {
          const [red = 0, green = 0] = (await preprocessor.decode(bytes)).subarray(3 * 50);
          const [wantRed, wantGreen] = alpha === 0 ? [255, 255] : [227, 127];
          const ok = Math.abs(red - wantRed) <= 2 && Math.abs(green - wantGreen) <= 2;
          expect({ format, alpha, mode, ok, red, green }).toMatchObject({ ok: true });
        }
      }
    }
  });

  it('takes the first frame of an animation, and the first page of a TIFF', async () => {
    const frames = Buffer.concat([pixels, Buffer.alloc(pixels.length, 255), Buffer.alloc(pixels.length, 0)]);
    const animated = (): Sharp =>
      sharp(frames, { raw: { width, height: height * 3, channels: 3, pageHeight: height } });
    const gif = await animated().gif({ effort: 1 }).toBuffer();
    const webp = await animated().webp({ lossless: true, effort: 0 }).toBuffer();
    expect((await sharp(gif).metadata()).pages).toBe(3);
    expect((await sharp(webp).metadata()).pages).toBe(3);
    await expectLike('animated GIF', gif, await picture().gif().toBuffer(), 60, 4);
    await expectLike('animated WebP', webp, await picture().png().toBuffer(), 0, 0);
    const tiff = await animated().tiff({ compression: 'lzw' }).toBuffer();
    await expectLike('TIFF of pages', tiff, await picture().png().toBuffer(), 0, 0);
  });

  it('takes extreme shapes, in little memory', async () => {
    const one = await sharp({ create: { width: 1, height: 1, channels: 3, background: '#102030' } })
      .png()
      .toBuffer();
    const before = process.memoryUsage().rss;
    for (const [, preprocessor] of modes) {
      const decoded = await preprocessor.decode(one);
      expect(decoded.every((shade, index) => shade === [0x10, 0x20, 0x30][index % 3])).toBe(true);
      for (const [w, h] of [
        [20_000, 2],
        [2, 20_000],
        [1, 3000],
        [5000, 97],
      ] as const) {
        const bytes = await sharp(testPicture(w, h), { raw: { width: w, height: h, channels: 3 } })
          .png()
          .toBuffer();
        expect((await preprocessor.decode(bytes)).length).toBe(3 * SIDE * SIDE);
      }
    }
    expect(process.memoryUsage().rss - before).toBeLessThan(300_000_000);
  });
});
