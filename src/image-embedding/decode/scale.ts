/**
 * Plans and runs the scaling of decoded pixels to the model's input: sizes and offsets are rounded as in torchvision, and the last step is always
 * Pillow's arithmetic. In fast mode an image that is at least {@link WHOLE} times too large is first scaled by libvips, in steps below {@link BOX}, from where
 * libvips would average boxes and blur. The first step is part of the decode.
 */
import { scheduleMacrotask } from '../../core/index.js';
import type { PreprocessSpec, Resample } from '../model/model-spec.js';
import { type ImageHeader, type Pixels, readingFraction, resizePixels } from './decode-image.js';
import type { PixelBuffers } from './preprocessor.js';
import { resampleInSlices } from './resample.js';
import type { SharpModule } from './sharp-loader.js';

/** A size in pixels. */
export interface Size {
  readonly width: number;
  readonly height: number;
}

/** A rectangle of pixels. */
export interface Region extends Size {
  readonly left: number;
  readonly top: number;
}

/** The plan for an image of one size. */
export interface Geometry {
  /** The size that the whole image is scaled to. */
  readonly resized: Size;
  /** The region of the scaled image that is kept. */
  readonly window: Region;
  /** The position of that region in the result; the rest is zeros. */
  readonly offset: { readonly left: number; readonly top: number };
  /** The size of the result. */
  readonly output: Size;
}

/** Plans the resize and the centre crop of an image of the given size. */
export function planGeometry(spec: Pick<PreprocessSpec, 'resize' | 'crop'>, image: Size): Geometry {
  const resized = resizedSize(spec.resize, image);
  const output = spec.crop ?? resized;
  const horizontal = centre(resized.width, output.width);
  const vertical = centre(resized.height, output.height);
  return {
    resized,
    window: {
      left: horizontal.start,
      top: vertical.start,
      width: horizontal.length,
      height: vertical.length,
    },
    offset: { left: horizontal.offset, top: vertical.offset },
    output: { width: output.width, height: output.height },
  };
}

function resizedSize(resize: PreprocessSpec['resize'], image: Size): Size {
  if (resize === undefined) return image;
  if (!('shortestEdge' in resize)) return { width: resize.width, height: resize.height };
  const { shortestEdge } = resize;
  const { width, height } = image;
  return width <= height
    ? { width: shortestEdge, height: Math.floor((shortestEdge * height) / width) }
    : { width: Math.floor((shortestEdge * width) / height), height: shortestEdge };
}

/** In one dimension: the range of `have` pixels that a crop to `want` keeps, and its offset in the result. */
function centre(have: number, want: number): { start: number; length: number; offset: number } {
  if (want >= have) return { start: 0, length: have, offset: Math.floor((want - have) / 2) };
  return { start: roundHalfToEven((have - want) / 2), length: want, offset: 0 };
}

/** Python's `round`. */
function roundHalfToEven(value: number): number {
  const floor = Math.floor(value);
  if (value - floor !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}

/** The reduction from which scaling in steps is faster. */
const WHOLE = 6;
/** The reduction from which libvips first averages boxes. */
const BOX = 4;
/** The reduction of the last step. A larger one is more exact and slower. */
const STEP = 3.2;
/** The largest reduction of one step. */
const LONGEST_STEP = 3.9;

/** Above this ratio of the scaled image to the window, scaling the whole image wastes time and memory. */
const WASTE = 8;

/**
 * The intermediate sizes of fast mode, largest first; the image is decoded to the first one. Empty when the image is decoded at full size and scaled
 * in one step, as in exact mode.
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

/** Prefers a long step where it saves another one, unless a JPEG can be read at a fraction. */
function chooseStep(image: ImageHeader, size: Size, left: number): number {
  const middle = { width: size.width * STEP, height: size.height * STEP };
  if (left < BOX * STEP * readingFraction(image, middle)) return STEP;
  return left < LONGEST_STEP * LONGEST_STEP ? left / LONGEST_STEP : LONGEST_STEP;
}

/** Scales in libvips through the given sizes. */
export async function scaleInSteps(sharp: SharpModule, pixels: Pixels, steps: readonly Size[]): Promise<Pixels> {
  for (const size of steps) pixels = await resizePixels(sharp, pixels, size);
  return pixels;
}

/**
 * Scales with Pillow's arithmetic to RGB bytes of the output size, and yields to the event loop between slices. Pixels outside the window are
 * black.
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
