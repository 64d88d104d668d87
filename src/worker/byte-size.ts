import { types } from 'node:util';

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

/** After so many holes an array is taken for sparse. */
const MANY_HOLES = 10_000;

/** Calls back with each element that is there: an array of a hundred million holes holds nothing, and is not walked. */
export function forEachElement(array: readonly unknown[], visit: (element: unknown) => void): void {
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
