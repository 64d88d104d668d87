/**
 * Which codec the still picture of an ISO media file (AVIF, HEIC and their relatives) is in, by its boxes: `pitm` names the picture, `iinf` says
 * what each item is, and a grid's tiles are found through `iref`. libvips says it in the middle of other texts, or of another image's.
 */

/** The facts in a file's header, before it is decoded. */
export interface HeifPicture {
  /** The type of the item that holds the pixels, such as `av01` or `hvc1`; undefined when the file has no still picture, or can't be read. */
  readonly codec: string | undefined;
  /** What it is instead of a file with a still picture, for a message. */
  readonly instead: string | undefined;
}

interface Box {
  readonly type: string;
  readonly start: number;
  readonly end: number;
}

/** Items that are made of others. */
const DERIVED: ReadonlySet<string> = new Set(['grid', 'iovl', 'iden', 'tmap']);
const MAX_ITEMS = 65_536;
const MAX_DEPTH = 4;

/** Reads what the picture of a file is. */
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
    // The id, and a protection of two bytes that is not looked at.
    const item = readId(view, start + 4, isLong);
    types.set(item, fourCharacters(view, start + (isLong ? 10 : 8)));
    if (types.size > MAX_ITEMS) break;
  }
  return types;
}

/** The first item that each derived one is made of. */
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

/** The boxes between two places, without their headers. Throws RangeError when one ends beyond. */
function boxes(view: DataView, from: number, to: number): Box[] {
  const found: Box[] = [];
  for (let at = from; at + 8 <= to; ) {
    const short = view.getUint32(at);
    const header = short === 1 ? 16 : 8;
    // Nought means up to the end.
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
