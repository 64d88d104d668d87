/** Reads image headers and decodes to 8-bit sRGB pixels, within limits. Failures of libvips become errors with a code here. */
import { isError } from '../../core/index.js';
import {
  ImageCorruptError,
  ImageReadError,
  ImageTimeoutError,
  ImageTooLargeError,
  ImageUnsupportedError,
} from '../image-errors.js';
import type { ImageLimits } from '../sources/limits.js';
import { describeContent, type ImageFormat, plainJpegSize, readHeifPicture, sniffFormat } from './formats.js';
import type { Size } from './scale.js';
import type { ResizeOptions, Sharp, SharpModule, SharpOptions } from './sharp-loader.js';
import { isSrgbProfile } from './srgb-profile.js';
import { readTiffSamples, type TiffSamples } from './tiff-header.js';

/** The limits of decoding. */
export type DecodeLimits = Pick<ImageLimits, 'maxPixels' | 'decodeTimeoutMs'> & Partial<Pick<ImageLimits, 'failOn'>>;

/** Interleaved 8-bit RGB pixels. */
export interface Pixels extends Size {
  readonly data: Uint8Array;
}

/** An image's header, with its orientation applied to the size. */
export interface ImageHeader extends Size {
  readonly format: ImageFormat;
  /** Whether the image has an sRGB profile, which need not be applied. */
  readonly isSrgb: boolean;
  /** Whether the band after the colours is transparency. */
  readonly hasAlpha: boolean;
  /** The sample layout of a TIFF. */
  readonly tiff?: TiffSamples | undefined;
}

/** The filter of intermediate steps: it keeps the detail that the next step can show. */
export const STEP_RESIZE: ResizeOptions = {
  fit: 'fill',
  kernel: 'cubic',
  fastShrinkOnLoad: false,
};

const WHITE = { r: 255, g: 255, b: 255 };

/**
 * Reads the header: the format by its first bytes, then the size by libvips, or directly for a plain JPEG. Nothing is decoded, so an image that is too
 * large costs only its header.
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
  const tiff = format === 'tiff' ? readTiffSamples(bytes) : undefined;
  if (format === 'heif') requireAv1(bytes);
  const found = await decoding(format, limits, () =>
    sharp(asKnown(bytes, format), inputOptions(limits, tiff)).metadata(),
  );
  if (found.format !== format) {
    throw new ImageUnsupportedError(`Cannot decode image: it begins as ${format} and is read as ${found.format}`);
  }
  const { width, height } = found.autoOrient;
  requireFewPixels({ width, height }, limits);
  if (tiff !== undefined) requireFewBands({ width, height }, tiff, limits);
  const isSrgb = found.icc !== undefined && isSrgbProfile(found.icc);
  // In a TIFF an extra band is transparency only if the file declares it.
  const hasAlpha = tiff === undefined ? found.hasAlpha : tiff.alpha !== undefined;
  return { format, width, height, isSrgb, hasAlpha, tiff };
}

/**
 * Decodes to 8-bit sRGB, at full size or scaled to another.
 *
 * @param scaled The wanted size. A JPEG is read at the fraction that {@link readingFraction} returns.
 */
export async function decodePixels(
  sharp: SharpModule,
  bytes: Uint8Array,
  header: ImageHeader,
  limits: DecodeLimits,
  scaled?: Size,
): Promise<Pixels> {
  const input = asKnown(bytes, header.format);
  let image = sharp(input, { ...inputOptions(limits, header.tiff), ignoreIcc: header.isSrgb }).toColourspace('srgb');
  if (header.tiff !== undefined && hasOtherBands(header.tiff)) {
    const whole = await toPixels(image, header, limits);
    return scaled === undefined ? whole : await resizePixels(sharp, whole, scaled);
  }
  if (header.hasAlpha) image = image.flatten({ background: WHITE });
  if (scaled !== undefined) {
    // An extract of the whole image keeps sharp from reading a JPEG at a fraction.
    if (readingFraction(header, scaled) === 1)
      image = image.extract({ left: 0, top: 0, width: header.width, height: header.height });
    image = image.resize(scaled.width, scaled.height, STEP_RESIZE);
  }
  return await toPixels(image, header, limits);
}

