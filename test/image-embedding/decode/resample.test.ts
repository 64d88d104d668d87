import { readFile } from 'node:fs/promises';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { resampleInSlices } from '../../../src/image-embedding/decode/resample.js';
import { planGeometry } from '../../../src/image-embedding/decode/scale.js';
import { loadKernels } from '../../../src/image-embedding/kernels/kernels.js';
import type { Resample } from '../../../src/image-embedding/model/model-spec.js';
import { countWrong, difference, type PlainFilter, testPicture } from './plain-resample.js';

beforeAll(loadKernels);

const filters: readonly PlainFilter[] = ['bilinear', 'bicubic', 'lanczos'];

function whole(width: number, height: number) {
  return { resized: { width, height }, window: { left: 0, top: 0, width, height } };
}

/** All slices at once. */
function resampleWindow(...args: Parameters<typeof resampleInSlices>): Uint8Array {
  const slices = resampleInSlices(...args);
  for (;;) {
    const { done, value } = slices.next();
    if (done) return value;
  }
}

describe('resampleInSlices()', { timeout: 120_000 }, () => {
  it('gives the very bytes that Pillow gives', async () => {
    const { cases } = JSON.parse(
      await readFile(new URL('../../fixtures/pillow/resized.json', import.meta.url), 'utf8'),
    ) as { cases: { source: [number, number]; resized: [number, number]; resample: Resample; pixels: string }[] };
    expect(cases.length).toBe(44);
    for (const { source, resized, resample, pixels } of cases) {
      const [width, height] = source;
      const found = resampleWindow(testPicture(width, height), { width, height }, resample, whole(...resized));
      const name = `${source.join('×')} to ${resized.join('×')} ${resample}`;
      expect({ name, ...difference(found, Buffer.from(pixels, 'base64')) }).toMatchObject({ name, largest: 0 });
    }
  });

  it('agrees with a plain implementation over many sizes and aspect ratios', () => {
    const side = fc.integer({ min: 1, max: 100 });
    fc.assert(
      fc.property(side, side, side, side, fc.constantFrom(...filters), (width, height, toWidth, toHeight, filter) => {
        const pixels = testPicture(width, height);
        const found = resampleWindow(pixels, { width, height }, filter, whole(toWidth, toHeight));
        expect(countWrong(found, pixels, { width, height }, { width: toWidth, height: toHeight }, filter)).toBe(0);
      }),
      { numRuns: 80 },
    );
  });

  it('agrees with a plain implementation at sizes of photographs', () => {
    for (const [width, height, filter] of [
      [320, 240, 'bicubic'],
      [150, 400, 'lanczos'],
      [700, 90, 'bilinear'],
    ] as const) {
      const pixels = testPicture(width, height);
      const geometry = planGeometry({ resize: { shortestEdge: 96 }, crop: undefined }, { width, height });
      const found = resampleWindow(pixels, { width, height }, filter, geometry);
      expect(countWrong(found, pixels, { width, height }, geometry.resized, filter)).toBe(0);
    }
  });

  it('refuses what would take more memory than a place in it can name', () => {
    for (const height of [40_000, 30_000, 20_000]) {
      const source = { width: 1, height };
      expect(() => resampleWindow(new Uint8Array(3 * height), source, 'bilinear', whole(20_000, 1))).toThrow(
        expect.objectContaining({ code: 'ERR_IMAGE_TOO_LARGE', message: expect.stringContaining(`1 × ${height}`) }),
      );
    }
  });

  it('gives in a window what the whole has there', () => {
    const pixels = testPicture(90, 70);
    const size = { width: 90, height: 70 };
    const inside = fc.tuple(fc.nat(39), fc.nat(29), fc.nat(39), fc.nat(29));
    for (const filter of [...filters, 'nearest' as const]) {
      const all = resampleWindow(pixels, size, filter, whole(40, 30));
      fc.assert(
        fc.property(inside, ([x0, y0, x1, y1]) => {
          const [left, right] = [Math.min(x0, x1), Math.max(x0, x1) + 1];
          const [top, bottom] = [Math.min(y0, y1), Math.max(y0, y1) + 1];
          const window = { left, top, width: right - left, height: bottom - top };
          const part = resampleWindow(pixels, size, filter, { resized: { width: 40, height: 30 }, window });
          for (let y = 0; y < window.height; y++) {
            const from = ((top + y) * 40 + left) * 3;
            expect(part.subarray(y * window.width * 3, (y + 1) * window.width * 3)).toEqual(
              all.subarray(from, from + window.width * 3),
            );
          }
        }),
        { numRuns: 25 },
      );
    }
  });

  it('pauses on the way through a large image, and gives what the whole gives', () => {
    const size = { width: 2000, height: 1500 };
    const pixels = testPicture(size.width, size.height);
    const slices = resampleInSlices(pixels, size, 'lanczos', whole(224, 168));
    let pauses = 0;
    for (;;) {
      const { done, value } = slices.next();
      if (done) {
        expect(difference(value, resampleWindow(pixels, size, 'lanczos', whole(224, 168))).largest).toBe(0);
        break;
      }
      pauses++;
    }
    expect(pauses).toBeGreaterThanOrEqual(10);
    const small = { width: 100, height: 75 };
    expect(resampleInSlices(testPicture(100, 75), small, 'bicubic', whole(60, 45)).next().done).toBe(true);
  });

  it('keeps images apart that are under way at once, and forgets one that is given up', () => {
    const size = { width: 1600, height: 1200 };
    const pixels = [3, 5, 7].map((step) => testPicture(size.width, size.height).map((shade) => (shade * step) % 256));
    const alone = pixels.map((each) => resampleWindow(each, size, 'bicubic', whole(224, 168)));
    const [first, second, third] = pixels.map((each) => resampleInSlices(each, size, 'bicubic', whole(224, 168)));
    const found: (Uint8Array | undefined)[] = [undefined, undefined, undefined];
    for (let turn = 0; found[0] === undefined || found[1] === undefined; turn++) {
      for (const [index, slices] of [first, second].entries()) {
        const step = slices?.next();
        if (step?.done && step.value) found[index] = step.value;
      }
      if (turn === 0) expect(third?.next().done).toBe(false);
      expect(resampleWindow(pixels[2] as Uint8Array, size, 'bicubic', whole(20, 15))).toHaveLength(900);
    }
    expect(difference(found[0] as Uint8Array, alone[0] as Uint8Array).largest).toBe(0);
    expect(difference(found[1] as Uint8Array, alone[1] as Uint8Array).largest).toBe(0);
  });
});

