/**
 * Reads the sample layout of a TIFF from its tags. libvips refuses some layouts and decodes others into wrong colours, so only layouts that are known to
 * decode correctly are accepted.
 *
 * Invariants: only the first directory is read, as in libvips; an unreadable directory is left to libvips, which reports damage.
 */
import { ImageUnsupportedError } from '../image-errors.js';

/** The sample layout of a TIFF. */
export interface TiffSamples {
  /** Colour bands: 1 for grey and palettes, 3, or 4 for CMYK. */
  readonly colours: number;
  /** Bands after the colours. */
  readonly extras: number;
  /** The index of the extra band with the transparency; undefined when the file declares none. */
  readonly alpha: number | undefined;
  readonly isTiled: boolean;
}

const COMPRESSIONS: ReadonlyMap<number, string> = new Map([
  [6, 'old-style JPEG'],
  [9, 'JBIG'],
  [10, 'JBIG'],
  [34661, 'JBIG'],
  [34676, 'SGILog'],
  [34677, 'SGILog'],
  [32908, 'PixarFilm'],
  [32909, 'PixarLog'],
  [34712, 'JPEG 2000'],
  [34887, 'LERC'],
  [34925, 'LZMA'],
  [34933, 'PNG'],
  [50000, 'ZSTD'],
  [50002, 'JPEG XL'],
  [52546, 'JPEG XL'],
]);

const NONE = 1;
const JPEG = 7;
/** None, CCITT (Huffman, G3, G4, word-aligned), LZW, JPEG, deflate (two numbers), NeXT, PackBits, ThunderScan, WebP. */
const DECODED: ReadonlySet<number> = new Set([NONE, 2, 3, 4, 5, JPEG, 8, 32766, 32771, 32773, 32809, 32946, 50001]);

const WHITE_IS_ZERO = 0;
const BLACK_IS_ZERO = 1;
const RGB = 2;
const PALETTE = 3;
const CMYK = 5;
const YCBCR = 6;
const LAB = 8;
const PHOTOMETRICS: ReadonlyMap<number, string> = new Map([
  [4, 'a transparency mask'],
  [9, 'ICC L*a*b*'],
  [10, 'ITU L*a*b*'],
  [32803, 'a colour filter array'],
  [32844, 'LogL'],
  [32845, 'LogLuv'],
  [34892, 'linear raw'],
  [51177, 'depth'],
]);

const SAMPLE_FORMATS: ReadonlyMap<number, string> = new Map([
  [2, 'signed integers'],
  [3, 'floating point numbers'],
  [5, 'complex integers'],
  [6, 'complex numbers'],
]);

const SEPARATE_PLANES = 2;
const ASSOCIATED = 1;
const UNASSOCIATED = 2;

const TAG = {
  bitsPerSample: 258,
  compression: 259,
  photometric: 262,
  samplesPerPixel: 277,
  planarConfiguration: 284,
  tileWidth: 322,
  inkSet: 332,
  extraSamples: 338,
  sampleFormat: 339,
} as const;

/**
 * Reads the sample layout of a TIFF.
 *
 * @returns Undefined when the directory can't be read.
 * @throws {@link ImageUnsupportedError} when its layout would be decoded wrongly.
 */