/**
 * The fraction (1, 2, 4, 8) at which sharp reads an image before it scales it, which leaves at least a factor of two to the resize. It must divide
 * both sides evenly: libjpeg rounds odd sizes up, which would shift the image.
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

/** Scales an image to fit a square and encodes it as JPEG. Uses shrink-on-load, since a thumbnail need not match Pillow. */
export async function encodeThumbnail(
  sharp: SharpModule,
  bytes: Uint8Array,
  size: number,
  limits: DecodeLimits,
): Promise<Uint8Array> {
  const header = await readHeader(sharp, bytes, limits);
  const { format, tiff } = header;
  let image = sharp(asKnown(bytes, format), inputOptions(limits, tiff));
  if (tiff !== undefined && hasOtherBands(tiff)) {
    const { data, width, height } = await decodePixels(sharp, bytes, header, limits);
    image = sharp(data, { raw: { width, height, channels: 3 } });
  }
  return await decoding(format, limits, () =>
    image
      .flatten({ background: WHITE })
      .toColourspace('srgb')
      .resize({ width: size, height: size, fit: 'inside', withoutEnlargement: true })
      .timeout({ seconds: timeoutSeconds(limits) })
      .jpeg({ quality: 74 })
      .toBuffer(),
  );
}

/** Scales pixels to a size in libvips. */
export async function resizePixels(sharp: SharpModule, pixels: Pixels, { width, height }: Size): Promise<Pixels> {
  const raw = { width: pixels.width, height: pixels.height, channels: 3 } as const;
  const data = await sharp(pixels.data, { raw }).resize(width, height, STEP_RESIZE).raw().toBuffer();
  return { data, width, height };
}

function timeoutSeconds(limits: DecodeLimits): number {
  return Math.min(3600, Math.max(1, Math.ceil(limits.decodeTimeoutMs / 1000)));
}

function inputOptions(limits: DecodeLimits, tiff: TiffSamples | undefined): SharpOptions {
  const level = limits.failOn ?? 'error';
  return {
    // At 'error' libvips leaves TIFF tiles black that it can't decode.
    failOn: level === 'error' && tiff?.isTiled === true ? 'warning' : level,
    limitInputPixels: limits.maxPixels,
    ...(tiff === undefined ? {} : { limitInputChannels: Math.max(5, tiff.colours + tiff.extras) }),
    page: 0,
    pages: 1,
    autoOrient: true,
  };
}

/** Whether sharp would mistake the extra bands for transparency, or fail on them. */
function hasOtherBands({ extras, alpha }: TiffSamples): boolean {
  return extras > 1 || (extras === 1 && alpha === undefined);
}

async function toPixels(image: Sharp, header: ImageHeader, limits: DecodeLimits): Promise<Pixels> {
  const { data, info } = await decoding(header.format, limits, () =>
    image
      .timeout({ seconds: timeoutSeconds(limits) })
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true }),
  );
  const { width, height, channels } = info;
  return { data: channels === 3 ? data : toRgb(data, channels, header.tiff), width, height };
}

/** HEIF is a container of several codecs; only AV1 (AVIF) is decoded. */
function requireAv1(bytes: Uint8Array): void {
  const { codec, instead } = readHeifPicture(bytes);
  if (codec === AV1) return;
  const isHeic = /^(?:hei|hev)/.test(Buffer.from(bytes.subarray(8, 12)).toString('latin1'));
  // An unreadable file is damaged; libvips reports that.
  if (codec === undefined && instead === undefined && !isHeic) return;
  const what = instead ?? (isHeic || codec === 'hvc1' || codec === 'hev1' ? 'HEIC (HEVC)' : `the codec ${codec}`);
  throw new ImageUnsupportedError(
    `Cannot decode image: of this family only AVIF with a still picture is decoded, received ${what}`,
  );
}

const AV1 = 'av01';

