import { types } from 'node:util';
import { deserialize, serialize } from 'node:v8';

/** How deep values are looked into for what they hold. */
const MAX_DEPTH = 3;

/**
 * Roughly how many bytes a value holds: buffers, typed arrays, blobs and strings, in it and in the objects, arrays, maps and sets of its first
 * three levels. Enough to keep large inputs apart from small ones; not an exact measure.
 */
export function byteSizeOf(value: unknown): number {
  return measure(value, 0);
}

function measure(value: unknown, depth: number): number {
  if (typeof value === 'string') return value.length * 2;
  if (typeof value !== 'object' || value === null) return 8;
  if (ArrayBuffer.isView(value)) return value.byteLength;
  if (types.isAnyArrayBuffer(value)) return value.byteLength;
  if (typeof Blob === 'function' && value instanceof Blob) return value.size;
  let bytes = 16;
  if (depth === MAX_DEPTH) return bytes;
  if (Array.isArray(value)) {
    forEachElement(value, (each) => {
      bytes += measure(each, depth + 1);
    });
    return bytes;
  }
  if (types.isSet(value)) {
    for (const each of value) bytes += measure(each, depth + 1);
    return bytes;
  }
  if (types.isMap(value)) {
    for (const [key, each] of value) bytes += measure(key, depth + 1) + measure(each, depth + 1);
    return bytes;
  }
  for (const key of Object.keys(value)) bytes += measure((value as Record<string, unknown>)[key], depth + 1);
  return bytes;
}

/** After so many holes an array counts as sparse. */
const MANY_HOLES = 10_000;

/** Calls back with each element that is there: an array of a hundred million holes holds nothing, and is not walked. */
function forEachElement(array: readonly unknown[], visit: (element: unknown) => void): void {
  let holes = 0;
  for (let index = 0; index < array.length; index += 1) {
    const element = array[index];
    if (element !== undefined || index in array) visit(element);
    else holes += 1;
    if (holes > MANY_HOLES + index / 2) {
      for (const key of Object.keys(array)) if (Number(key) > index) visit(array[Number(key)]);
      return;
    }
  }
}

const MAX_VALUES = 256;

/**
 * Whether a value is small and flat data: primitives and buffers, and plain objects and arrays of a few of them. Other values, such as deeply
 * nested ones, may be written by one side of a link and not be readable by the other, whose stack is smaller; so they travel alone.
 */
export function isSmallData(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return true;
  if (ArrayBuffer.isView(value)) return true;
  try {
    return countValues(value, 0, 0) <= MAX_VALUES;
  } catch {
    // A getter or a proxy.
    return false;
  }
}

/** How many values there are, or too many. */
function countValues(value: unknown, level: number, before: number): number {
  if (typeof value !== 'object' || value === null) return before + 1;
  if (ArrayBuffer.isView(value) || types.isArrayBuffer(value)) return before + 1;
  if (level === MAX_DEPTH) return Number.POSITIVE_INFINITY;
  let count = before + 1;
  if (Array.isArray(value)) {
    // An array may have more to it than its elements.
    const isOdd = value.length > MAX_VALUES || Object.keys(value).length !== value.length;
    if (isOdd) return Number.POSITIVE_INFINITY;
    for (const each of value) count = countValues(each, level + 1, count);
    return count;
  }
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return Number.POSITIVE_INFINITY;
  for (const key in value) {
    count = countValues((value as Record<string, unknown>)[key], level + 1, count);
    if (count > MAX_VALUES) break;
  }
  return count;
}

/** Below this many bytes a copy costs less than a transfer. */
const MIN_BYTES = 16_384;

/**
 * The buffers in a value that can be moved to another thread instead of copied: those of typed arrays, Buffers and ArrayBuffers that span
 * their whole buffer, in the value and in the plain objects and arrays of its first levels. A view of a part is left out, because moving its
 * buffer would take the rest away from its other holders, such as the pool that small Buffers share.
 *
 * @returns The buffers, or undefined when there are none.
 */
export function findTransferable(value: unknown): ArrayBuffer[] | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  if (ArrayBuffer.isView(value)) {
    const buffer = movableBuffer(value);
    return buffer === undefined ? undefined : [buffer];
  }
  const found = new Set<ArrayBuffer>();
  try {
    collect(value, found, 0);
  } catch {
    // A getter or a proxy of the caller's. It will throw again when the value is cloned, where that refuses this one message.
    return undefined;
  }
  return found.size === 0 ? undefined : [...found];
}

/** A view's buffer, if it can be moved. */
function movableBuffer(view: ArrayBufferView): ArrayBuffer | undefined {
  const { byteLength } = view;
  if (byteLength < MIN_BYTES) return undefined;
  // Read once: the getter is a call into the engine.
  const { buffer } = view;
  return byteLength === buffer.byteLength && types.isArrayBuffer(buffer) ? buffer : undefined;
}

function collect(value: unknown, found: Set<ArrayBuffer>, depth: number): void {
  if (typeof value !== 'object' || value === null) return;
  if (ArrayBuffer.isView(value)) {
    const buffer = movableBuffer(value);
    if (buffer !== undefined) found.add(buffer);
    return;
  }
  if (types.isArrayBuffer(value)) {
    if (value.byteLength >= MIN_BYTES) found.add(value);
    return;
  }
  if (depth === MAX_DEPTH) return;
  if (Array.isArray(value)) {
    forEachElement(value, (each) => collect(each, found, depth + 1));
    return;
  }
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return;
  for (const key of Object.keys(value)) collect((value as Record<string, unknown>)[key], found, depth + 1);
}

/** How deep data may nest: far less than any stack allows, and far more than a report needs. */
const MAX_LEVELS = 16;

/** A copy of a value that can cross to any host, as data. What can't cross, or nests too deeply, is described in words. Never throws. */
export function plainCopy(value: unknown): unknown {
  if (value === null || value === undefined) return value;
  if (typeof value !== 'object' && typeof value !== 'function' && typeof value !== 'symbol') return value;
  try {
    // There and back: not everything that can be written can be read.
    const copy: unknown = deserialize(serialize(value));
    if (!nestsDeeper(copy, MAX_LEVELS, new Set())) return copy;
  } catch {
    // A function, a getter that throws, memory that is shared.
  }
  try {
    return String(value);
  } catch {
    return undefined;
  }
}

/** Whether plain data nests deeper than so many levels. */
function nestsDeeper(value: unknown, levels: number, seen: Set<unknown>): boolean {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value) || seen.has(value)) return false;
  if (levels === 0) return true;
  seen.add(value);
  for (const each of valuesOf(value)) if (nestsDeeper(each, levels - 1, seen)) return true;
  return false;
}

function valuesOf(value: object): Iterable<unknown> {
  if (value instanceof Map) return [...value.keys(), ...value.values()];
  return value instanceof Set ? value : Object.values(value);
}
