import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { crc32, deflateSync } from 'node:zlib';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { isMillraceError } from '../../../src/core/index.js';
import { describeContent, sniffFormat } from '../../../src/image-embedding/decode/formats.js';
import { createPreprocessor } from '../../../src/image-embedding/decode/preprocessor.js';
import { resolveImageLimits } from '../../../src/image-embedding/sources/limits.js';
import { squareSpec } from '../square-spec.js';

const spec = squareSpec(64);
const preprocessor = createPreprocessor(spec);
const photo = readFile(fileURLToPath(new URL('../../../examples/photos/cat-1.jpg', import.meta.url)));

async function failure(bytes: Uint8Array | string, given = preprocessor): Promise<{ code: string; message: string }> {
  try {
    await given.decode(Buffer.from(bytes as string, 'latin1'));
  } catch (error) {
    if (!isMillraceError(error)) throw error;
    expect(error.fault).toBe('caller');
    return { code: error.code, message: error.message };
  }
  return { code: 'none', message: '' };
}

function pngChunk(type: string, data: Buffer): Buffer {
  const chunk = Buffer.alloc(data.length + 12);
  chunk.writeUInt32BE(data.length, 0);
  chunk.write(type, 4, 'latin1');
  data.copy(chunk, 8);
  chunk.writeUInt32BE(crc32(chunk.subarray(4, data.length + 8)), data.length + 8);
  return chunk;
}

/** A PNG that claims a size and holds a few rows of it. */
function png(width: number, height: number): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 2], 8);
  const magic = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  const body = pngChunk('IDAT', deflateSync(Buffer.alloc(3_000_000)));
  return Buffer.concat([magic, pngChunk('IHDR', header), body, pngChunk('IEND', Buffer.alloc(0))]);
}

