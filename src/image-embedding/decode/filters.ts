/** Pillow's filters, and the weights that they give the pixels of one direction. */
import type { Resample } from '../preprocess-spec.js';

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

/** Which pixels of the source count for each pixel of the window, and how much: fixed point, `taps` for each, with zeros behind those that count. */
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
