/**
 * An independent, slow, plain resampling, written from the description of Pillow's: for every pixel of the result a weighted mean of the
 * source, in floating point, rows first and then columns, rounded to bytes after each. It shares nothing with the sources.
 *
 * A mean that ends in .5 may be rounded either way, in both passes (at scales that are fractions of small numbers most do), so a value is a range:
 * the least and the most that it may be.
 */
export type PlainFilter = 'bilinear' | 'bicubic' | 'lanczos';

const radius = { bilinear: 1, bicubic: 2, lanczos: 3 };

function kernel(filter: PlainFilter, t: number): number {
  const x = Math.abs(t);
  if (filter === 'bilinear') return x < 1 ? 1 - x : 0;
  if (filter === 'bicubic') {
    // Keys's cubic with a = -1/2.
    if (x <= 1) return 1.5 * x ** 3 - 2.5 * x ** 2 + 1;
    if (x < 2) return -0.5 * x ** 3 + 2.5 * x ** 2 - 4 * x + 2;
    return 0;
  }
  if (x === 0) return 1;
  if (x >= 3) return 0;
  return (3 * Math.sin(Math.PI * x) * Math.sin((Math.PI * x) / 3)) / (Math.PI * x) ** 2;
}

/** How far a fixed point of 22 bits may be from the mean. */
const SLACK = 0.01;

/** The least and the most that a value may be. */
type Range = readonly [least: number, most: number];

const toByte = (value: number): number => Math.min(255, Math.max(0, Math.round(value)));

/** One line of samples becomes `to` samples. */
function scaleLine(filter: PlainFilter, line: readonly Range[], to: number): Range[] {
  const from = line.length;
  if (from === to) return [...line];
  const scale = from / to;
  const wide = Math.max(1, scale);
  return Array.from({ length: to }, (_, index) => {
    const centre = (index + 0.5) * scale;
    const low = Math.max(0, Math.floor(centre - radius[filter] * wide + 0.5));
    const high = Math.min(from, Math.floor(centre + radius[filter] * wide + 0.5));
    let least = 0;
    let most = 0;
    let weights = 0;
    for (let at = low; at < high; at++) {
      const weight = kernel(filter, (at + 0.5 - centre) / wide);
      const [smaller, larger] = line[at] as Range;
      least += weight * (weight < 0 ? larger : smaller);
      most += weight * (weight < 0 ? smaller : larger);
      weights += weight;
    }
    return [toByte(least / weights - SLACK), toByte(most / weights + SLACK)];
  });
}

/** Scales interleaved RGB bytes, and answers how many bytes of `found` are none that this could give. */
export function countWrong(
  found: Uint8Array,
  pixels: Uint8Array,
  source: { width: number; height: number },
  result: { width: number; height: number },
  filter: PlainFilter,
): number {
  if (found.length !== result.width * result.height * 3) throw new Error(`received ${found.length} bytes`);
  let wrong = 0;
  for (let channel = 0; channel < 3; channel++) {
    const rows = Array.from({ length: source.height }, (_, y) => {
      const line = Array.from({ length: source.width }, (_, x): Range => {
        const value = pixels[(y * source.width + x) * 3 + channel] as number;
        return [value, value];
      });
      return scaleLine(filter, line, result.width);
    });
    for (let x = 0; x < result.width; x++) {
      const column = rows.map((row) => row[x] as Range);
      for (const [y, [least, most]] of scaleLine(filter, column, result.height).entries()) {
        const value = found[(y * result.width + x) * 3 + channel] as number;
        if (value < least || value > most) wrong++;
      }
    }
  }
  return wrong;
}

/** A picture of any size with gradients, rings and hard edges; the fixtures of Pillow were made from the same. */
export function testPicture(width: number, height: number): Uint8Array {
  const pixels = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let c = 0; c < 3; c++) {
        const rings = Math.floor((x * x + y * y * (c + 2)) / (29 + c));
        const edges = (Math.floor(x / 9) + Math.floor(y / 7) + c) % 3 === 0 ? 170 : 0;
        pixels[(y * width + x) * 3 + c] = (x * 7 + y * (13 + c) + rings + edges) % 256;
      }
    }
  }
  return pixels;
}

/** The largest and the mean difference of two images. */
export function difference(a: ArrayLike<number>, b: ArrayLike<number>): { largest: number; mean: number } {
  if (a.length !== b.length) throw new Error(`expected equal lengths, received ${a.length} and ${b.length}`);
  let largest = 0;
  let sum = 0;
  for (let index = 0; index < a.length; index++) {
    const each = Math.abs((a[index] as number) - (b[index] as number));
    largest = Math.max(largest, each);
    sum += each;
  }
  return { largest, mean: sum / a.length };
}