describe('Preprocessor.decode() on what must not be trusted', { timeout: 120_000 }, () => {
  it('says what it found in place of an image', async () => {
    const table: readonly (readonly [Uint8Array | string, string])[] = [
      ['This is a text file that somebody named photo.jpg', 'text'],
      ['<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', 'an SVG document'],
      ['<?xml version="1.0"?>\n<!-- x --><svg xmlns="http://www.w3.org/2000/svg"/>', 'an SVG document'],
      ['<!DOCTYPE html><title>404</title>', 'an HTML page'],
      ['%PDF-1.7\n', 'a PDF document'],
      ['BM\x36\x00\x00\x00', 'a BMP image'],
      ['PK\x03\x04', 'a ZIP archive'],
      ['\x1f\x8b\x08', 'gzip data'],
      ['\x00\x00\x00\x0cJXL \r\n\x87\n', 'a JPEG XL image'],
      ['\x00\x00\x00\x18ftypmp42', 'a video'],
      ['8BPS', 'a Photoshop document'],
      ['P6 1 1 255\nabc', 'text'],
      ['\x00\x01\x02', 'unknown data'],
    ];
    for (const [bytes, what] of table) {
      const { code, message } = await failure(bytes);
      expect([code, message]).toEqual([
        'ERR_IMAGE_UNSUPPORTED',
        `Cannot decode image: expected JPEG, PNG, WebP, GIF, AVIF or TIFF, received ${what}`,
      ]);
      expect(describeContent(Buffer.from(bytes as string, 'latin1'))).toBe(what);
    }
    expect((await failure('')).code).toBe('ERR_IMAGE_CORRUPT');
  });

  it('refuses magic bytes with nothing behind them', async () => {
    for (const magic of [
      '\xff\xd8\xff',
      '\xff\xd8\xff\xe0\x00\x10JFIF',
      '\x89PNG\r\n\x1a\n',
      'RIFF\x00\x00\x00\x00WEBP',
      'GIF89a',
      'GIF87a<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
      'II*\x00',
      'MM\x00*\x00\x00\x00\x08',
      '\x00\x00\x00\x1cftypavif',
    ]) {
      expect(sniffFormat(Buffer.from(magic, 'latin1'))).toBeDefined();
      expect([magic, (await failure(magic)).code]).toEqual([magic, 'ERR_IMAGE_CORRUPT']);
    }
  });

  it('takes a truncated image for an error, wherever it ends', async () => {
    const whole = await photo;
    for (const format of ['jpeg', 'png', 'webp', 'gif', 'tiff', 'avif'] as const) {
      const options = format === 'tiff' ? { compression: 'lzw' as const } : {};
      const bytes = await sharp(whole).resize(200)[format](options).toBuffer();
      for (const part of [0.1, 0.5, 0.9]) {
        const { code } = await failure(bytes.subarray(0, Math.floor(bytes.length * part)));
        expect([format, part, code]).toEqual([format, part, 'ERR_IMAGE_CORRUPT']);
      }
    }
  });

  it('refuses a decompression bomb from its header, in milliseconds and flat memory', async () => {
    const bomb = png(50_000, 50_000);
    expect(bomb.length).toBeLessThan(10_000);
    await preprocessor.decode(await photo);
    const memory = process.memoryUsage().rss;
    let best = Number.POSITIVE_INFINITY;
    for (let round = 0; round < 10; round++) {
      const start = performance.now();
      const { code, message } = await failure(bomb);
      best = Math.min(best, performance.now() - start);
      expect([code, message]).toEqual([
        'ERR_IMAGE_TOO_LARGE',
        'Cannot decode image: at most 50000000 pixels are allowed, it has more',
      ]);
    }
    expect(best).toBeLessThan(50);
    expect(process.memoryUsage().rss - memory).toBeLessThan(30_000_000);
  });

  it('refuses other formats that claim too many pixels', async () => {
    const whole = await photo;
    const jpeg = Buffer.from(await sharp(whole).resize(8, 8).jpeg().toBuffer());
    const frame = jpeg.indexOf(Buffer.from([0xff, 0xc0]));
    jpeg.writeUInt16BE(65_500, frame + 5);
    jpeg.writeUInt16BE(65_500, frame + 7);
    expect((await failure(jpeg)).code).toBe('ERR_IMAGE_TOO_LARGE');
    const small = createPreprocessor(spec, 'fast', { limits: { maxPixels: 5000, decodeTimeoutMs: 5000 } });
    for (const format of ['jpeg', 'png', 'webp', 'gif', 'tiff', 'avif'] as const) {
      const bytes = await sharp(whole).resize(100, 51)[format]().toBuffer();
      expect([format, (await failure(bytes, small)).code]).toEqual([format, 'ERR_IMAGE_TOO_LARGE']);
      const fits = await sharp(whole).resize(100, 50)[format]().toBuffer();
      expect([format, (await failure(fits, small)).code]).toEqual([format, 'none']);
    }
  });

  it('closes every other loader of the process', async () => {
    await preprocessor.decode(await photo);
    const svg = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>');
    await expect(sharp(svg).metadata()).rejects.toThrow(/unsupported image format/);
    await expect(
      sharp(fileURLToPath(new URL('../../../examples/photos/cat-1.jpg', import.meta.url))).metadata(),
    ).rejects.toThrow(/unsupported image format/);
  });

  it('says that HEIC is not AVIF, by the header alone', async () => {
    const avif = await smallAvif();
    const unsupported = ['ERR_IMAGE_UNSUPPORTED', expect.stringContaining('HEIC (HEVC)')];
    const heic = as(avif, { av01: 'hvc1', av1C: 'hvcC' }, 'heic');
    // Brand and items, items alone, brand alone, and one whose boxes were cut off.
    for (const file of [heic, as(avif, { av01: 'hvc1' }, 'mif1'), heic.subarray(0, 60)]) {
      const { code, message } = await failure(file);
      expect([code, message]).toEqual(unsupported);
    }
    const { code, message } = await failure(as(avif, { av01: 'vvc1' }, 'mif1'));
    expect([code, message]).toEqual(['ERR_IMAGE_UNSUPPORTED', expect.stringContaining('the codec vvc1')]);
    expect((await failure(avif)).code).toBe('none');
  });

  it('finds the codec of a picture that is a grid of tiles, as telephones write it', async () => {
    const avif = await smallAvif();
    for (const [codec, expected] of [
      ['hvc1', 'ERR_IMAGE_UNSUPPORTED'],
      // A grid that names tiles and does not say how they lie.
      ['av01', 'ERR_IMAGE_CORRUPT'],
    ] as const) {
      expect([codec, (await failure(asGrid(avif, codec))).code]).toEqual([codec, expected]);
    }
  });

  it('gives a file the same code and message, however many are under way', async () => {
    const whole = await photo;
    const avif = await smallAvif();
    const heic = as(avif, { av01: 'hvc1', av1C: 'hvcC' }, 'heic');
    const png = await sharp(whole).resize(200).png().toBuffer();
    const gif = await sharp(whole).resize(200).gif().toBuffer();
    const webp = await sharp(whole).resize(200).webp().toBuffer();
    const files: readonly (readonly [string, Buffer, string])[] = [
      ['heic', heic, 'ERR_IMAGE_UNSUPPORTED'],
      ['avif', avif.subarray(0, avif.length >> 1), 'ERR_IMAGE_CORRUPT'],
      ['png', png.subarray(0, png.length >> 1), 'ERR_IMAGE_CORRUPT'],
      ['gif', gif.subarray(0, gif.length >> 1), 'ERR_IMAGE_CORRUPT'],
      ['webp', webp.subarray(0, webp.length >> 1), 'ERR_IMAGE_CORRUPT'],
      ['jpeg', whole.subarray(0, whole.length >> 1), 'ERR_IMAGE_CORRUPT'],
    ];
    for (let round = 0; round < 10; round++) {
      const found = await Promise.all(files.map(async ([name, file]) => ({ name, ...(await failure(file)) })));
      for (const [index, { name, code, message }] of found.entries()) {
        expect([name, code]).toEqual([name, files[index]?.[2]]);
        const format = name.replace('avif', 'heif');
        if (name !== 'heic') expect(message).toBe(`Cannot decode image: the ${format} data is damaged or incomplete`);
      }
    }
  });

  it('decodes the still picture of an AVIF under any brand, and says what has none', async () => {
    const avif = await smallAvif();
    const pixels = await preprocessor.decode(avif);
    for (const brand of ['avis', 'mif1', 'mif2', 'mif3', 'msf1', 'miaf', 'MA1B', 'isom']) {
      expect([brand, await preprocessor.decode(as(avif, {}, brand))]).toEqual([brand, pixels]);
    }
    const none = { meta: 'free', mdat: 'free' };
    for (const [file, what] of [
      [Buffer.concat([as(avif, none, 'avis'), box('moov', Buffer.alloc(8))]), 'a sequence'],
      [Buffer.concat([as(avif, none, 'mif3'), box('mini', Buffer.alloc(8))]), 'the low-overhead form of HEIF'],
    ] as const) {
      const { code, message } = await failure(file);
      expect([code, message]).toEqual(['ERR_IMAGE_UNSUPPORTED', expect.stringContaining(what)]);
    }
    // A film is none, whatever it says of its kin.
    expect((await failure('\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00isommp41')).message).toContain('a video');
  });

  it('refuses damage from the level on that is asked for', async () => {
    const whole = await photo;
    const cut = whole.subarray(0, Math.floor(whole.length * 0.8));
    const codes = async (bytes: Uint8Array): Promise<string[]> => {
      const found: string[] = [];
      for (const failOn of ['none', 'truncated', 'error', 'warning'] as const) {
        const given = createPreprocessor(spec, 'fast', { limits: resolveImageLimits({ failOn }) });
        found.push((await failure(bytes, given)).code);
      }
      return found;
    };
    const [none, corrupt] = ['none', 'ERR_IMAGE_CORRUPT'];
    expect(await codes(whole)).toEqual([none, none, none, none]);
    expect(await codes(cut)).toEqual([none, corrupt, corrupt, corrupt]);
    const damaged = Buffer.from(whole);
    damaged.fill(0xa5, damaged.length >> 1, (damaged.length >> 1) + 600);
    const found = await codes(damaged);
    expect([found[0], found[3]]).toEqual([none, corrupt]);
    expect(() => resolveImageLimits({ failOn: 'never' as 'none' })).toThrow(RangeError);
  });
});

