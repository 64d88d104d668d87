/**
 * Pillow's resampling of 8-bit images, to the bit: two passes, first along rows and then along columns, with a result of bytes in between;
 * the filter's support grows with the scale (antialiasing); weights in fixed point with 22 fractional bits. Only the window that is kept is
 * computed, which makes the cost independent of the size of a scaled image that is mostly cropped away.
 */
import type { Resample } from '../preprocess-spec.js';
import type { Geometry, Size } from './geometry.js';

const PRECISION_BITS = 22;
/** Multiplications between two pauses: some milliseconds. */
const SLICE = 4_000_000;
const HALF = 1 << (PRECISION_BITS - 1);

interface Filter {
  readonly support: number;
  weigh(distance: number): number;
}

const FILTERS: Readonly<Record<Exclude<Resample, 'nearest'>, Filter>> = {
  bilinear: {
    support: 1,
    weigh: (x) => Math.max(0, 1 - Math.abs(x)),
  },
  bicubic: {
    support: 2,
    weigh(x) {
      const a = -0.5;
      x = Math.abs(x);
      if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
      return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
    },
  },
  lanczos: {
    support: 3,
    weigh: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0),
  },
};

function sinc(x: number): number {
  if (x === 0) return 1;
  x *= Math.PI;
  return Math.sin(x) / x;
}

/** How many pixels away from the middle a filter reaches, when nothing is scaled down. */
export function filterSupport(resample: Resample): number {
  return resample === 'nearest' ? 0 : FILTERS[resample].support;
}

/** The weights of one direction: for each pixel of the window, which source pixels count and how much. */
interface Weights {
  readonly taps: number;
  readonly starts: Int32Array;
  readonly counts: Int32Array;
  readonly values: Int32Array;
}

function computeWeights(filter: Filter, from: number, to: number, start: number, length: number): Weights {
  const scale = from / to;
  const stretch = Math.max(scale, 1);
  const support = filter.support * stretch;
  const taps = Math.ceil(support) * 2 + 1;
  const starts = new Int32Array(length);
  const counts = new Int32Array(length);
  const values = new Int32Array(length * taps);
  const row = new Float64Array(taps);
  for (let index = 0; index < length; index++) {
    const middle = (start + index + 0.5) * scale;
    const first = Math.max(0, Math.trunc(middle - support + 0.5));
    const count = Math.min(from, Math.trunc(middle + support + 0.5)) - first;
    let sum = 0;
    for (let tap = 0; tap < count; tap++) {
      const weight = filter.weigh((tap + first - middle + 0.5) * (1 / stretch));
      row[tap] = weight;
      sum += weight;
    }
    for (let tap = 0; tap < count; tap++) {
      const weight = sum === 0 ? (row[tap] as number) : (row[tap] as number) / sum;
      values[index * taps + tap] = Math.trunc(weight * (1 << PRECISION_BITS) + (weight < 0 ? -0.5 : 0.5));
    }
    starts[index] = first;
    counts[index] = count;
  }
  return { taps, starts, counts, values };
}

/**
 * Scales interleaved 8-bit RGB pixels and keeps a window of the result.
 *
 * @param pixels `[height, width, 3]` of the source.
 * @param source The source's size.
 * @param resample The interpolation.
 * @param geometry What the image is scaled to and which part is kept.
 * @returns The window's pixels, `[window.height, window.width, 3]`.
 */
export function resampleWindow(
  pixels: Uint8Array,
  source: Size,
  resample: Resample,
  geometry: Pick<Geometry, 'resized' | 'window'>,
): Uint8Array {
  const slices = resampleInSlices(pixels, source, resample, geometry);
  for (;;) {
    const { done, value } = slices.next();
    if (done) return value;
  }
}

/** The same, with a pause after every few milliseconds of work: tens of megapixels take a second and more. */
export function* resampleInSlices(
  pixels: Uint8Array,
  source: Size,
  resample: Resample,
  { resized, window }: Pick<Geometry, 'resized' | 'window'>,
): Generator<void, Uint8Array> {
  if (resample === 'nearest') return pickNearest(pixels, source, { resized, window });
  const filter = FILTERS[resample];
  const rows = computeWeights(filter, source.height, resized.height, window.top, window.height);
  const last = window.height - 1;
  const firstRow = rows.starts[0] as number;
  const endRow = (rows.starts[last] as number) + (rows.counts[last] as number);
  const columns = computeWeights(filter, source.width, resized.width, window.left, window.width);
  const stride = window.width * 3;
  const narrow = new Uint8Array(Math.max(0, endRow - firstRow) * stride);
  // Pillow skips a pass that would change nothing, and so copies bytes as they are.
  if (source.width === resized.width) {
    copyColumns(pixels, source.width, firstRow, endRow, window.left, window.width, narrow);
  } else {
    const step = Math.max(1, Math.floor(SLICE / (stride * columns.taps)));
    for (let row = firstRow; row < endRow; row += step) {
      if (row > firstRow) yield;
      const part = narrow.subarray((row - firstRow) * stride);
      scaleRows(pixels, source.width, row, Math.min(endRow, row + step), columns, window.width, clampedView(part));
    }
  }
  const result = new Uint8Array(window.height * stride);
  if (source.height === resized.height) {
    const from = (window.top - firstRow) * stride;
    result.set(narrow.subarray(from, from + result.length));
  } else scaleColumns(narrow, firstRow, rows, stride, window.height, clampedView(result));
  return result;
}

