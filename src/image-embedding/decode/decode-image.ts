/** From encoded bytes to 8-bit sRGB pixels: what is decoded, how much of it, and what its failures are called. */
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

/** What of the limits concerns decoding. */
export type DecodeLimits = Pick<ImageLimits, 'maxPixels' | 'decodeTimeoutMs'> & Partial<Pick<ImageLimits, 'failOn'>>;

/** Interleaved 8-bit RGB pixels. */
export interface Pixels extends Size {
  readonly data: Uint8Array;
}

/** What an image's header says, orientation applied. */
export interface ImageHeader extends Size {
  readonly format: ImageFormat;
  /** Whether it carries a profile that only says sRGB, which need not be applied. */
  readonly isSrgb: boolean;
  /** Whether it may be transparent, in the band after its colours. */
  readonly hasAlpha: boolean;
  /** Of a TIFF: how its samples are kept. */
  readonly tiff?: TiffSamples | undefined;
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
  // In a TIFF a further band is whatever the file says, and nothing where it says nothing.
  const hasAlpha = tiff === undefined ? found.hasAlpha : tiff.alpha !== undefined;
  return { format, width, height, isSrgb, hasAlpha, tiff };
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
  const input = asKnown(bytes, header.format);
  let image = sharp(input, { ...inputOptions(limits, header.tiff), ignoreIcc: header.isSrgb }).toColourspace('srgb');
  if (header.tiff !== undefined && hasOtherBands(header.tiff)) {
    const whole = await toPixels(image, header, limits);
    return scaled === undefined ? whole : await resizePixels(sharp, whole, scaled);
  }
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
    // At 'error' libvips leaves a tile of a TIFF black that it can't decode.
    failOn: level === 'error' && tiff?.isTiled === true ? 'warning' : level,
    limitInputPixels: limits.maxPixels,
    ...(tiff === undefined ? {} : { limitInputChannels: Math.max(5, tiff.colours + tiff.extras) }),
    page: 0,
    pages: 1,
    autoOrient: true,
  };
}

/** Bands that sharp would take for transparency, or stumble over. */
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

/** HEIF is a container: of the pictures in it those of AVIF are decoded. */
function requireAv1(bytes: Uint8Array): void {
  const { codec, instead } = readHeifPicture(bytes);
  if (codec === AV1) return;
  const isHeic = /^(?:hei|hev)/.test(Buffer.from(bytes.subarray(8, 12)).toString('latin1'));
  // One that can't be read is damaged, as libvips will find.
  if (codec === undefined && instead === undefined && !isHeic) return;
  const what = instead ?? (isHeic || codec === 'hvc1' || codec === 'hev1' ? 'HEIC (HEVC)' : `the codec ${codec}`);
  throw new ImageUnsupportedError(
    `Cannot decode image: of this family only AVIF with a still picture is decoded, received ${what}`,
  );
}

const AV1 = 'av01';

/** libvips looks at the first brand alone, and does not know all those that AVIF files have there. */
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
 * Runs a call of libvips and gives its failure a code. libvips keeps the texts of its failures in one buffer for the whole process, so the text
 * of one image may be about another that is under way: neither code nor message is taken from it, and it is the cause alone.
 */
async function decoding<T>(format: ImageFormat, limits: DecodeLimits, run: () => Promise<T>): Promise<T> {
  const startedAt = performance.now();
  try {
    return await run();
  } catch (error) {
    throw translate(error, format, limits, performance.now() - startedAt);
  }
}

/** What glib says of a thread that the system does not give, whichever image it was for. */
const NO_THREAD = /creating thread|Resource temporarily unavailable/;

/** What sharp itself says, as the whole of its text, before libvips is asked. */
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

/** Grey becomes RGB, what is transparent is laid over white, and what comes after the third channel is dropped. */
function toRgb(data: Uint8Array, channels: number, tiff: TiffSamples | undefined): Uint8Array {
  const count = data.length / channels;
  const rgb = new Uint8Array(count * 3);
  const colours = channels - (tiff?.extras ?? (channels === 2 || channels > 3 ? 1 : 0));
  const [green, blue] = colours >= 3 ? [1, 2] : [0, 0];
  // One band of transparency alone was flattened by libvips, and is gone.
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
