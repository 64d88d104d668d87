/** Recognises image formats by content, and reads the headers of JPEG and HEIF that libvips reports late or not at all. */
import type { Size } from './scale.js';

/** The formats that are decoded. `heif` is AVIF and its relatives. */
export type ImageFormat = 'jpeg' | 'png' | 'webp' | 'gif' | 'heif' | 'tiff';

/** Brands of ISO media files with a still image. */
const HEIF_BRANDS: ReadonlySet<string> = new Set([
  ...['avif', 'avis', 'mif1', 'mif2', 'mif3', 'msf1', 'miaf', 'MA1A', 'MA1B'],
  ...['heic', 'heix', 'hevc', 'hevx', 'heim', 'heis', 'hevm', 'hevs', 'jpeg', 'j2ki', 'vvic', 'evbi'],
]);

const MAX_BRANDS_BYTES = 512;

/** The format by the first bytes; undefined when it is not supported. */
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

/** Describes unsupported content, for an error message. */
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

/** Whether an ISO media file has an image brand, as its major brand or among the compatible ones. */
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

const MARKER = 0xff;
const SCAN = 0xda;
const APP1 = 0xe1;
const APP2 = 0xe2;
const APP14 = 0xee;
/** Start-of-frame markers of baseline, extended and progressive Huffman JPEG. */
const FRAMES: ReadonlySet<number> = new Set([0xc0, 0xc1, 0xc2]);
/** Segments that affect neither size nor colours: tables, restart intervals, application data and comments. */
const SKIPPED: ReadonlySet<number> = new Set([
  ...[0xc4, 0xdb, 0xdd, 0xfe, APP1, APP2],
  ...Array.from({ length: 16 }, (_, index) => 0xe0 + index).filter((marker) => marker !== APP14),
]);

/**
 * The size of a plain JPEG from its markers, which saves a round trip through libvips. Undefined for any other JPEG (a profile, an orientation, CMYK,
 * damage): libvips reads those. Segments after the frame header are checked too, since one of them may hold an orientation.
 */
export function plainJpegSize(bytes: Uint8Array): Size | undefined {
  if (bytes[0] !== MARKER || bytes[1] !== 0xd8) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let size: Size | undefined;
  for (let at = 2; at + 10 <= bytes.length; ) {
    const marker = bytes[at + 1] as number;
    if (bytes[at] !== MARKER) return undefined;
    if (marker === SCAN) return size;
    if (FRAMES.has(marker)) {
      if (size !== undefined) return undefined;
      size = frameSize(view, at + 4);
      if (size === undefined) return undefined;
    } else if (!SKIPPED.has(marker) || isLeftToLibvips(marker, bytes, at + 4)) {
      return undefined;
    }
    at += 2 + view.getUint16(at + 2);
  }
  return undefined;
}

/** Reads a frame header: bits, height, width, number of components. */
function frameSize(view: DataView, at: number): Size | undefined {
  const [bits, height, width, colours] = [
    view.getUint8(at),
    view.getUint16(at + 1),
    view.getUint16(at + 3),
    view.getUint8(at + 5),
  ];
  if (bits !== 8 || (colours !== 1 && colours !== 3) || width === 0 || height === 0) return undefined;
  return { width, height };
}

function isLeftToLibvips(marker: number, bytes: Uint8Array, at: number): boolean {
  if (marker === APP1) return startsWith(bytes, at, 'Exif');
  return marker === APP2 && startsWith(bytes, at, 'ICC_PROFILE');
}

function startsWith(bytes: Uint8Array, at: number, text: string): boolean {
  return text === String.fromCharCode(...bytes.subarray(at, at + text.length));
}

/** What the header of a HEIF file says. */
export interface HeifPicture {
  /** The type of the item with the pixels, such as `av01` or `hvc1`; undefined without a still image, or when the file can't be read. */
  readonly codec: string | undefined;
  /** What the file holds in place of a still image, for an error message. */
  readonly instead: string | undefined;
}

interface Box {
  readonly type: string;
  readonly start: number;
  readonly end: number;
}