/** The same bytes, with stores that clip to 0..255. */
function clampedView(bytes: Uint8Array<ArrayBuffer>): Uint8ClampedArray {
  return new Uint8ClampedArray(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function copyColumns(
  pixels: Uint8Array,
  sourceWidth: number,
  firstRow: number,
  endRow: number,
  left: number,
  width: number,
  result: Uint8Array,
): void {
  for (let row = firstRow; row < endRow; row++) {
    const from = (row * sourceWidth + left) * 3;
    result.set(pixels.subarray(from, from + width * 3), (row - firstRow) * width * 3);
  }
}

function scaleRows(
  pixels: Uint8Array,
  sourceWidth: number,
  firstRow: number,
  endRow: number,
  { taps, starts, counts, values }: Weights,
  width: number,
  result: Uint8ClampedArray,
): void {
  let to = 0;
  for (let row = firstRow; row < endRow; row++) {
    const base = row * sourceWidth * 3;
    for (let column = 0; column < width; column++) {
      let red = HALF;
      let green = HALF;
      let blue = HALF;
      let from = base + (starts[column] as number) * 3;
      let tap = column * taps;
      for (const end = tap + (counts[column] as number); tap < end; tap++, from += 3) {
        const weight = values[tap] as number;
        red = (red + Math.imul(pixels[from] as number, weight)) | 0;
        green = (green + Math.imul(pixels[from + 1] as number, weight)) | 0;
        blue = (blue + Math.imul(pixels[from + 2] as number, weight)) | 0;
      }
      result[to] = red >> PRECISION_BITS;
      result[to + 1] = green >> PRECISION_BITS;
      result[to + 2] = blue >> PRECISION_BITS;
      to += 3;
    }
  }
}

/** Row by row over a line of sums, so that memory is read in the order in which it lies. */
function scaleColumns(
  narrow: Uint8Array,
  firstRow: number,
  { taps, starts, counts, values }: Weights,
  stride: number,
  height: number,
  result: Uint8ClampedArray,
): void {
  const sums = new Int32Array(stride);
  for (let row = 0; row < height; row++) {
    sums.fill(HALF);
    let from = ((starts[row] as number) - firstRow) * stride;
    let tap = row * taps;
    for (const end = tap + (counts[row] as number); tap < end; tap++) {
      const weight = values[tap] as number;
      for (let index = 0; index < stride; index++, from++) {
        sums[index] = (sums[index] as number) + Math.imul(narrow[from] as number, weight);
      }
    }
    const to = row * stride;
    for (let index = 0; index < stride; index++) result[to + index] = (sums[index] as number) >> PRECISION_BITS;
  }
}

function pickNearest(
  pixels: Uint8Array,
  source: Size,
  { resized, window }: Pick<Geometry, 'resized' | 'window'>,
): Uint8Array {
  const result = new Uint8Array(window.height * window.width * 3);
  const columns = nearestPositions(source.width, resized.width, window.left, window.width);
  const rows = nearestPositions(source.height, resized.height, window.top, window.height);
  let to = 0;
  for (const y of rows) {
    for (const x of columns) {
      const from = (y * source.width + x) * 3;
      result[to++] = pixels[from] as number;
      result[to++] = pixels[from + 1] as number;
      result[to++] = pixels[from + 2] as number;
    }
  }
  return result;
}

/** Adds the scale up step by step, as Pillow does: where a position falls between two pixels, the error of the sum decides. */
function nearestPositions(from: number, to: number, start: number, length: number): Int32Array {
  const scale = from / to;
  const positions = new Int32Array(length);
  let position = scale * 0.5;
  for (let index = 0; index < start + length; index++, position += scale) {
    if (index >= start) positions[index - start] = Math.min(from - 1, Math.trunc(position));
  }
  return positions;
}