async function smallAvif(): Promise<Buffer> {
  return sharp(await photo)
    .resize(32)
    .avif()
    .toBuffer();
}

/** An ISO media file with boxes renamed and another first brand. */
function as(file: Buffer, names: Readonly<Record<string, string>>, brand: string): Buffer {
  let text = file.toString('latin1');
  for (const [from, to] of Object.entries(names)) text = text.replaceAll(from, to);
  const copy = Buffer.from(text, 'latin1');
  copy.write(brand, 8, 'latin1');
  return copy;
}

function box(type: string, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  const head = Buffer.alloc(8);
  head.writeUInt32BE(body.length + 8);
  head.write(type, 4, 'latin1');
  return Buffer.concat([head, body]);
}

/** A file whose picture is a grid of two items of a codec. */
function asGrid(avif: Buffer, codec: string): Buffer {
  const version = (...bytes: readonly number[]): Buffer => Buffer.from(bytes);
  const item = (id: number, type: string): Buffer =>
    box('infe', version(2, 0, 0, 0, 0, id, 0, 0), Buffer.from(`${type}\0`, 'latin1'));
  const meta = box(
    'meta',
    version(0, 0, 0, 0),
    box('pitm', version(0, 0, 0, 0, 0, 3)),
    box('iinf', version(0, 0, 0, 0, 0, 3), item(1, codec), item(2, codec), item(3, 'grid')),
    box('iref', version(0, 0, 0, 0), box('dimg', version(0, 3, 0, 2, 0, 1, 0, 2))),
  );
  const head = Buffer.from(avif.subarray(0, avif.readUInt32BE(0)));
  head.write('mif1', 8, 'latin1');
  return Buffer.concat([head, meta, box('mdat', Buffer.alloc(64))]);
}
