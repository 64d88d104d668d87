import { RemoteProtocolError } from '../errors.js';
import { Extension } from './extensions.js';

// Invariant: nothing is decoded that was not walked here first, so a hostile message costs no more memory than a small multiple of its own size, and no
// stack. The walk looks at lengths alone and makes no value.

/** How deep values may nest. */
const MAX_DEPTH = 64;
/** How many values a message may have: one byte may stand for an object of 56. */
const MAX_VALUES = 1_000_000;

/** Extensions that hold values themselves. */
const NESTED = new Set<number>([Extension.Map, Extension.Set, Extension.Error, Extension.RegExp]);

/**
 * Walks one msgpack value, and checks that it is complete, not too deep, and not of too many parts.
 *
 * @returns Where it ends.
 * @throws RemoteProtocolError When it is not.
 */
export function scanValue(bytes: Uint8Array, start: number, end: number = bytes.length): number {
  return new Scan(bytes, start, end).value(0);
}

class Scan {
  readonly #bytes: Uint8Array;
  readonly #end: number;
  #position: number;
  #values = 0;

  constructor(bytes: Uint8Array, start: number, end: number) {
    this.#bytes = bytes;
    this.#position = start;
    this.#end = end;
  }

  value(depth: number): number {
    if (depth > MAX_DEPTH) throw refused(`it nests deeper than ${MAX_DEPTH} levels`);
    if (++this.#values > MAX_VALUES) throw refused(`it has more than ${MAX_VALUES} values`);
    const head = this.#unsigned(1);
    if (head <= 0x7f || head >= 0xe0) return this.#position;
    if (head <= 0x8f) return this.#items(2 * (head & 0x0f), depth);
    if (head <= 0x9f) return this.#items(head & 0x0f, depth);
    if (head <= 0xbf) return this.#skip(head & 0x1f);
    switch (head) {
      case 0xc0:
      case 0xc2:
      case 0xc3:
        return this.#position;
      case 0xc4:
      case 0xd9:
        return this.#skip(this.#unsigned(1));
      case 0xc5:
      case 0xda:
        return this.#skip(this.#unsigned(2));
      case 0xc6:
      case 0xdb:
        return this.#skip(this.#unsigned(4));
      case 0xc7:
        return this.#extension(this.#unsigned(1), depth);
      case 0xc8:
        return this.#extension(this.#unsigned(2), depth);
      case 0xc9:
        return this.#extension(this.#unsigned(4), depth);
      case 0xcc:
      case 0xd0:
        return this.#skip(1);
      case 0xcd:
      case 0xd1:
        return this.#skip(2);
      case 0xca:
      case 0xce:
      case 0xd2:
        return this.#skip(4);
      case 0xcb:
      case 0xcf:
      case 0xd3:
        return this.#skip(8);
      case 0xd4:
      case 0xd5:
      case 0xd6:
      case 0xd7:
      case 0xd8:
        return this.#extension(2 ** (head - 0xd4), depth);
      case 0xdc:
        return this.#items(this.#unsigned(2), depth);
      case 0xdd:
        return this.#items(this.#unsigned(4), depth);
      case 0xde:
        return this.#items(2 * this.#unsigned(2), depth);
      case 0xdf:
        return this.#items(2 * this.#unsigned(4), depth);
      default:
        throw refused('it has a byte that begins no value');
    }
  }

  #items(count: number, depth: number): number {
    // A count that the bytes left cannot hold would have room made for it.
    if (count > this.#end - this.#position) throw refused('it is cut off');
    for (let index = 0; index < count; index += 1) this.value(depth + 1);
    return this.#position;
  }

  #extension(length: number, depth: number): number {
    const type = this.#unsigned(1);
    const start = this.#position;
    const end = this.#skip(length);
    if (!NESTED.has(type)) return end;
    this.#position = start;
    if (this.value(depth + 1) !== end) throw refused('an extension is not as long as it says');
    return end;
  }

  #skip(length: number): number {
    if (length > this.#end - this.#position) throw refused('it is cut off');
    this.#position += length;
    return this.#position;
  }

  #unsigned(size: number): number {
    const start = this.#position;
    this.#skip(size);
    let value = 0;
    for (let index = start; index < this.#position; index += 1) value = 256 * value + (this.#bytes[index] as number);
    return value;
  }
}

function refused(why: string): RemoteProtocolError {
  return new RemoteProtocolError(`Cannot read message: ${why}`);
}
