import { readdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { createPreprocessor } from '../../src/image-embedding/decode/preprocessor.js';
import type { PreprocessSpec, Resample } from '../../src/image-embedding/model/model-spec.js';
import { difference, testPicture } from './decode/plain-resample.js';
import { squareSpec } from './square-spec.js';

const photos = fileURLToPath(new URL('../../examples/photos/', import.meta.url));
const clip = squareSpec(224, {
  mean: [0.48145466, 0.4578275, 0.40821073],
  std: [0.26862954, 0.26130258, 0.27577711],
});
const fast = createPreprocessor(clip, 'fast');
const exact = createPreprocessor(clip, 'exact');

const photo = (name: string): Promise<Buffer> => readFile(`${photos}${name}.jpg`);

/** A photograph enlarged to a width, with the grain of a camera's sensor. */
async function large(name: string, width: number, grain: number): Promise<Buffer> {
  const { data, info } = await sharp(await photo(name))
    .resize({ width, kernel: 'lanczos3' })
    .toColourspace('srgb')
    .raw()
    .toBuffer({ resolveWithObject: true });
  let seed = 1;
  for (let index = 0; index < data.length; index++) {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fffffff;
    const value = (data[index] as number) + ((seed >> 8) % (2 * grain + 1)) - grain;
    data[index] = Math.min(255, Math.max(0, value));
  }
  return await sharp(data, { raw: info }).jpeg({ quality: 92 }).toBuffer();
}

describe('Preprocessor.decode()', { timeout: 120_000 }, () => {
  it("gives Pillow's very bytes in fast mode, too, for images of less than six times the size", async () => {
    for (const name of (await readdir(photos)).filter((each) => each.endsWith('.jpg'))) {
      const bytes = await readFile(photos + name);
      expect({ name, ...difference(await fast.decode(bytes), await exact.decode(bytes)) }).toMatchObject({
        largest: 0,
      });
    }
    const [below, above] = await Promise.all([large('raccoon-1', 1780, 20), large('raccoon-1', 1800, 20)]);
    expect(difference(await fast.decode(below), await exact.decode(below)).largest).toBe(0);
    expect(difference(await fast.decode(above), await exact.decode(above)).largest).toBeGreaterThan(0);
  });

  it("stays within 6/255 of Pillow's resampling in fast mode, whatever the size, the filter and the shape", async () => {
    const pictures: [string, Buffer][] = [
      [
        'wide',
        await sharp(await photo('rocket-1'))
          .resize(900, 200, { fit: 'fill' })
          .png()
          .toBuffer(),
      ],
      [
        'tall',
        await sharp(await photo('stairs'))
          .resize(230, 1100, { fit: 'fill' })
          .png()
          .toBuffer(),
      ],
      [
        'tiny',
        await sharp(await photo('coffee-1'))
          .resize(40, 30)
          .png()
          .toBuffer(),
      ],
      [
        'as large as the result',
        await sharp(await photo('coffee-1'))
          .resize(224, 224)
          .png()
          .toBuffer(),
      ],
      [
        'edges',
        await sharp(testPicture(700, 500), { raw: { width: 700, height: 500, channels: 3 } })
          .png()
          .toBuffer(),
      ],
      [
        'edges, larger',
        await sharp(testPicture(2400, 1599), { raw: { width: 2400, height: 1599, channels: 3 } })
          .png()
          .toBuffer(),
      ],
      ['grain', await large('raccoon-1', 1003, 30)],
      ['12 megapixels, read at a half', await large('raccoon-1', 4000, 20)],
      ['odd sides', await large('coffee-1', 3001, 20)],
      ['odd sides, 20 times', await large('stairs', 4483, 10)],
    ];
    const shapes: readonly Partial<PreprocessSpec>[] = [
      {},
      { resize: { width: 224, height: 224 }, crop: undefined },
      { resize: { shortestEdge: 256 } },
    ];
    for (const [name, bytes] of pictures) {
      const few = bytes.length > 500_000;
      for (const shape of few ? shapes.slice(0, 1) : shapes) {
        for (const resample of (few ? ['bicubic'] : ['bicubic', 'bilinear', 'lanczos']) as Resample[]) {
          const spec = { ...clip, ...shape, resample };
          const found = difference(
            await createPreprocessor(spec, 'fast').decode(bytes),
            await createPreprocessor(spec, 'exact').decode(bytes),
          );
          expect({ name, resample, shape, ...found, ok: found.largest <= 6 && found.mean <= 0.6 }).toMatchObject({
            ok: true,
          });
        }
      }
    }
  });

  it('strays no further than documented on fine periodic patterns, the worst there is for scaling in steps', async () => {
    const [width, height] = [1400, 1350];
    const patterns = {
      stripes: (x: number) => (x % 5 < 2 ? 255 : 0),
      squares: (x: number, y: number) => ((Math.floor(x / 7) + Math.floor(y / 7)) % 2 === 0 ? 255 : 0),
    };
    for (const [name, shade] of Object.entries(patterns)) {
      const pixels = Buffer.alloc(width * height * 3);
      for (let at = 0; at < width * height; at += 1) {
        pixels.fill(shade(at % width, Math.floor(at / width)), 3 * at, 3 * at + 3);
      }
      const bytes = await sharp(pixels, { raw: { width, height, channels: 3 } })
        .png({ compressionLevel: 1 })
        .toBuffer();
      for (const resample of ['bicubic', 'bilinear', 'lanczos'] as const) {
        const spec: PreprocessSpec = { ...clip, resample };
        const found = difference(
          await createPreprocessor(spec, 'fast').decode(bytes),
          await createPreprocessor(spec, 'exact').decode(bytes),
        );
        expect({ name, resample, ...found, ok: found.largest <= 13 && found.mean <= 4 }).toMatchObject({ ok: true });
      }
    }
  });

  it('picks the nearest pixel in both modes alike', async () => {
    const bytes = await photo('coffee-1');
    const spec: PreprocessSpec = { ...clip, resample: 'nearest' };
    const found = difference(
      await createPreprocessor(spec, 'fast').decode(bytes),
      await createPreprocessor(spec, 'exact').decode(bytes),
    );
    expect(found.largest).toBe(0);
  });

  it('pads a picture that is smaller than the crop with black', async () => {
    const bytes = await sharp({ create: { width: 4, height: 2, channels: 3, background: '#ffffff' } })
      .png()
      .toBuffer();
    const spec: PreprocessSpec = {
      ...clip,
      resize: undefined,
      crop: { width: 6, height: 4 },
      output: { width: 6, height: 4 },
    };
    for (const mode of ['fast', 'exact'] as const) {
      const pixels = await createPreprocessor(spec, mode).decode(bytes);
      const black = [0, 0, 0, 0, 0, 0];
      const white = [0, 255, 255, 255, 255, 0];
      const reds = pixels.filter((_, index) => index % 3 === 1);
      expect([...reds]).toEqual([...black, ...white, ...white, ...black]);
      expect(pixels).toHaveLength(3 * reds.length);
    }
  });

  it('refuses an image whose result does not fit the model', async () => {
    const spec: PreprocessSpec = { ...clip, crop: undefined };
    await expect(createPreprocessor(spec).decode(await photo('cat-1'))).rejects.toMatchObject({
      code: 'ERR_IMAGE_UNSUPPORTED',
      message: 'Cannot decode image: the model takes 224 × 224 pixels, this image gives 336 × 224',
    });
  });

  it('rejects with the reason of its signal', async () => {
    const bytes = await photo('cat-1');
    const controller = new AbortController();
    const pending = fast.decode(bytes, { signal: controller.signal });
    controller.abort(new Error('enough'));
    await expect(pending).rejects.toThrow('enough');
    await expect(fast.decode(bytes, { signal: controller.signal })).rejects.toThrow('enough');
    expect(await fast.decode(bytes)).toHaveLength(3 * 224 * 224);
  });

  it('answers on time when an image takes too long', async () => {
    const limits = { maxPixels: 50_000_000, decodeTimeoutMs: 1 };
    const bytes = await large('stairs', 2000, 0);
    const hasty = createPreprocessor(clip, 'fast', { limits });
    await expect(hasty.decode(bytes)).rejects.toMatchObject({ code: 'ERR_IMAGE_TIMEOUT', fault: 'caller' });
  });

  it('createPreprocessor() refuses an unknown mode', () => {
    expect(() => createPreprocessor(clip, 'quick' as 'fast')).toThrow(RangeError);
  });
});
