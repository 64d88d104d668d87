/** From encoded bytes to 8-bit sRGB pixels: what is decoded, how much of it, and what its failures are called. */
import { ImageCorruptError, ImageTimeoutError, ImageTooLargeError, ImageUnsupportedError } from '../image-errors.js';
import type { ImageLimits } from '../sources/limits.js';
import type { Size } from './geometry.js';
import { plainJpegSize } from './jpeg-header.js';
import type { ResizeOptions, Sharp, SharpModule, SharpOptions } from './sharp-loader.js';
import { isSrgbProfile } from './srgb-profile.js';
import { describeContent, type ImageFormat, sniffFormat } from './sniff.js';

/** What of the limits concerns decoding. */
export type DecodeLimits = Pick<ImageLimits, 'maxPixels' | 'decodeTimeoutMs'>;

/** Interleaved 8-bit RGB pixels. */
export interface Pixels extends Size {
  readonly data: Uint8Array;
}

/** What an image's header says, orientation applied. */
export interface ImageHeader extends Size {
  readonly format: ImageFormat;
  /** Whether it carries a profile that only says sRGB, which need not be applied. */
  readonly isSrgb: boolean;
  /** Whether it may be transparent. */
  readonly hasAlpha: boolean;
}

/** How an image is scaled on its way to the size that counts: a filter that leaves alone what survives the next step. */
export const STEP_RESIZE: ResizeOptions = {
  fit: 'fill',
  kernel: 'cubic',
  fastShrinkOnLoad: false,
};

const WHITE = { r: 255, g: 255, b: 255 };

/**
 * Reads the header: the format by its first bytes, then the size by the loader of that format, unless a plain JPEG tells. Nothing is decoded, so
 * an image that is too large costs no more than its header.
 */
export async function readHeader(sharp: SharpModule, bytes: Uint8Array, limits: DecodeLimits): Promise<ImageHeader> {
  if (bytes.byteLength === 0) throw new ImageCorruptError('Cannot decode image: expected an image, received 0 bytes');
  const format = sniffFormat(bytes);
  if (format === undefined) {
    throw new ImageUnsupportedError(
      `Cannot decode image: expected JPEG, PNG, WebP, GIF, AVIF or TIFF, received ${describeContent(bytes)}`,
    );
  }
  const plain = format === 'jpeg' ? plainJpegSize(bytes) : undefined;
  if (plain !== undefined) {
    requireFewPixels(plain, limits);
    return { format, ...plain, isSrgb: false, hasAlpha: false };
  }
  try {
    const found = await sharp(bytes, inputOptions(limits)).metadata();
    if (found.format !== format) {
      throw new ImageUnsupportedError(`Cannot decode image: it begins as ${format} and is read as ${found.format}`);
    }
    const { width, height } = found.autoOrient;
    requireFewPixels({ width, height }, limits);
    const isSrgb = found.icc !== undefined && isSrgbProfile(found.icc);
    return { format, width, height, isSrgb, hasAlpha: found.hasAlpha };
  } catch (error) {
    throw translate(error, format, limits);
  }
}

/**
 * Decodes to 8-bit sRGB, at full size or scaled to another.
 *
 * @param scaled The size wanted. JPEG is read at the fraction that {@link readingFraction} says.
 */
export async function decodePixels(
  sharp: SharpModule,
  bytes: Uint8Array,
  header: ImageHeader,
  limits: DecodeLimits,
  scaled?: Size,
): Promise<Pixels> {
  let image = sharp(bytes, { ...inputOptions(limits), ignoreIcc: header.isSrgb }).toColourspace('srgb');
  if (header.hasAlpha) image = image.flatten({ background: WHITE });
  if (scaled !== undefined) {
    // A cut of the whole image does nothing but keep sharp from reading it at a fraction.
    if (readingFraction(header, scaled) === 1)
      image = image.extract({ left: 0, top: 0, width: header.width, height: header.height });
    image = image.resize(scaled.width, scaled.height, STEP_RESIZE);
  }
  return await toPixels(image, header, limits);
}

/**
 * The fraction (1, 2, 4, 8) at which sharp reads an image that is then scaled to a size, leaving at least a factor of two to the resize. Taken
 * only where it divides both sides evenly: libjpeg rounds odd sizes up, which would shift the picture.
 */
export function readingFraction({ format, width, height }: ImageHeader, scaled: Size): number {
  if (format !== 'jpeg') return 1;
  const fraction = sharpFraction(width, height, scaled);
  return width % fraction === 0 && height % fraction === 0 ? fraction : 1;
}

function sharpFraction(width: number, height: number, scaled: Size): number {
  const shrink = Math.min(width / scaled.width, height / scaled.height);
  return shrink >= 16 ? 8 : shrink >= 8 ? 4 : shrink >= 4 ? 2 : 1;
}

/** Scales an image to fit a square, and encodes it as JPEG. Shrinks while loading where the format can: it is for people to look at. */
export async function encodeThumbnail(
  sharp: SharpModule,
  bytes: Uint8Array,
  size: number,
  limits: DecodeLimits,
): Promise<Uint8Array> {
  const { format } = await readHeader(sharp, bytes, limits);
  try {
    return await sharp(bytes, inputOptions(limits))
      .flatten({ background: WHITE })
      .toColourspace('srgb')
      .resize({ width: size, height: size, fit: 'inside', withoutEnlargement: true })
      .timeout({ seconds: timeoutSeconds(limits) })
      .jpeg({ quality: 74 })
      .toBuffer();
  } catch (error) {
    throw translate(error, format, limits);
  }
}

function timeoutSeconds(limits: DecodeLimits): number {
  return Math.min(3600, Math.max(1, Math.ceil(limits.decodeTimeoutMs / 1000)));
}

function inputOptions(limits: DecodeLimits): SharpOptions {
  return { failOn: 'error', limitInputPixels: limits.maxPixels, page: 0, pages: 1, autoOrient: true };
}

async function toPixels(image: Sharp, header: ImageHeader, limits: DecodeLimits): Promise<Pixels> {
  try {
    const { data, info } = await image
      .timeout({ seconds: timeoutSeconds(limits) })
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true });
    return { data: info.channels === 3 ? data : toRgb(data, info.channels), width: info.width, height: info.height };
  } catch (error) {
    throw translate(error, header.format, limits);
  }
}

function requireFewPixels({ width, height }: Size, limits: DecodeLimits): void {
  if (width * height > limits.maxPixels) throw tooManyPixels(limits, `${width} × ${height}`);
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
  if (/timeout: \d+% complete/i.test(error.message)) {
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

/** Grey becomes RGB, and what comes after the third channel is dropped. */
function toRgb(data: Uint8Array, channels: number): Uint8Array {
  const count = data.length / channels;
  const rgb = new Uint8Array(count * 3);
  const green = channels >= 3 ? 1 : 0;
  const blue = channels >= 3 ? 2 : 0;
  for (let pixel = 0, from = 0, to = 0; pixel < count; pixel++, from += channels, to += 3) {
    rgb[to] = data[from] as number;
    rgb[to + 1] = data[from + green] as number;
    rgb[to + 2] = data[from + blue] as number;
  }
  return rgb;
}