/** Item types that are derived from other items. */
const DERIVED: ReadonlySet<string> = new Set(['grid', 'iovl', 'iden', 'tmap']);
const MAX_ITEMS = 65_536;
const MAX_DEPTH = 4;

/**
 * Finds the codec of the still image in an ISO media file (AVIF, HEIC): `pitm` names the primary item, `iinf` the type of each item, and `iref` leads from
 * a grid to its tiles. libvips reports the codec only within an error text that may belong to another image.
 */
export function readHeifPicture(bytes: Uint8Array): HeifPicture {
  try {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const top = boxes(view, 0, bytes.byteLength);
    const meta = top.find(({ type }) => type === 'meta');
    if (meta !== undefined) return { codec: codecOf(view, boxes(view, meta.start + 4, meta.end)), instead: undefined };
    const has = (wanted: string): boolean => top.some(({ type }) => type === wanted);
    const instead = has('moov') ? 'a sequence' : has('mini') ? 'the low-overhead form of HEIF' : undefined;
    return { codec: undefined, instead };
  } catch (error) {
    if (error instanceof RangeError) return { codec: undefined, instead: undefined };
    throw error;
  }
}

function codecOf(view: DataView, parts: readonly Box[]): string | undefined {
  const primary = parts.find(({ type }) => type === 'pitm');
  const info = parts.find(({ type }) => type === 'iinf');
  if (primary === undefined || info === undefined) return undefined;
  const types = itemTypes(view, info);
  const references = parts.find(({ type }) => type === 'iref');
  const tiles = references === undefined ? new Map<number, number>() : derivations(view, references);
  let item = readId(view, primary.start + 4, view.getUint8(primary.start) > 0);
  for (let depth = 0; depth < MAX_DEPTH; depth++) {
    const type = types.get(item);
    const tile = tiles.get(item);
    if (type === undefined || !DERIVED.has(type) || tile === undefined) return type;
    item = tile;
  }
  return undefined;
}

function itemTypes(view: DataView, info: Box): Map<number, string> {
  const hasLongCount = view.getUint8(info.start) > 0;
  const types = new Map<number, string>();
  for (const { type, start } of boxes(view, info.start + (hasLongCount ? 8 : 6), info.end)) {
    const version = view.getUint8(start);
    if (type !== 'infe' || version < 2) continue;
    const isLong = version > 2;
    // The id is followed by a protection index of two bytes, which is skipped.
    const item = readId(view, start + 4, isLong);
    types.set(item, fourCharacters(view, start + (isLong ? 10 : 8)));
    if (types.size > MAX_ITEMS) break;
  }
  return types;
}

/** By derived item, the first item that it is made of. */
function derivations(view: DataView, references: Box): Map<number, number> {
  const isLong = view.getUint8(references.start) > 0;
  const size = isLong ? 4 : 2;
  const found = new Map<number, number>();
  for (const { type, start } of boxes(view, references.start + 4, references.end)) {
    if (type !== 'dimg' || view.getUint16(start + size) === 0) continue;
    found.set(readId(view, start, isLong), readId(view, start + size + 2, isLong));
  }
  return found;
}

function readId(view: DataView, at: number, isLong: boolean): number {
  return isLong ? view.getUint32(at) : view.getUint16(at);
}

/** The boxes in a range, without their headers. @throws RangeError When a box is shorter than its header, or a header lies outside the file. */
function boxes(view: DataView, from: number, to: number): Box[] {
  const found: Box[] = [];
  for (let at = from; at + 8 <= to; ) {
    const short = view.getUint32(at);
    const header = short === 1 ? 16 : 8;
    // Zero means up to the end of the file.
    const size = short === 1 ? Number(view.getBigUint64(at + 8)) : short === 0 ? to - at : short;
    if (size < header) throw new RangeError('a box is shorter than its header');
    found.push({ type: fourCharacters(view, at + 4), start: at + header, end: Math.min(to, at + size) });
    if (found.length > MAX_ITEMS) return found;
    at += size;
  }
  return found;
}

function fourCharacters(view: DataView, at: number): string {
  return String.fromCharCode(...[0, 1, 2, 3].map((index) => view.getUint8(at + index)));
}
