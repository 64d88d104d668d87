import { forEachElement } from '../byte-size.js';

import { types } from 'node:util';

/** Below this many bytes a copy costs less than a transfer. */
const MIN_BYTES = 16_384;

const MAX_DEPTH = 3;

/**
 * The buffers in a value that can be moved to another thread instead of copied: those of typed arrays, Buffers and ArrayBuffers that span
 * their whole buffer, in the value and in the plain objects and arrays of its first levels. A view of a part is left out, because moving its
 * buffer would take the rest away from whoever holds it (the pool that small Buffers share, for one).
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
