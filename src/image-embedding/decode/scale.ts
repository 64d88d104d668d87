/** Where the pixels of the result come from: sizes and offsets, rounded as torchvision rounds them. */
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

/** What to do with an image of a certain size. */
export interface Geometry {
  /** The size that the whole image is scaled to. */
  readonly resized: Size;
  /** The part of the scaled image that is kept. */
  readonly window: Region;
  /** Where that part lies in the result; around it are zeros. */
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

/** Along one side: what is kept of `have` pixels for a crop to `want`, and where it goes. */
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
