/** The last step: bytes pixel by pixel become planes, rescaled and normalised, in one pass over tables of 256 entries. */
import type { PreprocessSpec } from '../preprocess-spec.js';
import type { Geometry } from './geometry.js';

/** The result of preprocessing, `[3, height, width]`. */
export type PlanarImage = Float32Array | Uint8Array;

/** Writes interleaved 8-bit pixels of a window into planes. */
export type PlanarWriter = (pixels: Uint8Array, channels: number, geometry: Geometry) => PlanarImage;

/** Prepares the tables for a spec. */
export function createPlanarWriter(spec: Pick<PreprocessSpec, 'rescale' | 'mean' | 'std' | 'dtype'>): PlanarWriter {
  const isFloat = spec.dtype === 'float32';
  const tables = [0, 1, 2].map((channel) => {
    const table = isFloat ? new Float32Array(256) : new Uint8Array(256);
    const mean = spec.mean[channel] as number;
    const std = spec.std[channel] as number;
    for (let value = 0; value < 256; value++) table[value] = isFloat ? (value * spec.rescale - mean) / std : value;
    return table;
  }) as [PlanarImage, PlanarImage, PlanarImage];
  const [reds, greens, blues] = tables;

  return (pixels, channels, { window, offset, output }) => {
    const plane = output.width * output.height;
    const planes = isFloat ? new Float32Array(3 * plane) : new Uint8Array(3 * plane);
    if (window.width < output.width || window.height < output.height) {
      for (let channel = 0; channel < 3; channel++) {
        planes.fill((tables[channel] as PlanarImage)[0] as number, channel * plane, (channel + 1) * plane);
      }
    }
    const green = channels >= 3 ? 1 : 0;
    const blue = channels >= 3 ? 2 : 0;
    let from = 0;
    for (let row = 0; row < window.height; row++) {
      let to = (offset.top + row) * output.width + offset.left;
      for (const end = to + window.width; to < end; to++, from += channels) {
        planes[to] = reds[pixels[from] as number] as number;
        planes[to + plane] = greens[pixels[from + green] as number] as number;
        planes[to + 2 * plane] = blues[pixels[from + blue] as number] as number;
      }
    }
    return planes;
  };
}
