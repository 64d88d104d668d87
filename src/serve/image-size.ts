/** The width and height of an image as its header says, for answers that carry them. Orientation is not applied. */

/** What a header says. */
export interface ImageSize {
  readonly width: number;
  readonly height: number;
  readonly format: 'jpeg' | 'png' | 'gif' | 'webp' | 'avif' | 'tiff';
}

/** Reads the size of a JPEG, PNG, GIF, WebP, AVIF or TIFF; undefined where it is not found. */
export function readImageSize(bytes: Uint8Array): ImageSize | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  try {
    if (view.getUint32(0) === 0x89504e47) {
      return { width: view.getUint32(16), height: view.getUint32(20), format: 'png' };
    }
    if (view.getUint32(0) === 0x47494638) {
      return { width: view.getUint16(6, true), height: view.getUint16(8, true), format: 'gif' };
    }
    if (view.getUint16(0) === 0xffd8) return jpegSize(view);
    if (tag(view, 0) === 'RIFF' && tag(view, 8) === 'WEBP') return webpSize(view);
    if (tag(view, 4) === 'ftyp') return avifSize(view);
    if (view.getUint16(0) === 0x4949 || view.getUint16(0) === 0x4d4d) return tiffSize(view);
  } catch (error) {
    // The header is cut.
    if (!(error instanceof RangeError)) throw error;
  }
  return undefined;
}

function tag(view: DataView, at: number): string {
  return String.fromCharCode(view.getUint8(at), view.getUint8(at + 1), view.getUint8(at + 2), view.getUint8(at + 3));
}

/** The first frame header (SOF0 to SOF15, save for DHT, JPG and DAC, which lie between). */
function jpegSize(view: DataView): ImageSize | undefined {
  for (let at = 2; ; ) {
    if (view.getUint8(at) !== 0xff) return undefined;
    const marker = view.getUint8(at + 1);
    if (marker === 0xff) {
      at++;
      continue;
    }
    if (marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc) {
      return { width: view.getUint16(at + 7), height: view.getUint16(at + 5), format: 'jpeg' };
    }
    at += 2 + view.getUint16(at + 2);
  }
}

function webpSize(view: DataView): ImageSize | undefined {
  switch (tag(view, 12)) {
    case 'VP8 ':
      return { width: view.getUint16(26, true) & 0x3fff, height: view.getUint16(28, true) & 0x3fff, format: 'webp' };
    case 'VP8L': {
      const bits = view.getUint32(21, true);
      return { width: (bits & 0x3fff) + 1, height: ((bits >> 14) & 0x3fff) + 1, format: 'webp' };
    }
    case 'VP8X': {
      const uint24 = (at: number): number => view.getUint16(at, true) | (view.getUint8(at + 2) << 16);
      return { width: uint24(24) + 1, height: uint24(27) + 1, format: 'webp' };
    }
    default:
      return undefined;
  }
}

/** The largest `ispe` box, whatever it lies in: tiles and thumbnails have smaller ones. */
function avifSize(view: DataView): ImageSize | undefined {
  let found: ImageSize | undefined;
  const end = Math.min(view.byteLength - 16, 4_096);
  for (let at = 8; at < end; at++) {
    if (view.getUint32(at) !== 0x69737065) continue;
    const size = { width: view.getUint32(at + 8), height: view.getUint32(at + 12), format: 'avif' } as const;
    if (found === undefined || size.width * size.height > found.width * found.height) found = size;
  }
  return found;
}

function tiffSize(view: DataView): ImageSize | undefined {
  const isLittle = view.getUint16(0) === 0x4949;
  if (view.getUint16(2, isLittle) !== 42) return undefined;
  const start = view.getUint32(4, isLittle);
  const entries = view.getUint16(start, isLittle);
  let width: number | undefined;
  let height: number | undefined;
  for (let entry = 0; entry < entries; entry++) {
    const at = start + 2 + 12 * entry;
    const id = view.getUint16(at, isLittle);
    const value =
      view.getUint16(at + 2, isLittle) === 3 ? view.getUint16(at + 8, isLittle) : view.getUint32(at + 8, isLittle);
    if (id === 256) width = value;
    if (id === 257) height = value;
  }
  return width === undefined || height === undefined ? undefined : { width, height, format: 'tiff' };
}