describe('planGeometry()', () => {
  const clip = { resize: { shortestEdge: 224 }, crop: { width: 224, height: 224 } };

  it('rounds sizes down and offsets to even, as torchvision does', () => {
    const table: readonly (readonly [number, number, number, number, number, number])[] = [
      // width, height, resized width, resized height, left, top
      [640, 480, 298, 224, 37, 0],
      [480, 640, 224, 298, 0, 37],
      [451, 300, 336, 224, 56, 0],
      [224, 331, 224, 331, 0, 54],
      [224, 333, 224, 333, 0, 54],
      [224, 335, 224, 335, 0, 56],
      [224, 224, 224, 224, 0, 0],
      [1, 1, 224, 224, 0, 0],
      [20_000, 2, 2_240_000, 224, 1_119_888, 0],
      [3, 7, 224, 522, 0, 149],
    ];
    for (const [width, height, toWidth, toHeight, left, top] of table) {
      const geometry = planGeometry(clip, { width, height });
      expect(geometry).toEqual({
        resized: { width: toWidth, height: toHeight },
        window: { left, top, width: 224, height: 224 },
        offset: { left: 0, top: 0 },
        output: { width: 224, height: 224 },
      });
    }
  });

  it('pads what is smaller than the crop', () => {
    const geometry = planGeometry({ resize: undefined, crop: { width: 10, height: 7 } }, { width: 5, height: 9 });
    expect(geometry.window).toEqual({ left: 0, top: 1, width: 5, height: 7 });
    expect(geometry.offset).toEqual({ left: 2, top: 0 });
    expect(geometry.output).toEqual({ width: 10, height: 7 });
  });

  it('scales to an exact size without a crop', () => {
    const geometry = planGeometry({ resize: { width: 20, height: 10 }, crop: undefined }, { width: 500, height: 9 });
    expect(geometry.resized).toEqual({ width: 20, height: 10 });
    expect(geometry.output).toEqual({ width: 20, height: 10 });
  });
});
