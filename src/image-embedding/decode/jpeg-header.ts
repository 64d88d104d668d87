/**
 * The size of a plain JPEG, straight from its markers: asking libvips takes another turn through its threads. Anything out of the ordinary (a
 * profile, an orientation, more than three colours, damage) is left to libvips, which decodes all of them anyhow.
 */
import type { Size } from './geometry.js';

const MARKER = 0xff;
const SCAN = 0xda;
const APP1 = 0xe1;
const APP2 = 0xe2;
const APP14 = 0xee;
/** Baseline, extended and progressive, of 8 bits by Huffman: what pictures are. */
const FRAMES: ReadonlySet<number> = new Set([0xc0, 0xc1, 0xc2]);
/** Segments without any say in how the picture looks: the other tables, restart intervals, applications' own and comments. */
const SKIPPED: ReadonlySet<number> = new Set([
  ...[0xc4, 0xdb, 0xdd, 0xfe, APP1, APP2],
  ...Array.from({ length: 16 }, (_, index) => 0xe0 + index).filter((marker) => marker !== APP14),
]);

/** The size in pixels; undefined for every JPEG that is not a plain one. What comes between frame and scan has a say, too: an orientation may. */
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

/** A frame begins with bits, height, width and colours. */
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
