import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { beforeAll, describe, expect, it } from 'vitest';
import { isMillraceError } from '../../../src/core/index.js';
import { encodeThumbnail } from '../../../src/image-embedding/decode/decode-image.js';
import { createPreprocessor } from '../../../src/image-embedding/decode/preprocessor.js';
import { loadSharp } from '../../../src/image-embedding/decode/sharp-loader.js';
import { resolveImageLimits } from '../../../src/image-embedding/sources/limits.js';
import { squareSpec } from '../square-spec.js';
import { difference } from './plain-resample.js';
import { type TiffPicture, writeTiff } from './write-tiff.js';

const SIDE = 64;
const modes = (['fast', 'exact'] as const).map((mode) => createPreprocessor(squareSpec(32, { dtype: 'uint8' }), mode));

let rgb: Buffer;
let grey: Buffer;

beforeAll(async () => {
  const file = fileURLToPath(new URL('../../../examples/photos/raccoon-1.jpg', import.meta.url));
  const photo = sharp(await readFile(file)).resize(SIDE, SIDE, { fit: 'fill' });
  rgb = await photo.clone().raw().toBuffer();
  grey = await photo.clone().toColourspace('b-w').raw().toBuffer();
});

type Given = Partial<TiffPicture> & Pick<TiffPicture, 'data' | 'photometric'>;

function tiff(given: Given, bits = 8, bands = given.photometric === 2 ? 3 : 1): Buffer {
  return writeTiff({ width: SIDE, height: SIDE, bits: new Array<number>(bands).fill(bits), ...given });
}

/** Puts further bands behind the colours of each pixel. */
function withBands(pixels: Buffer, colours: number, ...bands: readonly number[]): Buffer {
  const count = pixels.length / colours;
  const result = Buffer.alloc(count * (colours + bands.length));
  for (let pixel = 0; pixel < count; pixel++) {
    const at = pixel * (colours + bands.length);
    pixels.copy(result, at, pixel * colours, (pixel + 1) * colours);
    for (const [index, band] of bands.entries()) result[at + colours + index] = band;
  }
  return result;
}

function deep(pixels: Buffer): Buffer {
  const result = Buffer.alloc(pixels.length * 2);
  for (const [index, value] of pixels.entries()) result.writeUInt16LE(value * 257, index * 2);
  return result;
}

function planes(pixels: Buffer, bands: number): Buffer {
  const count = pixels.length / bands;
  return Buffer.from(pixels.map((_, index) => pixels[(index % count) * bands + Math.floor(index / count)] as number));
}

async function expectPicture(
  name: string,
  file: Buffer,
  expected: Buffer,
  channels: 1 | 3,
  tolerance = 0,
): Promise<void> {
  const png = await sharp(expected, { raw: { width: SIDE, height: SIDE, channels } })
    .png()
    .toBuffer();
  for (const preprocessor of modes) {
    const found = difference(await preprocessor.decode(file), await preprocessor.decode(png));
    expect({ name, ok: found.largest <= tolerance, ...found }).toMatchObject({ ok: true });
  }
}

async function failure(file: Buffer): Promise<{ code: string; message: string }> {
  const error = await (modes[0] as (typeof modes)[0]).decode(file).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error === undefined) return { code: 'none', message: '' };
  if (!isMillraceError(error)) throw error;
  expect(error.fault).toBe('caller');
  return { code: error.code, message: error.message };
}