/** libvips reads only the major brand and does not know all of AVIF's, so another one is replaced by `avif`. */
function asKnown(bytes: Uint8Array, format: ImageFormat): Uint8Array {
  if (format !== 'heif' || /^(?:avif|mif1|msf1)$/.test(Buffer.from(bytes.subarray(8, 12)).toString('latin1'))) {
    return bytes;
  }
  const copy = Buffer.from(bytes);
  copy.write('avif', 8, 'latin1');
  return copy;
}

function requireFewPixels({ width, height }: Size, limits: DecodeLimits): void {
  if (width * height > limits.maxPixels) throw tooManyPixels(limits, `${width} × ${height}`);
}

function requireFewBands({ width, height }: Size, { colours, extras }: TiffSamples, limits: DecodeLimits): void {
  const bands = colours + extras;
  if (bands <= 5 || width * height * bands <= 4 * limits.maxPixels) return;
  throw tooManyPixels(limits, `${width} × ${height} of ${bands} bands`);
}

function tooManyPixels(limits: DecodeLimits, found: string, cause?: unknown): ImageTooLargeError {
  return new ImageTooLargeError(`Cannot decode image: at most ${limits.maxPixels} pixels are allowed, ${found}`, {
    cause,
  });
}

/**
 * Runs a call of libvips and gives its failure a code. libvips has one error buffer for the process, so the text of one image may describe another one
 * that is decoded at the same time: it becomes the cause, and neither code nor message is derived from it.
 */
async function decoding<T>(format: ImageFormat, limits: DecodeLimits, run: () => Promise<T>): Promise<T> {
  const startedAt = performance.now();
  try {
    return await run();
  } catch (error) {
    throw translate(error, format, limits, performance.now() - startedAt);
  }
}

/** glib's text when no thread can be created. It is valid for any image. */
const NO_THREAD = /creating thread|Resource temporarily unavailable/;

/** sharp's own complete text; libvips is not involved. */
const TOO_MANY_PIXELS = 'Input image exceeds pixel limit';

function translate(cause: unknown, format: ImageFormat, limits: DecodeLimits, tookMs: number): unknown {
  if (!isError(cause)) return cause;
  if (cause.message === TOO_MANY_PIXELS) return tooManyPixels(limits, 'it has more', cause);
  if (tookMs >= limits.decodeTimeoutMs) {
    const text = `Cannot decode image: ${format} took longer than ${limits.decodeTimeoutMs} ms`;
    return new ImageTimeoutError(text, { cause });
  }
  if (NO_THREAD.test(cause.message)) {
    const text =
      'Cannot decode image: the decoder could not make a thread, raise the limit (ulimit -u, pids of the container)';
    return new ImageReadError(text, { cause });
  }
  return new ImageCorruptError(`Cannot decode image: the ${format} data is damaged or incomplete`, { cause });
}

/** Converts grey to RGB, composes transparency over white, and drops channels after the third. */
function toRgb(data: Uint8Array, channels: number, tiff: TiffSamples | undefined): Uint8Array {
  const count = data.length / channels;
  const rgb = new Uint8Array(count * 3);
  const colours = channels - (tiff?.extras ?? (channels === 2 || channels > 3 ? 1 : 0));
  const [green, blue] = colours >= 3 ? [1, 2] : [0, 0];
  // A single transparency band was flattened by libvips.
  const alpha = tiff?.alpha === undefined || !hasOtherBands(tiff) ? undefined : colours + tiff.alpha;
  for (let pixel = 0, from = 0, to = 0; pixel < count; pixel++, from += channels, to += 3) {
    rgb[to] = data[from] as number;
    rgb[to + 1] = data[from + green] as number;
    rgb[to + 2] = data[from + blue] as number;
    if (alpha !== undefined) layOverWhite(rgb, to, data[from + alpha] as number);
  }
  return rgb;
}

function layOverWhite(rgb: Uint8Array, at: number, alpha: number): void {
  for (let index = at; index < at + 3; index++) {
    rgb[index] = Math.round(((rgb[index] as number) * alpha + 255 * (255 - alpha)) / 255);
  }
}
