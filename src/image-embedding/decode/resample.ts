/**
 * Pillow's resampling of 8-bit images, bit-identical: a pass along rows, then along columns, with bytes in between; the filter's support grows with
 * the reduction (antialiasing); weights in fixed point with 22 fractional bits. Only the kept window is computed, and only the intermediate rows that
 * the next output row needs are held.
 */
import { ImageTooLargeError } from '../image-errors.js';
import { Kernels } from '../kernels/kernels.js';
import type { Resample } from '../model/model-spec.js';
import type { Geometry, Size } from './scale.js';

/** Fractional bits of a weight. */
const PRECISION_BITS = 22;

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

/** For each pixel of the window, the first source pixel, the number of source pixels, and `taps` fixed-point weights, padded with zeros. */
export interface Weights {
  readonly taps: number;
  readonly starts: Int32Array;
  readonly counts: Int32Array;
  readonly values: Int32Array;
}

/**
 * Computes the weights of one direction.
 *
 * @param from Pixels of the source.
 * @param to Pixels of the result.
 * @param start The first pixel of the window in the result.
 * @param length Pixels of the window.
 */
export function computeWeights(
  resample: Exclude<Resample, 'nearest'>,
  from: number,
  to: number,
  start: number,
  length: number,
): Weights {
  const filter = FILTERS[resample];
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

/** Multiplications between two pauses, a few milliseconds. */
const SLICE = 4_000_000;
/** Source bytes that are copied in at once; they fit into the core's cache. */
const BAND = 131_072;
/** Kernels whose memory has grown beyond this are not kept. */
const KEPT_MEMORY = 4 << 20;
/** The memory limit of one image: offsets are signed 32-bit numbers. Only strips of millions of pixels come near. */
const MOST_MEMORY = 2 ** 31 - 1;
/** Bytes that a kernel may read or write past a row. */
const SLACK = 64;

/** Kernels for reuse. A paused decode keeps its own. */
let idle: Kernels | undefined;

/**
 * Scales interleaved 8-bit RGB pixels and keeps a window of the result. Yields after every few milliseconds of work.
 *
 * @param pixels `[height, width, 3]` of the source.
 * @param source The source's size.
 * @param resample The interpolation.
 * @param geometry The scaled size and the window that is kept.
 * @param take Allocates the result.
 * @returns The window's pixels, `[window.height, window.width, 3]`.
 * @throws {@link ImageTooLargeError} When the scaling would need 2 GB or more.
 */
export function* resampleInSlices(
  pixels: Uint8Array,
  source: Size,
  resample: Resample,
  { resized, window }: Pick<Geometry, 'resized' | 'window'>,
  take: (length: number) => Uint8Array = (length) => new Uint8Array(length),
): Generator<void, Uint8Array> {
  if (resample === 'nearest') return pickNearest(pixels, source, { resized, window });
  const rows = computeWeights(resample, source.height, resized.height, window.top, window.height);
  const columns = computeWeights(resample, source.width, resized.width, window.left, window.width);
  const kernels = idle ?? new Kernels();
  idle = undefined;
  const work = new Resampling(kernels, pixels, source.width, columns, rows);
  while (work.advance()) yield;
  const result = work.result(take);
  if (kernels.bytes.length <= KEPT_MEMORY) idle = kernels;
  return result;
}

/** The resampling of one image in the kernels' memory. */
class Resampling {
  readonly #kernels: Kernels;
  readonly #pixels: Uint8Array;
  readonly #rows: Weights;
  readonly #width: number;
  readonly #sourceStride: number;
  /** Bytes of an intermediate row. */
  readonly #stride: number;
  /** Weight groups for an output pixel: of four pixels along a row, of two rows along a column. */
  readonly #groups: number;
  readonly #pairs: number;
  /** Source rows copied in at once, and the capacity for intermediate rows. */
  readonly #band: number;
  readonly #room: number;
  readonly #rowsBetweenPauses: number;
  readonly #places: Readonly<Record<'starts' | 'columns' | 'rows' | 'source' | 'between' | 'result', number>>;
  /** The source rows that have intermediate rows: from `first` up to `next`. */
  #first: number;
  #next: number;
  #done = 0;

  constructor(kernels: Kernels, pixels: Uint8Array, sourceWidth: number, columns: Weights, rows: Weights) {
    this.#kernels = kernels;
    this.#pixels = pixels;
    this.#rows = rows;
    const width = columns.starts.length;
    const height = rows.starts.length;
    this.#width = width;
    this.#sourceStride = 3 * sourceWidth;
    // The kernel writes one byte past each row.
    this.#stride = (3 * width + 16) & ~15;
    this.#groups = Math.ceil(mostTaps(columns) / 4);
    this.#pairs = Math.ceil(mostTaps(rows) / 2);
    this.#band = 2 * Math.max(1, Math.min(16, Math.floor(BAND / this.#sourceStride / 2)));
    this.#room = 2 * this.#pairs + this.#band;
    this.#rowsBetweenPauses = Math.max(this.#band, Math.floor(SLICE / (12 * this.#groups * width)));
    this.#first = rows.starts[0] ?? 0;
    this.#next = this.#first;
    let end = 0;
    const place = (length: number): number => {
      const at = end;
      end = Math.ceil((at + length + SLACK) / 16) * 16;
      return at;
    };
    this.#places = {
      starts: place(4 * width),
      columns: place(16 * this.#groups * width),
      rows: place(8 * this.#pairs * height),
      source: place((this.#band + 1) * this.#sourceStride),
      // The pairs of the last output row may reach past the last row.
      between: place((this.#room + 2 * this.#pairs) * this.#stride),
      result: place(3 * width * height),
    };
    if (end > MOST_MEMORY) {
      const height = pixels.length / this.#sourceStride;
      throw new ImageTooLargeError(
        `Cannot decode image: scaling ${sourceWidth} × ${height} pixels takes more than 2 GB of memory`,
      );
    }
    kernels.grow(end);
    const words = new Int16Array(kernels.bytes.buffer);
    const starts = new Int32Array(kernels.bytes.buffer, this.#places.starts, width);
    for (let column = 0; column < width; column++) starts[column] = 3 * (columns.starts[column] as number);
    packWeights(words, this.#places.columns >> 1, columns, 4, this.#groups);
    packWeights(words, this.#places.rows >> 1, rows, 2, this.#pairs);
  }

  /** Works for a few milliseconds. Returns whether work is left. */
  advance(): boolean {
    const { run } = this.#kernels;
    const { starts, counts } = this.#rows;
    const places = this.#places;
    const pauseAt = this.#next + this.#rowsBetweenPauses;
    for (; this.#done < starts.length; this.#done++) {
      const start = starts[this.#done] as number;
      const end = start + (counts[this.#done] as number);
      while (this.#next < end) {
        if (this.#next >= pauseAt) return true;
        this.#scaleBand(start);
      }
      run.scaleColumns(
        places.between + (start - this.#first) * this.#stride,
        this.#stride,
        this.#pairs,
        places.rows + 8 * this.#pairs * this.#done,
        3 * this.#width,
        places.result + 3 * this.#width * this.#done,
      );
    }
    return false;
  }

  /** A copy of the result. */
  result(take: (length: number) => Uint8Array): Uint8Array {
    const { result } = this.#places;
    const length = 3 * this.#width * this.#rows.starts.length;
    const copy = take(length);
    copy.set(this.#kernels.bytes.subarray(result, result + length));
    return copy;
  }

  /** Scales the next source rows. Intermediate rows before `start` are dropped. */
  #scaleBand(start: number): void {
    const { run, bytes } = this.#kernels;
    const { source, between, columns, starts } = this.#places;
    if (this.#next + this.#band - this.#first > this.#room) {
      const from = between + (start - this.#first) * this.#stride;
      bytes.copyWithin(between, from, between + (this.#next - this.#first) * this.#stride);
      this.#first = start;
    }
    const rows = this.#pixels.subarray(this.#next * this.#sourceStride, (this.#next + this.#band) * this.#sourceStride);
    bytes.set(rows, source);
    const count = Math.min(this.#band, rows.length / this.#sourceStride);
    run.scaleRows(
      source,
      this.#sourceStride,
      count,
      starts,
      columns,
      this.#groups,
      this.#width,
      between + (this.#next - this.#first) * this.#stride,
      this.#stride,
    );
    this.#next += count;
  }
}

function mostTaps({ counts }: Weights): number {
  return counts.reduce((most, count) => Math.max(most, count), 1);
}

/** Packs weights as the kernels read them: for each group the upper parts, then the lower ones, padded with zeros. */
function packWeights(words: Int16Array, at: number, { taps, values }: Weights, lanes: number, steps: number): void {
  const count = values.length / taps;
  for (let pixel = 0; pixel < count; pixel++) {
    for (let step = 0; step < steps; step++, at += 2 * lanes) {
      for (let lane = 0; lane < lanes; lane++) {
        const tap = step * lanes + lane;
        const weight = tap < taps ? (values[pixel * taps + tap] as number) : 0;
        words[at + lane] = weight >> 12;
        words[at + lanes + lane] = weight & 0xfff;
      }
    }
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

/** Accumulates the scale step by step, as Pillow does: at ties between two pixels the rounding error of the sum decides. */
function nearestPositions(from: number, to: number, start: number, length: number): Int32Array {
  const scale = from / to;
  const positions = new Int32Array(length);
  let position = scale * 0.5;
  for (let index = 0; index < start + length; index++, position += scale) {
    if (index >= start) positions[index - start] = Math.min(from - 1, Math.trunc(position));
  }
  return positions;
}