describe('Preprocessor.decode() of a TIFF', () => {
  it('takes an extra band for transparency only where the file says that it is', async () => {
    const one = withBands(rgb, 3, 0);
    await expectPicture('unspecified', tiff({ data: one, photometric: 2, extraSamples: [0] }, 8, 4), rgb, 3);
    await expectPicture('not said', tiff({ data: one, photometric: 2 }, 8, 4), rgb, 3);
    await expectPicture(
      'grey',
      tiff({ data: withBands(grey, 1, 0), photometric: 1, extraSamples: [0] }, 8, 2),
      grey,
      1,
    );
    await expectPicture('deep', tiff({ data: deep(one), photometric: 2, extraSamples: [0] }, 16, 4), rgb, 3);
    await expectPicture(
      'tiles',
      tiff({ data: one, photometric: 2, extraSamples: [0], isTiled: true, isBigEndian: true }, 8, 4),
      rgb,
      3,
    );
    await expectPicture(
      'planes',
      tiff({ data: planes(one, 4), photometric: 2, extraSamples: [0], planes: 2 }, 8, 4),
      rgb,
      3,
    );
    const overWhite = Buffer.from(rgb.map((value) => Math.round((value * 100 + 255 * 155) / 255)));
    const declared = tiff({ data: withBands(rgb, 3, 100), photometric: 2, extraSamples: [2] }, 8, 4);
    await expectPicture('transparent', declared, overWhite, 3, 2);
  });

  it('reads five and more bands as the plain picture', async () => {
    const five = withBands(rgb, 3, 0, 128);
    await expectPicture('five', tiff({ data: five, photometric: 2, extraSamples: [0, 0] }, 8, 5), rgb, 3);
    await expectPicture('five, not said', tiff({ data: five, photometric: 2 }, 8, 5), rgb, 3);
    const nine = withBands(rgb, 3, 0, 1, 2, 3, 4, 255);
    await expectPicture('nine', tiff({ data: nine, photometric: 2, extraSamples: [0, 0, 0, 0, 0, 0] }, 8, 9), rgb, 3);
    await expectPicture('grey', tiff({ data: withBands(grey, 1, 0, 9, 0), photometric: 1 }, 8, 4), grey, 1);
    await expectPicture(
      'by sharp',
      await sharp(rgb, { raw: { width: SIDE, height: SIDE, channels: 3 } })
        .joinChannel([grey, grey], { raw: { width: SIDE, height: SIDE, channels: 1 } })
        .tiff({ compression: 'none' })
        .toBuffer(),
      rgb,
      3,
    );
    const overWhite = Buffer.from(rgb.map((value) => Math.round((value * 100 + 255 * 155) / 255)));
    for (const [extraSamples, bands] of [
      [
        [2, 0],
        [100, 7],
      ],
      [
        [0, 2],
        [7, 100],
      ],
    ] as const) {
      const file = tiff({ data: withBands(rgb, 3, ...bands), photometric: 2, extraSamples }, 8, 5);
      await expectPicture(`transparency of ${extraSamples.join()}`, file, overWhite, 3, 2);
    }
    // Upright again: the first row was stored as the last.
    const turned = Buffer.concat(
      Array.from({ length: SIDE }, (_, row) => rgb.subarray((SIDE - 1 - row) * SIDE * 3, (SIDE - row) * SIDE * 3)),
    );
    const oriented = tiff({ data: withBands(turned, 3, 0, 9), photometric: 2, others: { 274: [4] } }, 8, 5);
    await expectPicture('oriented', oriented, rgb, 3);
    const { code, message } = await failure(
      tiff({ data: withBands(rgb, 3, 100, 7), photometric: 2, extraSamples: [1, 0] }, 8, 5),
    );
    expect([code, message]).toEqual(['ERR_IMAGE_UNSUPPORTED', expect.stringContaining('premultiplied')]);
  });

  it('makes thumbnails of the plain picture, too', async () => {
    const module = await loadSharp(true);
    const file = tiff({ data: withBands(rgb, 3, 0, 0), photometric: 2, extraSamples: [0, 0] }, 8, 5);
    const jpeg = await encodeThumbnail(module, file, SIDE, resolveImageLimits());
    const { data, info } = await sharp(jpeg).raw().toBuffer({ resolveWithObject: true });
    expect([info.width, info.height, info.channels]).toEqual([SIDE, SIDE, 3]);
    expect(difference(data, rgb).mean).toBeLessThan(8);
  });

  it('refuses samples without an agreed range, and says what they are', async () => {
    const table: readonly (readonly [string, number, number | undefined, string])[] = [
      ['floats', 32, 3, 'floating point numbers'],
      ['halves', 16, 3, 'floating point numbers'],
      ['doubles', 64, 3, 'floating point numbers'],
      ['signed bytes', 8, 2, 'signed integers'],
      ['signed words', 16, 2, 'signed integers'],
      ['complex numbers', 64, 6, 'complex numbers'],
      ['wide integers', 32, 1, '32 bits'],
      ['wide integers, not said', 32, undefined, '32 bits'],
      ['twelve bits', 12, 1, '12 bits'],
      ['ten bits', 10, undefined, '10 bits'],
    ];
    for (const [name, bits, sampleFormat, what] of table) {
      for (const [photometric, bands] of [
        [1, 1],
        [2, 3],
      ] as const) {
        for (const isTiled of [false, true]) {
          const data = Buffer.alloc((SIDE * SIDE * bands * bits) / 8);
          const file = tiff(
            { data, photometric, isTiled, ...(sampleFormat === undefined ? {} : { sampleFormat }) },
            bits,
            bands,
          );
          const { code, message } = await failure(file);
          expect([name, bands, isTiled, code]).toEqual([name, bands, isTiled, 'ERR_IMAGE_UNSUPPORTED']);
          expect(message).toContain(what);
        }
      }
    }
    const mixed = writeTiff({ width: SIDE, height: SIDE, data: rgb, bits: [5, 6, 5], photometric: 2 });
    expect((await failure(mixed)).message).toContain('different sizes');
  });

  it('refuses compressions that libvips lacks, in strips and in tiles, by their numbers', async () => {
    for (const compression of [6, 9, 34661, 34676, 34712, 34887, 34925, 34933, 50000, 50002, 12345]) {
      for (const isTiled of [false, true]) {
        const { code, message } = await failure(tiff({ data: rgb, photometric: 2, compression, isTiled }));
        expect([compression, isTiled, code]).toEqual([compression, isTiled, 'ERR_IMAGE_UNSUPPORTED']);
        expect(message).toContain(`(${compression})`);
      }
    }
  });

  it('refuses what is no picture of grey, RGB, CMYK or a palette, and planes that come out as stripes', async () => {
    const table: readonly (readonly [string, Buffer])[] = [
      ['a mask', tiff({ data: grey, photometric: 4 })],
      ['a colour filter array', tiff({ data: grey, photometric: 32803 })],
      ['linear raw', tiff({ data: rgb, photometric: 34892 }, 8, 3)],
      ['Lab of 8 bits', tiff({ data: rgb, photometric: 8 }, 8, 3)],
      ['ICC Lab', tiff({ data: rgb, photometric: 9 }, 8, 3)],
      ['YCbCr without JPEG', tiff({ data: rgb, photometric: 6 }, 8, 3)],
      ['YCbCr in planes', tiff({ data: planes(rgb, 3), photometric: 6, planes: 2 }, 8, 3)],
      ['tiles of planes', tiff({ data: planes(rgb, 3), photometric: 2, planes: 2, isTiled: true })],
      ['JPEG in planes', tiff({ data: planes(rgb, 3), photometric: 2, planes: 2, compression: 7 })],
      ['other inks', tiff({ data: withBands(rgb, 3, 0), photometric: 5, others: { 332: [2] } }, 8, 4)],
      ['two bands of RGB', tiff({ data: deep(grey), photometric: 2 }, 8, 2)],
      ['RGB of 4 bits', tiff({ data: rgb.subarray(0, rgb.length / 2), photometric: 2 }, 4, 3)],
    ];
    for (const [name, file] of table)
      expect([name, (await failure(file)).code]).toEqual([name, 'ERR_IMAGE_UNSUPPORTED']);
  });

  it('goes on reading what it read: grey of few bits, 16 bits, palettes, planes, either order of bytes', async () => {
    await expectPicture('RGB', tiff({ data: rgb, photometric: 2 }), rgb, 3);
    await expectPicture('undefined format', tiff({ data: rgb, photometric: 2, sampleFormat: 4 }), rgb, 3);
    await expectPicture('16 bits', tiff({ data: deep(rgb), photometric: 2 }, 16), rgb, 3);
    await expectPicture('grey of 16 bits', tiff({ data: deep(grey), photometric: 1 }, 16), grey, 1);
    await expectPicture('planes', tiff({ data: planes(rgb, 3), photometric: 2, planes: 2 }), rgb, 3);
    await expectPicture(
      'inverted',
      tiff({ data: Buffer.from(grey.map((value) => 255 - value)), photometric: 0 }),
      grey,
      1,
    );
    const nibbles = Buffer.from(
      Array.from(
        { length: grey.length / 2 },
        (_, at) => ((grey[2 * at] as number) & 0xf0) | ((grey[2 * at + 1] as number) >> 4),
      ),
    );
    const sixteen = Buffer.from(grey.map((value) => (value >> 4) * 17));
    await expectPicture('4 bits', tiff({ data: nibbles, photometric: 1 }, 4), sixteen, 1);
    const ramp = Array.from({ length: 768 }, (_, at) => (at % 256) * 257);
    const palette = { data: grey, photometric: 3, others: { 320: ramp } };
    await expectPicture('a palette', tiff(palette), grey, 1);
    await expectPicture('a palette in tiles', tiff({ ...palette, isTiled: true }), grey, 1);
    const few = {
      data: nibbles,
      photometric: 3,
      others: { 320: Array.from({ length: 48 }, (_, at) => (at % 16) * 17 * 257) },
    };
    await expectPicture('a palette of 4 bits', tiff(few, 4), sixteen, 1);
  });

  it('refuses a tile that can not be decoded, instead of leaving it black', async () => {
    const whole = await sharp(rgb, { raw: { width: SIDE, height: SIDE, channels: 3 } })
      .tiff({ compression: 'lzw', tile: true, tileWidth: 32, tileHeight: 32 })
      .toBuffer();
    await expectPicture('whole', whole, rgb, 3);
    const damaged = Buffer.from(whole);
    damaged.fill(0xff, damaged.length >> 1, (damaged.length >> 1) + 400);
    expect((await failure(damaged)).code).toBe('ERR_IMAGE_CORRUPT');
  });

  it('leaves a directory that can not be followed to the decoder, which finds it damaged', async () => {
    const file = tiff({ data: rgb, photometric: 2 });
    for (const at of [file.length + 4, 2 ** 32 - 1, 0]) {
      const damaged = Buffer.from(file);
      damaged.writeUInt32LE(at, 4);
      expect([at, (await failure(damaged)).code]).toEqual([at, 'ERR_IMAGE_CORRUPT']);
    }
  });
});
