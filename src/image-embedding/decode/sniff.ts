/** What kind of file bytes are, by their first bytes alone: no name and no header is believed. */

/** The formats that are decoded. `heif` is AVIF and its relatives. */
export type ImageFormat = 'jpeg' | 'png' | 'webp' | 'gif' | 'heif' | 'tiff';

/** Brands of ISO media files that hold still images, or sequences that have one. */
const HEIF_BRANDS: ReadonlySet<string> = new Set([
  ...['avif', 'avis', 'mif1', 'mif2', 'mif3', 'msf1', 'miaf', 'MA1A', 'MA1B'],
  ...['heic', 'heix', 'hevc', 'hevx', 'heim', 'heis', 'hevm', 'hevs', 'jpeg', 'j2ki', 'vvic', 'evbi'],
]);

const MAX_BRANDS_BYTES = 512;

/** The format that the bytes begin as, or undefined when it is none that is decoded. */
export function sniffFormat(bytes: Uint8Array): ImageFormat | undefined {
  if (begins(bytes, 0xff, 0xd8, 0xff)) return 'jpeg';
  if (begins(bytes, 0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a)) return 'png';
  if (ascii(bytes, 0, 4) === 'RIFF' && ascii(bytes, 8, 4) === 'WEBP') return 'webp';
  if (ascii(bytes, 0, 6) === 'GIF87a' || ascii(bytes, 0, 6) === 'GIF89a') return 'gif';
  if (isHeif(bytes)) return 'heif';
  if (ascii(bytes, 0, 2) === 'II' && (bytes[2] === 42 || bytes[2] === 43) && bytes[3] === 0) return 'tiff';
  if (ascii(bytes, 0, 2) === 'MM' && bytes[2] === 0 && (bytes[3] === 42 || bytes[3] === 43)) return 'tiff';
  return undefined;
}

/** Names what the bytes look like instead, for a message. */
export function describeContent(bytes: Uint8Array): string {
  const start = ascii(bytes, 0, 512);
  if (/^\s*(?:<\?xml[^>]*>\s*)?(?:<!--[\s\S]*?-->\s*)*(?:<!doctype svg|<svg)/i.test(start)) return 'an SVG document';
  if (/^\s*(?:<!doctype html|<html|<head|<body)/i.test(start)) return 'an HTML page';
  if (start.startsWith('%PDF')) return 'a PDF document';
  if (start.startsWith('BM')) return 'a BMP image';
  if (start.startsWith('8BPS')) return 'a Photoshop document';
  if (start.startsWith('PK')) return 'a ZIP archive';
  if (begins(bytes, 0x1f, 0x8b)) return 'gzip data';
  if (begins(bytes, 0xff, 0x0a) || ascii(bytes, 4, 4) === 'JXL ') return 'a JPEG XL image';
  if (ascii(bytes, 4, 4) === 'jP  ') return 'a JPEG 2000 image';
  if (ascii(bytes, 4, 4) === 'ftyp') return 'a video';
  if (begins(bytes, 0, 0, 1, 0)) return 'an icon';
  if (/^[\t\n\r -~]+$/.test(start)) return 'text';
  return 'unknown data';
}

/** Whether an ISO media file calls itself a picture, in its first brand or, where that is of a family that also has films, in another. */
function isHeif(bytes: Uint8Array): boolean {
  if (ascii(bytes, 4, 4) !== 'ftyp') return false;
  if (HEIF_BRANDS.has(ascii(bytes, 8, 4))) return true;
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
  for (let at = 16; at + 4 <= Math.min(length, MAX_BRANDS_BYTES, bytes.byteLength); at += 4) {
    if (HEIF_BRANDS.has(ascii(bytes, at, 4))) return true;
  }
  return false;
}

function begins(bytes: Uint8Array, ...values: readonly number[]): boolean {
  return values.every((value, index) => bytes[index] === value);
}

function ascii(bytes: Uint8Array, start: number, length: number): string {
  return String.fromCharCode(...bytes.subarray(start, start + length));
}
