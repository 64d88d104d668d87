/**
 * An independent, slow, plain resampling, written from the description of Pillow's: for every pixel of the result a weighted mean of the
 * source, in floating point, rows first and then columns, rounded to bytes after each. It shares nothing with the sources.
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

/** One line of `from` samples, `stride` apart, becomes `to` samples. */
function scaleLine(filter: PlainFilter, line: readonly number[], to: number): number[] {
  const from = line.length;
  if (from === to) return [...line];
  const scale = from / to;
  const wide = Math.max(1, scale);
  return Array.from({ length: to }, (_, index) => {
    const centre = (index + 0.5) * scale;
    const low = Math.max(0, Math.floor(centre - radius[filter] * wide + 0.5));
    const high = Math.min(from, Math.floor(centre + radius[filter] * wide + 0.5));
    let sum = 0;
    let weights = 0;
    for (let at = low; at < high; at++) {
      const weight = kernel(filter, (at + 0.5 - centre) / wide);
      sum += weight * (line[at] as number);
      weights += weight;
    }
    return Math.min(255, Math.max(0, Math.round(sum / weights)));
  });
}

/** Scales interleaved RGB bytes. */
export function plainResample(
  pixels: Uint8Array,
  source: { width: number; height: number },
  result: { width: number; height: number },
  filter: PlainFilter,
): Uint8Array {
  const out = new Uint8Array(result.width * result.height * 3);
  for (let channel = 0; channel < 3; channel++) {
    const rows: number[][] = [];
    for (let y = 0; y < source.height; y++) {
      const line = Array.from(
        { length: source.width },
        (_, x) => pixels[(y * source.width + x) * 3 + channel] as number,
      );
      rows.push(scaleLine(filter, line, result.width));
    }
    for (let x = 0; x < result.width; x++) {
      const column = scaleLine(
        filter,
        rows.map((row) => row[x] as number),
        result.height,
      );
      for (let y = 0; y < result.height; y++) out[(y * result.width + x) * 3 + channel] = column[y] as number;
    }
  }
  return out;
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

/** The largest and the mean difference of two images, and the share of bytes that differ by more than 1. */
export function difference(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
): { largest: number; mean: number; beyondOne: number } {
  if (a.length !== b.length) throw new Error(`expected equal lengths, received ${a.length} and ${b.length}`);
  let largest = 0;
  let sum = 0;
  let beyond = 0;
  for (let index = 0; index < a.length; index++) {
    const each = Math.abs((a[index] as number) - (b[index] as number));
    largest = Math.max(largest, each);
    sum += each;
    if (each > 1) beyond++;
  }
  return { largest, mean: sum / a.length, beyondOne: beyond / a.length };
}
