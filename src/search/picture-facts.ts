/** What the head of a picture's file says of it: its size, and when, where and with what it was taken. */
import type { IndexItem } from './item.js';

/** All of it that is known. */
export type PictureFacts = Pick<IndexItem, 'width' | 'height' | 'taken' | 'lat' | 'lon' | 'camera'>;

/** What of a picture's container is used. */
interface Container {
  readonly width?: number;
  readonly height?: number;
  /** A TIFF header and what follows it, or `Exif\0\0` before it. */
  readonly exif?: Buffer;
}

type ReadExif = typeof import('exif-reader');

let reader: Promise<ReadExif | undefined> | undefined;

/**
 * Reads the head of a file. Facts that are missing, damaged or of another format are left out: the picture is indexed all the same.
 *
 * @param head The first bytes of a JPEG, PNG or WebP file.
 */
export async function pictureFacts(head: Buffer): Promise<PictureFacts> {
  try {
    const { width, height, exif } = containerOf(head);
    const size = width === undefined || height === undefined ? {} : { width, height };
    if (exif === undefined) return size;
    // An optional package: without it there are sizes, and no dates and places.
    reader ??= import('exif-reader').then(
      (module) => module.default as unknown as ReadExif,
      () => undefined,
    );
    const read = await reader;
    return read === undefined ? size : { ...size, ...exifFacts(read(exif), width, height) };
  } catch {
    return {};
  }
}

function containerOf(head: Buffer): Container {
  if (head.readUInt16BE(0) === 0xffd8) return jpeg(head);
  if (head.toString('latin1', 1, 4) === 'PNG') return png(head);
  if (head.toString('latin1', 0, 4) === 'RIFF' && head.toString('latin1', 8, 12) === 'WEBP') return webp(head);
  return {};
}

/** Segments of a marker and a length, up to the scan. */
function jpeg(head: Buffer): Container {
  let found: Container = {};
  for (let at = 2; at + 4 <= head.length && head[at] === 0xff; ) {
    const marker = head[at + 1] as number;
    const length = head.readUInt16BE(at + 2);
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (marker === 0xda) break;
    if (isFrame && at + 9 <= head.length) {
      return { ...found, height: head.readUInt16BE(at + 5), width: head.readUInt16BE(at + 7) };
    }
    if (marker === 0xe1 && head.toString('latin1', at + 4, at + 8) === 'Exif') {
      found = { exif: head.subarray(at + 4, at + 2 + length) };
    }
    at += 2 + length;
  }
  return found;
}

/** Chunks of a length and a name. */
function png(head: Buffer): Container {
  const size = { width: head.readUInt32BE(16), height: head.readUInt32BE(20) };
  for (let at = 8; at + 8 <= head.length; at += 12 + head.readUInt32BE(at)) {
    if (head.toString('latin1', at + 4, at + 8) !== 'eXIf') continue;
    return { ...size, exif: head.subarray(at + 8, at + 8 + head.readUInt32BE(at)) };
  }
  return size;
}

/** Its size alone: what else is known stands at its end. */
function webp(head: Buffer): Container {
  switch (head.toString('latin1', 12, 16)) {
    case 'VP8X':
      return { width: 1 + head.readUIntLE(24, 3), height: 1 + head.readUIntLE(27, 3) };
    case 'VP8 ':
      return { width: head.readUInt16LE(26) & 0x3fff, height: head.readUInt16LE(28) & 0x3fff };
    case 'VP8L': {
      const bits = head.readUInt32LE(21);
      return { width: 1 + (bits & 0x3fff), height: 1 + ((bits >>> 14) & 0x3fff) };
    }
    default:
      return {};
  }
}

function exifFacts(
  { Image, Photo, GPSInfo }: ReturnType<ReadExif>,
  width: number | undefined,
  height: number | undefined,
): PictureFacts {
  const date = Photo?.DateTimeOriginal ?? Photo?.DateTimeDigitized ?? Image?.DateTime;
  const taken = date instanceof Date && !Number.isNaN(date.getTime()) ? date.toISOString().slice(0, 19) : undefined;
  const lat = degrees(GPSInfo?.GPSLatitude, GPSInfo?.GPSLatitudeRef, 'S', 90);
  const lon = degrees(GPSInfo?.GPSLongitude, GPSInfo?.GPSLongitudeRef, 'W', 180);
  const camera = cameraOf(Image?.Make, Image?.Model);
  // From 5 on the picture lies on its side.
  const isTurned = Number(Image?.Orientation) >= 5 && Number(Image?.Orientation) <= 8;
  return {
    ...(isTurned && width !== undefined && height !== undefined ? { width: height, height: width } : {}),
    ...(taken === undefined ? {} : { taken }),
    ...(lat === undefined || lon === undefined ? {} : { lat, lon }),
    ...(camera === undefined ? {} : { camera }),
  };
}

/** Degrees, minutes and seconds as one number of six decimals, 10 cm; undefined where they are none. */
function degrees(parts: unknown, reference: unknown, negative: string, most: number): number | undefined {
  if (!Array.isArray(parts)) return undefined;
  const [whole = Number.NaN, minutes = 0, seconds = 0] = parts.map(Number);
  const value = whole + minutes / 60 + seconds / 3600;
  if (!(value >= 0 && value <= most)) return undefined;
  return Number((reference === negative ? -value : value).toFixed(6));
}

/** `Canon EOS R6` of `Canon` and `Canon EOS R6`, `Google Pixel 8` of `Google` and `Pixel 8`. */
function cameraOf(make: unknown, model: unknown): string | undefined {
  const [maker, name] = [make, model].map((each) =>
    typeof each === 'string' ? each.replace(/\0.*$/s, '').replace(/\s+/g, ' ').trim().slice(0, 100) : '',
  ) as [string, string];
  const [first = ''] = maker.split(' ');
  const isNamed = name.toLowerCase().startsWith(first.toLowerCase());
  return (isNamed ? name : `${maker} ${name}`).trim() || undefined;
}
