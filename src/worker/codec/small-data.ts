import { types } from 'node:util';

const MAX_VALUES = 256;
const MAX_LEVELS = 3;

/**
 * Whether a value is small and flat data: primitives and buffers, and plain objects and arrays of a few of them. What is not, such as what nests
 * deeply, may be written by one side of a link and still not be read by the other, whose stack is smaller; so it travels alone.
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
  if (level === MAX_LEVELS) return Number.POSITIVE_INFINITY;
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
