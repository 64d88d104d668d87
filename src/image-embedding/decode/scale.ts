/**
 * The two ways from decoded pixels to the result. The exact one is Pillow's arithmetic in JavaScript. The fast one lets libvips do the bulk,
 * arranged so that it comes close:
 *
 * - libvips scales by a factor of {@link BOX} or more with averaged boxes, which softens the picture. So an image that is that much too large
 *   takes several steps, each by less, with a filter that keeps what the result can show. The first step is one with the decode.
 * - libvips scales columns first and Pillow rows first, each rounding to bytes in between, so the last step works on a picture that lies on
 *   its side.
 * - Where the filter reaches beyond the border, Pillow leaves out what is not there and libvips repeats the last pixel: the few rows and
 *   columns concerned are done again, exactly.
 */
import { scheduleMacrotask } from '../../core/index.js';
import type { Resample } from '../preprocess-spec.js';
import { type ImageHeader, type Pixels, readingFraction, STEP_RESIZE } from './decode-image.js';
import type { Geometry, Region, Size } from './geometry.js';
import { type PlanarImage, type PlanarWriter, rowByRow } from './planar.js';
import { filterSupport, resampleInSlices, resampleWindow } from './resample.js';
import type { Sharp, SharpModule } from './sharp-loader.js';

const KERNELS = { nearest: 'nearest', bilinear: 'linear', bicubic: 'cubic', lanczos: 'lanczos3' } as const;
/** The factor from which libvips averages boxes first. */
const BOX = 4;
/** What the last step scales by: the more, the closer and the slower. */
const STEP = 3.2;
/** The most that one step scales by. */
const LONGEST_STEP = 3.9;

/** Beyond this many times the window, scaling the whole image would be mostly for nothing, or not even fit into memory. */
const WASTE = 8;

/**
 * Says whether the fast way suits an image, and through which sizes it goes, from the largest, which is decoded to, on down. None means that
 * the image is decoded at full size and scaled at once.
 */
export function planSteps(image: ImageHeader, { resized, window }: Geometry, resample: Resample): Size[] | undefined {
  if (resample === 'nearest') return undefined;
  if (resized.width * resized.height > WASTE * window.width * window.height) return undefined;
  const horizontal = image.width / resized.width;
  const vertical = image.height / resized.height;
  // What is scaled up is small, and soon done exactly.
  if (horizontal < 1 || vertical < 1 || (horizontal === 1 && vertical === 1)) return undefined;
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

/** Scales exactly, and lets the event loop run in between when that takes long. */
export async function writeExact(
  writer: PlanarWriter,
  planes: PlanarImage,
  pixels: Pixels,
  resample: Resample,
  geometry: Geometry,
  signal: AbortSignal,
): Promise<void> {
  const { width, height } = geometry.window;
  const slices = resampleInSlices(pixels.data, pixels, resample, geometry);
  for (;;) {
    const { done, value } = slices.next();
    if (done) {
      writer.write(planes, geometry, { left: 0, top: 0, width, height }, rowByRow(value, width));
      return;
    }
    await new Promise<void>((resolve) => scheduleMacrotask(resolve));
    // Whoever asked has been answered by now.
    if (signal.aborted) return;
  }
}

/** Scales in libvips, by way of the sizes given, and then the border exactly. */
export async function writeFast(
  sharp: SharpModule,
  writer: PlanarWriter,
  planes: PlanarImage,
  pixels: Pixels,
  steps: readonly Size[],
  resample: Resample,
  geometry: Geometry,
): Promise<void> {
  const { resized, window } = geometry;
  for (const { width, height } of steps) {
    const data = await fromPixels(sharp, pixels).resize(width, height, STEP_RESIZE).raw().toBuffer();
    pixels = { data, width, height };
  }
  // Turned clockwise, a pixel's row counts from the right: column = resized.height - 1 - row.
  const data = await fromPixels(sharp, pixels)
    .rotate(90)
    .resize(resized.height, resized.width, { fit: 'fill', kernel: KERNELS[resample] })
    .extract({
      left: resized.height - window.top - window.height,
      top: window.left,
      width: window.height,
      height: window.width,
    })
    .raw()
    .toBuffer();
  const whole = { left: 0, top: 0, width: window.width, height: window.height };
  writer.write(planes, geometry, whole, {
    data,
    start: (window.height - 1) * 3,
    rowStep: -3,
    columnStep: window.height * 3,
  });
  for (const region of borders(geometry, filterSupport(resample))) {
    writeRegion(writer, planes, pixels, resample, geometry, region);
  }
}

function fromPixels(sharp: SharpModule, { data, width, height }: Pixels): Sharp {
  return sharp(data, { raw: { width, height, channels: 3 } });
}

/** Does one region of the window exactly. */
function writeRegion(
  writer: PlanarWriter,
  planes: PlanarImage,
  pixels: Pixels,
  resample: Resample,
  geometry: Geometry,
  region: Region,
): void {
  const { resized, window } = geometry;
  const part = { ...region, left: window.left + region.left, top: window.top + region.top };
  const data = resampleWindow(pixels.data, pixels, resample, { resized, window: part });
  writer.write(planes, geometry, region, rowByRow(data, region.width));
}

/** The rows and columns of the window that a filter of this support, scaling down, computes from beyond the image's border. */
function borders({ resized, window }: Geometry, support: number): Region[] {
  const regions: Region[] = [];
  const top = Math.min(window.height, Math.max(0, support - window.top));
  const bottom = Math.min(window.height, Math.max(0, window.top + window.height - (resized.height - support)));
  const left = Math.min(window.width, Math.max(0, support - window.left));
  const right = Math.min(window.width, Math.max(0, window.left + window.width - (resized.width - support)));
  if (top > 0) regions.push({ left: 0, top: 0, width: window.width, height: top });
  if (bottom > 0) regions.push({ left: 0, top: window.height - bottom, width: window.width, height: bottom });
  if (left > 0) regions.push({ left: 0, top: 0, width: left, height: window.height });
  if (right > 0) regions.push({ left: window.width - right, top: 0, width: right, height: window.height });
  return regions;
}
