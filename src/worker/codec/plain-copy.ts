import { deserialize, serialize } from 'node:v8';

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
