import { types } from 'node:util';
import { forEachElement } from './elements.js';

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
