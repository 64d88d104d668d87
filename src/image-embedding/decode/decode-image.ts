/** From encoded bytes to 8-bit sRGB pixels: what is decoded, how much of it, and what its failures are called. */
import { ImageCorruptError, ImageTimeoutError, ImageTooLargeError, ImageUnsupportedError } from '../image-errors.js';
import type { Resample } from '../preprocess-spec.js';
import type { ImageLimits } from '../sources/limits.js';
import type { Geometry, Size } from './geometry.js';
import type { Sharp, SharpModule, SharpOptions } from './sharp-loader.js';
import { describeContent, type ImageFormat, sniffFormat } from './sniff.js';

/** What of the limits concerns decoding. */
export type DecodeLimits = Pick<ImageLimits, 'maxPixels' | 'decodeTimeoutMs'>;

/** Interleaved 8-bit pixels. */
export interface Pixels extends Size {
  readonly data: Uint8Array;
  readonly channels: number;
}

/** What an image's header says, orientation applied. */
export interface ImageHeader extends Size {
  readonly format: ImageFormat;
}

const KERNELS = { nearest: 'nearest', bilinear: 'linear', bicubic: 'cubic', lanczos: 'lanczos3' } as const;
const WHITE = { r: 255, g: 255, b: 255 };

/**
 * Reads the header: the format by its first bytes, then the size by the loader of that format. Nothing is decoded, so an image that is too
 * large costs no more than its header.
 */
export async function readHeader(sharp: SharpModule, bytes: Uint8Array, limits: DecodeLimits): Promise<ImageHeader> {
  if (bytes.byteLength === 0) throw new ImageCorruptError('Cannot decode image: expected an image, received 0 bytes');
  const format = sniffFormat(bytes);
  if (format === undefined) {
    throw new ImageUnsupportedError(
      `Cannot decode image: expected JPEG, PNG, WebP, GIF, AVIF or TIFF, received ${describeContent(bytes)}`,
    );
  }
  try {
    const found = await sharp(bytes, inputOptions(limits)).metadata();
    if (found.format !== format) {
      throw new ImageUnsupportedError(`Cannot decode image: it begins as ${format} and is read as ${found.format}`);
    }
    const { width, height } = found.autoOrient;
    if (width * height > limits.maxPixels) throw tooManyPixels(limits, `${width} × ${height}`);
    return { format, width, height };
  } catch (error) {
    throw translate(error, format, limits);
  }
}

/** Decodes and scales in libvips, and keeps the window of the geometry. */
export async function decodeScaled(
  sharp: SharpModule,
  bytes: Uint8Array,
  header: ImageHeader,
  geometry: Geometry,
  resample: Resample,
  limits: DecodeLimits,
): Promise<Pixels> {
  const { resized, window } = geometry;
  const image = toSrgb(sharp(bytes, inputOptions(limits)))
    .resize(resized.width, resized.height, { fit: 'fill', kernel: KERNELS[resample], fastShrinkOnLoad: false })
    .extract({ left: window.left, top: window.top, width: window.width, height: window.height });
  return await toPixels(image, header, limits);
}

/** Decodes at full size. */
export async function decodeWhole(
  sharp: SharpModule,
  bytes: Uint8Array,
  header: ImageHeader,
  limits: DecodeLimits,
): Promise<Pixels> {
  return await toPixels(toSrgb(sharp(bytes, inputOptions(limits))), header, limits);
}

function inputOptions(limits: DecodeLimits): SharpOptions {
  return { failOn: 'error', limitInputPixels: limits.maxPixels, page: 0, pages: 1, autoOrient: true };
}

function toSrgb(image: Sharp): Sharp {
  return image.flatten({ background: WHITE }).toColourspace('srgb');
}

async function toPixels(image: Sharp, header: ImageHeader, limits: DecodeLimits): Promise<Pixels> {
  const seconds = Math.min(3600, Math.max(1, Math.ceil(limits.decodeTimeoutMs / 1000)));
  try {
    const { data, info } = await image
      .timeout({ seconds })
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true });
    return { data, width: info.width, height: info.height, channels: info.channels };
  } catch (error) {
    throw translate(error, header.format, limits);
  }
}

function tooManyPixels(limits: DecodeLimits, found: string, cause?: unknown): ImageTooLargeError {
  return new ImageTooLargeError(`Cannot decode image: at most ${limits.maxPixels} pixels are allowed, ${found}`, {
    cause,
  });
}

/** Gives libvips's failures their codes. */
function translate(error: unknown, format: ImageFormat, limits: DecodeLimits): unknown {
  if (error instanceof ImageUnsupportedError || error instanceof ImageTooLargeError || !(error instanceof Error))
    return error;
  const options = { cause: error };
  const message = (error.message.split('\n')[0] as string).slice(0, 200);
  if (/exceeds pixel limit/i.test(message)) return tooManyPixels(limits, 'it has more', error);
  if (/^timeout/i.test(message)) {
    return new ImageTimeoutError(
      `Cannot decode image: ${format} took longer than ${limits.decodeTimeoutMs} ms`,
      options,
    );
  }
  if (
    format === 'heif' &&
    /compression format|unsupported (?:image|codec|feature)|not been built|plugin/i.test(message)
  ) {
    return new ImageUnsupportedError(
      'Cannot decode image: of this family only AVIF is decoded, received another codec such as HEIC',
      options,
    );
  }
  return new ImageCorruptError(
    `Cannot decode image: the ${format} data is damaged or incomplete (${message})`,
    options,
  );
}