export function readTiffSamples(bytes: Uint8Array): TiffSamples | undefined {
  const tags = readTags(bytes);
  if (tags === undefined) return undefined;
  const first = (tag: number, fallback: number): number => tags.get(tag)?.[0] ?? fallback;
  const photometric = first(TAG.photometric, -1);
  // libvips does not open a TIFF without it.
  if (photometric === -1) return undefined;
  const compression = first(TAG.compression, NONE);
  if (!DECODED.has(compression)) refuse(`${COMPRESSIONS.get(compression) ?? 'unknown'} compression (${compression})`);

  const bands = first(TAG.samplesPerPixel, 1);
  const depths = tags.get(TAG.bitsPerSample) ?? [1];
  const bits = depths[0] as number;
  const format = (tags.get(TAG.sampleFormat) ?? [1]).find((each) => each !== 1 && each !== 4);
  if (format !== undefined) refuse(`samples that are ${SAMPLE_FORMATS.get(format) ?? `of the format ${format}`}`);
  if (depths.some((each) => each !== bits)) refuse(`samples of different sizes (${depths.join(', ')} bits)`);

  const colours = coloursOf(photometric, bands, first(TAG.inkSet, 1));
  const isPacked = bits === 1 || bits === 2 || bits === 4;
  const mayBePacked = bands === 1 && photometric <= PALETTE && photometric !== RGB;
  const isDeep = bits === 16 && photometric !== PALETTE && photometric !== YCBCR;
  if (!(bits === 8 || isDeep || (isPacked && mayBePacked))) refuse(`samples of ${bits} bits`);
  if (photometric === LAB && bits === 8) refuse('L*a*b* samples of 8 bits');
  // Only libjpeg converts it to RGB.
  if (photometric === YCBCR && compression !== JPEG) refuse('YCbCr samples that are not in JPEG compression');

  const isTiled = tags.has(TAG.tileWidth);
  if (first(TAG.planarConfiguration, 1) === SEPARATE_PLANES && bands > 1) {
    if (isTiled) refuse('separate planes in tiles');
    if (compression === JPEG || photometric === YCBCR) refuse('separate planes in JPEG compression');
  }
  const extras = bands - colours;
  const kinds = tags.get(TAG.extraSamples) ?? [];
  const isAlpha = (kind: number): boolean => kind === ASSOCIATED || kind === UNASSOCIATED;
  // Two declared alpha bands are ambiguous.
  const alpha = kinds.filter(isAlpha).length === 1 ? kinds.slice(0, extras).findIndex(isAlpha) : -1;
  // libvips undoes premultiplication only for a single extra band.
  if (alpha >= 0 && kinds[alpha] === ASSOCIATED && extras > 1) {
    refuse('premultiplied transparency among other extra samples');
  }
  return { colours, extras, alpha: alpha < 0 ? undefined : alpha, isTiled };
}

function coloursOf(photometric: number, bands: number, inkSet: number): number {
  let colours: number;
  switch (photometric) {
    case WHITE_IS_ZERO:
    case BLACK_IS_ZERO:
    case PALETTE:
      colours = 1;
      break;
    case RGB:
    case YCBCR:
    case LAB:
      colours = 3;
      break;
    case CMYK:
      if (inkSet !== 1) refuse('inks other than CMYK');
      colours = 4;
      break;
    default:
      return refuse(`${PHOTOMETRICS.get(photometric) ?? 'an unknown meaning of samples'} (photometric ${photometric})`);
  }
  if (bands < colours) refuse(`${bands} bands where its colours need ${colours}`);
  if (bands > colours && (photometric === PALETTE || photometric === LAB || photometric === YCBCR)) {
    refuse(`${bands} bands, of which its colours need ${colours}`);
  }
  return colours;
}

function refuse(what: string): never {
  throw new ImageUnsupportedError(`Cannot decode image: this TIFF has ${what}, which is not decoded`);
}

/** Bytes of a value by TIFF type, for the types of the tags above. */
const TYPE_BYTES: ReadonlyMap<number, 1 | 2 | 4 | 8> = new Map([
  [1, 1],
  [3, 2],
  [4, 4],
  [16, 8],
]);
const MAX_ENTRIES = 4_096;
const MAX_VALUES = 1_024;
const WANTED: ReadonlySet<number> = new Set(Object.values(TAG));

/** The values of the tags above in the first directory; undefined when the directory exceeds the file. */
function readTags(bytes: Uint8Array): ReadonlyMap<number, readonly number[]> | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const little = bytes[0] === 0x49;
  const tags = new Map<number, readonly number[]>();
  const read = (at: number, size: 1 | 2 | 4 | 8): number => {
    if (size === 1) return view.getUint8(at);
    if (size === 2) return view.getUint16(at, little);
    return size === 4 ? view.getUint32(at, little) : Number(view.getBigUint64(at, little));
  };
  try {
    const isBig = read(2, 2) === 43;
    const word = isBig ? 8 : 4;
    const start = read(isBig ? 8 : 4, word);
    const count = Math.min(MAX_ENTRIES, read(start, isBig ? 8 : 2));
    const entries = start + (isBig ? 8 : 2);
    for (let index = 0; index < count; index++) {
      const entry = entries + index * (isBig ? 20 : 12);
      const tag = read(entry, 2);
      const size = TYPE_BYTES.get(read(entry + 2, 2));
      // Of duplicate tags libtiff takes the first.
      if (!WANTED.has(tag) || size === undefined || tags.has(tag)) continue;
      const length = Math.min(MAX_VALUES, read(entry + 4, word));
      const inline = entry + 4 + word;
      const values = length * size <= word ? inline : read(inline, word);
      tags.set(
        tag,
        Array.from({ length }, (_, at) => read(values + at * size, size)),
      );
    }
  } catch (error) {
    // An offset past the end.
    if (error instanceof RangeError) return undefined;
    throw error;
  }
  return tags;
}
