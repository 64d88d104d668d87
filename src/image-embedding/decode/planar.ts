/** The last step: bytes pixel by pixel become planes, rescaled and normalised, in one pass over tables of 256 entries. */
import type { PreprocessSpec } from '../preprocess-spec.js';
import type { Geometry, Region } from './geometry.js';

/** The result of preprocessing, `[3, height, width]`. */
export type PlanarImage = Float32Array | Uint8Array;

/** Interleaved RGB bytes, and how they lie: row by row from the first byte unless told otherwise. */
export interface InterleavedPixels {
  readonly data: Uint8Array;
  /** Where the pixel in the top left corner begins. */
  readonly start: number;
  /** From a pixel to the one below it. */
  readonly rowStep: number;
  /** From a pixel to the one on its right. */
  readonly columnStep: number;
}

/** Makes planes and fills them, region by region. */
export interface PlanarWriter {
  /** Planes of the result's size; what lies around the window holds what a black pixel becomes. */
  create(geometry: Geometry): PlanarImage;
  /** Writes pixels to a region of the window. */
  write(planes: PlanarImage, geometry: Geometry, region: Region, pixels: InterleavedPixels): void;
  /** Takes planes back that nobody looks at any more: a later image is written over them. */
  recycle(planes: PlanarImage): void;
}

/** Pixels row by row. */
export function rowByRow(data: Uint8Array, width: number): InterleavedPixels {
  return { data, start: 0, rowStep: width * 3, columnStep: 3 };
}

/**
 * Prepares the tables for a spec.
 *
 * @param keep How many planes that were given back are kept. New ones cost more than what is written to them: cleared pages, and a collection
 *   every few images.
 */
export function createPlanarWriter(
  spec: Pick<PreprocessSpec, 'rescale' | 'mean' | 'std' | 'dtype'>,
  keep = 8,
): PlanarWriter {
  const isFloat = spec.dtype === 'float32';
  const tables = [0, 1, 2].map((channel) => {
    const table = isFloat ? new Float32Array(256) : new Uint8Array(256);
    const mean = spec.mean[channel] as number;
    const std = spec.std[channel] as number;
    for (let value = 0; value < 256; value++) table[value] = isFloat ? (value * spec.rescale - mean) / std : value;
    return table;
  }) as [PlanarImage, PlanarImage, PlanarImage];
  const [reds, greens, blues] = tables;
  const free: PlanarImage[] = [];

  const take = (length: number): PlanarImage => {
    const planes = free.pop();
    if (planes?.length === length) return planes;
    return isFloat ? new Float32Array(length) : new Uint8Array(length);
  };

  return {
    create({ window, output }) {
      const plane = output.width * output.height;
      // The window is always written whole, so what another image left there never shows.
      const planes = take(3 * plane);
      if (window.width < output.width || window.height < output.height) {
        for (const [channel, table] of tables.entries()) {
          planes.fill(table[0] as number, channel * plane, (channel + 1) * plane);
        }
      }
      return planes;
    },
    write(planes, { offset, output }, region, { data, start, rowStep, columnStep }) {
      const plane = output.width * output.height;
      for (let row = 0; row < region.height; row++) {
        let from = start + row * rowStep;
        let to = (offset.top + region.top + row) * output.width + offset.left + region.left;
        for (const end = to + region.width; to < end; to++, from += columnStep) {
          planes[to] = reds[data[from] as number] as number;
          planes[to + plane] = greens[data[from + 1] as number] as number;
          planes[to + 2 * plane] = blues[data[from + 2] as number] as number;
        }
      }
    },
    recycle(planes) {
      if (free.length < keep) free.push(planes);
    },
  };
}
