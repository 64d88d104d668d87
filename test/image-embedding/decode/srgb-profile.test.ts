import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { isSrgbProfile } from '../../../src/image-embedding/decode/srgb-profile.js';

async function profile(name: string): Promise<Buffer> {
  const image = sharp({ create: { width: 4, height: 4, channels: 3, background: 'red' } });
  const { icc } = await sharp(await image.withIccProfile(name).jpeg().toBuffer()).metadata();
  return icc as Buffer;
}

describe('isSrgbProfile()', () => {
  it('knows sRGB by its numbers, and Display P3 and CMYK for others', async () => {
    expect(isSrgbProfile(await profile('srgb'))).toBe(true);
    expect(isSrgbProfile(await profile('p3'))).toBe(false);
    const cmyk = await sharp({ create: { width: 4, height: 4, channels: 3, background: 'red' } })
      .withIccProfile('cmyk')
      .jpeg()
      .toBuffer();
    expect(isSrgbProfile((await sharp(cmyk).metadata()).icc as Buffer)).toBe(false);
  });

  it('takes nothing damaged for sRGB that would look otherwise', async () => {
    const srgb = await profile('srgb');
    for (let length = 0; length < srgb.length - 4; length += 7) {
      if (length < 400) expect(isSrgbProfile(srgb.subarray(0, length))).toBe(false);
    }
    for (const tag of ['rXYZ', 'gXYZ', 'bXYZ', 'rTRC']) {
      const changed = Buffer.from(srgb);
      const at = changed.readUInt32BE(changed.indexOf(tag, 128, 'latin1') + 4);
      changed.writeInt32BE(changed.readInt32BE(at + 12) + 3000, at + 12);
      expect([tag, isSrgbProfile(changed)]).toEqual([tag, false]);
    }
    expect(isSrgbProfile(new Uint8Array(0))).toBe(false);
    expect(isSrgbProfile(new Uint8Array(500))).toBe(false);
  });

  it('understands curves that are tables', async () => {
    const srgb = await profile('srgb');
    const table = Buffer.alloc(12 + 1024 * 2);
    table.write('curv', 0, 'latin1');
    table.writeUInt32BE(1024, 8);
    for (let index = 0; index < 1024; index++) {
      const x = index / 1023;
      const linear = x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4;
      table.writeUInt16BE(Math.round(linear * 65_535), 12 + index * 2);
    }
    const withTables = Buffer.concat([srgb, table]);
    for (const tag of ['rTRC', 'gTRC', 'bTRC']) {
      withTables.writeUInt32BE(srgb.length, withTables.indexOf(tag, 128, 'latin1') + 4);
    }
    expect(isSrgbProfile(withTables)).toBe(true);
    // A plain gamma of 2.2 is close to it, and not it.
    for (let index = 0; index < 1024; index++) {
      withTables.writeUInt16BE(Math.round((index / 1023) ** 2.2 * 65_535), srgb.length + 12 + index * 2);
    }
    expect(isSrgbProfile(withTables)).toBe(false);
  });
});
