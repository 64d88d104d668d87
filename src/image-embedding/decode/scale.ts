/**
 * The way from decoded pixels to those that a model takes in. The last step is Pillow's arithmetic, always. In the fast way an image that is
 * {@link WHOLE} times too large or more goes through libvips first: by steps that each scale by less than {@link BOX}, from where libvips averages
 * boxes and softens the picture, with a filter that keeps what the result can show. The first step is one with the decode.
 */
import { scheduleMacrotask } from '../../core/index.js';
import type { Resample } from '../preprocess-spec.js';
import { type ImageHeader, type Pixels, readingFraction, resizePixels } from './decode-image.js';
import type { Geometry, Size } from './geometry.js';
import type { PixelBuffers } from './pixel-buffers.js';
import { resampleInSlices } from './resample.js';
import type { SharpModule } from './sharp-loader.js';

/** The factor below which scaling at once takes no longer than scaling in steps. */
const WHOLE = 6;
/** The factor from which libvips averages boxes first. */
const BOX = 4;
/** What the last step scales by: the more, the closer and the slower. */
const STEP = 3.2;
/** The most that one step scales by. */
const LONGEST_STEP = 3.9;

/** Beyond this many times the window, scaling the whole image would be mostly for nothing, or not even fit into memory. */
const WASTE = 8;

/**
 * Says through which sizes an image goes in the fast way, from the largest, which is decoded to, on down. None means that it is decoded at full
 * size and scaled at once, as in the exact way.
 */
export function planSteps(image: ImageHeader, { resized, window }: Geometry, resample: Resample): Size[] {
  const horizontal = image.width / resized.width;
  const vertical = image.height / resized.height;
  if (resample === 'nearest' || Math.max(horizontal, vertical) < WHOLE || Math.min(horizontal, vertical) < 1) return [];
  if (resized.width * resized.height > WASTE * window.width * window.height) return [];
  const steps: Size[] = [];
  let size = resized;
  for (;;) {
    const fraction = steps.length === 0 ? 1 : readingFraction(image, size);
    const left = Math.max(image.width / size.width, image.height / size.height);
    if (left < BOX * fraction) return steps;
    const step = chooseStep(image, size, left);
    size = {
      width: Math.min(image.width, Math.round(size.width * step)),
      height: Math.min(image.height, Math.round(size.height * step)),
    };
    steps.unshift(size);
  }
}

/** A longer step where that saves another one, unless a JPEG can be read at a fraction instead. */
function chooseStep(image: ImageHeader, size: Size, left: number): number {
  const middle = { width: size.width * STEP, height: size.height * STEP };
  if (left < BOX * STEP * readingFraction(image, middle)) return STEP;
  return left < LONGEST_STEP * LONGEST_STEP ? left / LONGEST_STEP : LONGEST_STEP;
}

/** Scales in libvips, through the sizes given. */
export async function scaleInSteps(sharp: SharpModule, pixels: Pixels, steps: readonly Size[]): Promise<Pixels> {
  for (const size of steps) pixels = await resizePixels(sharp, pixels, size);
  return pixels;
}

/**
 * Scales exactly, to RGB bytes of the result's size, and lets the event loop run in between when that takes long. What lies around the window
 * is black.
 */
export async function scaleExactly(
  pixels: Pixels,
  resample: Resample,
  geometry: Geometry,
  buffers: PixelBuffers,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const slices = resampleInSlices(pixels.data, pixels, resample, geometry, (length) => buffers.take(length));
  for (;;) {
    const { done, value } = slices.next();
    if (done) return frame(value, geometry);
    await new Promise<void>((resolve) => scheduleMacrotask(resolve));
    signal.throwIfAborted();
  }
}

function frame(pixels: Uint8Array, { window, offset, output }: Geometry): Uint8Array {
  if (window.width === output.width && window.height === output.height) return pixels;
  const framed = new Uint8Array(3 * output.width * output.height);
  for (let row = 0; row < window.height; row++) {
    const from = 3 * row * window.width;
    framed.set(pixels.subarray(from, from + 3 * window.width), 3 * ((offset.top + row) * output.width + offset.left));
  }
  return framed;
}
