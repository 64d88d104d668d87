import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { pictureFacts } from '../../src/search/picture-facts.js';

const EXIF = {
  IFD0: { Make: 'Canon', Model: 'Canon EOS R6', Orientation: '6' },
  IFD2: { DateTimeOriginal: '2024:07:31 18:05:09' },
  IFD3: { GPSLatitudeRef: 'S', GPSLatitude: '33/1 52/1 10/1', GPSLongitudeRef: 'E', GPSLongitude: '151/1 12/1 30/1' },
};

async function picture(format: 'jpeg' | 'png' | 'webp', exif?: typeof EXIF): Promise<Buffer> {
  const image = sharp({ create: { width: 60, height: 40, channels: 3, background: '#884422' } });
  return await (exif === undefined
    ? image
    : image.withExif(exif).withMetadata({ orientation: Number(exif.IFD0.Orientation) })
  )
    .toFormat(format)
    .toBuffer();
}

describe('pictureFacts()', () => {
  it('tells when, where and with what a photograph was taken, and its upright size', async () => {
    expect(await pictureFacts(await picture('jpeg', EXIF))).toEqual({
      width: 40,
      height: 60,
      taken: '2024-07-31T18:05:09',
      lat: -33.869444,
      lon: 151.208333,
      camera: 'Canon EOS R6',
    });
    expect(await pictureFacts(await picture('png', EXIF))).toMatchObject({ taken: '2024-07-31T18:05:09', width: 40 });
  });

  it('puts the maker before the name where that lacks it', async () => {
    const { camera } = await pictureFacts(
      await picture('jpeg', { ...EXIF, IFD0: { Make: 'Google', Model: 'Pixel 8', Orientation: '1' } }),
    );
    expect(camera).toBe('Google Pixel 8');
  });

  it.each(['jpeg', 'png', 'webp'] as const)('tells the size of a %s without EXIF', async (format) => {
    expect(await pictureFacts(await picture(format))).toEqual({ width: 60, height: 40 });
  });

  it('leaves out what is damaged, cut off or something else', async () => {
    const whole = await picture('jpeg', EXIF);
    let state = 1;
    const random = (below: number): number => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      return state % below;
    };
    for (let turn = 0; turn < 2_000; turn++) {
      const damaged = Buffer.from(whole);
      for (let count = 0; count < 8; count++) damaged[random(Math.min(600, whole.length))] = random(256);
      const facts = await pictureFacts(damaged.subarray(0, random(whole.length)));
      expect(Math.abs(facts.lat ?? 0)).toBeLessThanOrEqual(90);
      expect(facts.taken ?? '2024-01-01T00:00:00').toMatch(/^\+?\d{4,6}-\d\d-\d\dT/);
    }
    for (const text of ['', 'no picture at all', 'RIFFxxxxWEBP'])
      expect(await pictureFacts(Buffer.from(text))).toEqual({});
  });
});
