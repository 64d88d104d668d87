import { types } from 'node:util';
import type * as MsgPack from '@msgpack/msgpack';
import { isError } from '../../core/index.js';
import { MissingPackageError } from '../../pool/index.js';
import { decodeError, encodeError } from '../../worker/internal.js';
import { notCloneable, RemoteProtocolError } from '../errors.js';
import { readableError, sendableError } from './error-limits.js';
import { Extension, makeTypedArray, ownBuffer, typeOfArray } from './extensions.js';
import { scanValue } from './scan.js';

// Invariants:
// - What can be written can be read: depth and number of values are limited where a value is written as where it is read.
// - No part of a value that was read shares memory with the message, save a Uint8Array of at least SMALL_BYTES: a view of a few bytes would keep a whole
//   socket buffer alive.

const SMALL_BYTES = 65_536;
const MAX_DEPTH = 56;
const MAX_VALUES = 500_000;
/** Reading takes a time that grows with the square of the length. */
const MAX_DIGITS = 4_096;
/** A buffer that was needed once is not kept. */
const KEPT_BYTES = 1_000_000;
const EMPTY = new Uint8Array(0);

let loading: Promise<ValueCodec> | undefined;

/**
 * Loads the package that messages are written with, once.
 *
 * @throws MissingPackageError When `@msgpack/msgpack` is not installed.
 */
export function loadValueCodec(): Promise<ValueCodec> {
  loading ??= import('@msgpack/msgpack').then(
    (loaded) => new ValueCodec(loaded),
    (cause: unknown) => {
      loading = undefined;
      throw new MissingPackageError(
        "Cannot speak to other machines: the package '@msgpack/msgpack' must be installed (npm install @msgpack/msgpack)",
        { cause },
      );
    },
  );
  return loading;
}

/**
 * Writes and reads values as msgpack: all that JSON can say, and `undefined`, `NaN`, `-0`, BigInt, Date, RegExp, Map, Set, errors, ArrayBuffer, DataView
 * and typed arrays.
 *
 * As with structured clone an instance of a class arrives as a plain object, and functions and symbols are refused. Unlike there, an object that is
 * met twice arrives twice, and one that holds itself is refused.
 */
export class ValueCodec {
  readonly #msgpack: typeof MsgPack;
  readonly #options: MsgPack.EncoderOptions;
  #encoder: MsgPack.Encoder;
  // Of its own: a body that was written stays where it is while its header is written.
  readonly #headers: MsgPack.Encoder;
  readonly #decoder: MsgPack.Decoder;
  readonly #undefined: MsgPack.ExtData;
  readonly #negativeZero: MsgPack.ExtData;

  constructor(msgpack: typeof MsgPack) {
    this.#msgpack = msgpack;
    const extensionCodec: MsgPack.ExtensionCodecType<undefined> = {
      tryToEncode: (object) => (object instanceof msgpack.ExtData ? object : null),
      decode: (bytes, type) => this.#readExtension(bytes, type),
    };
    this.#options = { extensionCodec, maxDepth: MAX_DEPTH + 8 };
    this.#encoder = new msgpack.Encoder(this.#options);
    this.#headers = new msgpack.Encoder();
    this.#decoder = new msgpack.Decoder({ extensionCodec });
    this.#undefined = new msgpack.ExtData(Extension.Undefined, EMPTY);
    this.#negativeZero = new msgpack.ExtData(Extension.NegativeZero, EMPTY);
  }

  /**
   * Writes a value. The bytes are the caller's.
   *
   * @throws DOMException A DataCloneError, when it cannot be written.
   */
  encode(value: unknown): Uint8Array {
    return this.#write(value).slice();
  }

  /** The same as {@link ValueCodec.encode}, into bytes that hold only until the next value is written. */
  encodeShared(value: unknown): Uint8Array {
    return this.#write(value);
  }

  /** Writes a message's header, into bytes that hold only until the next one is written. It has nothing in it that msgpack has no type for. */
  encodeHeader(header: readonly unknown[]): Uint8Array {
    return this.#headers.encodeSharedRef(header);
  }

  /**
   * Reads the value that some bytes are.
   *
   * @throws RemoteProtocolError When they are none, or too large a one.
   */
  decode(bytes: Uint8Array): unknown {
    if (scanValue(bytes, 0) !== bytes.length) {
      throw new RemoteProtocolError('Cannot read message: something follows the value');
    }
    return this.#read(bytes);
  }

  #read(bytes: Uint8Array): unknown {
    try {
      return own(this.#decoder.decode(bytes));
    } catch (error) {
      if (error instanceof RemoteProtocolError) throw error;
      throw new RemoteProtocolError('Cannot read message: it is no value', { cause: error });
    }
  }

  #write(value: unknown): Uint8Array {
    const walk: Walk = new Walk((each, depth) => this.#prepareOdd(each, depth, walk));
    const bytes = this.#encoder.encodeSharedRef(walk.prepare(value, 0));
    if (bytes.length > KEPT_BYTES) this.#encoder = new this.#msgpack.Encoder(this.#options);
    return bytes;
  }

  /** What stands in the message for a value that msgpack has no type for; undefined for a plain object's likes. */
  #prepareOdd(value: unknown, depth: number, walk: Walk): unknown {
    const extension = (type: number, bytes: Uint8Array): MsgPack.ExtData => new this.#msgpack.ExtData(type, bytes);
    const nested = (type: number, content: unknown): MsgPack.ExtData =>
      extension(type, this.#encoder.encode(walk.prepare(content, depth + 1)));
    if (value === undefined) return this.#undefined;
    if (typeof value === 'number') return this.#negativeZero;
    if (typeof value === 'bigint') {
      const digits = value.toString();
      if (digits.length > MAX_DIGITS) throw notCloneable(`A BigInt of more than ${MAX_DIGITS} digits`);
      return extension(Extension.BigInt, Buffer.from(digits));
    }
    if (typeof value !== 'object' || value === null) throw notCloneable(`A ${typeof value}`);
    if (ArrayBuffer.isView(value)) {
      if (types.isSharedArrayBuffer(value.buffer)) throw notCloneable('Shared memory');
      const bytes = new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
      if (types.isDataView(value)) return extension(Extension.DataView, bytes);
      if (types.isUint8Array(value)) return bytes;
      const type = typeOfArray(value as NodeJS.TypedArray);
      if (type === undefined) throw notCloneable(`A ${(value as NodeJS.TypedArray)[Symbol.toStringTag]}`);
      return extension(type, bytes);
    }
    if (types.isArrayBuffer(value)) return extension(Extension.ArrayBuffer, new Uint8Array(value));
    if (types.isDate(value)) {
      const bytes = Buffer.alloc(8);
      bytes.writeDoubleBE(value.getTime());
      return extension(Extension.Date, bytes);
    }
    if (types.isMap(value)) return nested(Extension.Map, [...value].flat(1));
    if (types.isSet(value)) return nested(Extension.Set, [...value]);
    if (types.isRegExp(value)) return nested(Extension.RegExp, [value.source, value.flags]);
    if (isError(value)) return nested(Extension.Error, sendableError(encodeError(value)));
    if (types.isBoxedPrimitive(value)) return walk.prepare((value as { valueOf(): unknown }).valueOf(), depth);
    if (isHostObject(value)) throw notCloneable(`A ${Object.prototype.toString.call(value).slice(8, -1)}`);
    return undefined;
  }

  #readExtension(bytes: Uint8Array, type: number): unknown {
    switch (type) {
      case Extension.Undefined:
        return undefined;
      case Extension.NegativeZero:
        return -0;
      case Extension.BigInt:
        return readBigInt(bytes);
      case Extension.Date:
        if (bytes.length !== 8) break;
        return new Date(Buffer.from(bytes).readDoubleBE());
      case Extension.ArrayBuffer:
        return ownBuffer(bytes);
      case Extension.DataView:
        return new DataView(ownBuffer(bytes));
      case Extension.Map: {
        const content = this.#readList(bytes);
        if (content.length % 2 !== 0) break;
        const map = new Map<unknown, unknown>();
        for (let index = 0; index < content.length; index += 2) map.set(content[index], content[index + 1]);
        return map;
      }
      case Extension.Set:
        return new Set(this.#readList(bytes));
      case Extension.RegExp: {
        const [source, flags] = this.#readList(bytes);
        // No more than any caller could do with a string, and no match is tried here.
        if (typeof source !== 'string' || typeof flags !== 'string') break;
        return new RegExp(source, flags);
      }
      case Extension.Error:
        return decodeError(readableError(this.#read(bytes)));
      default: {
        const array = makeTypedArray(type, bytes);
        if (array !== undefined) return array;
      }
    }
    throw new RemoteProtocolError(`Cannot read message: extension ${type} cannot be read`);
  }

  #readList(bytes: Uint8Array): unknown[] {
    const list = this.#read(bytes);
    if (Array.isArray(list)) return list;
    throw new RemoteProtocolError('Cannot read message: a list was expected');
  }
}

/** Goes through a value before it is written, and copies of it what has something inside that msgpack has no type for. */
class Walk {
  readonly #prepareOdd: (value: unknown, depth: number) => unknown;
  #values = 0;

  constructor(prepareOdd: (value: unknown, depth: number) => unknown) {
    this.#prepareOdd = prepareOdd;
  }

  prepare(value: unknown, depth: number): unknown {
    if (depth > MAX_DEPTH) throw notCloneable(`A value that nests deeper than ${MAX_DEPTH} levels, or holds itself,`);
    if (++this.#values > MAX_VALUES) throw tooMany();
    switch (typeof value) {
      case 'string':
      case 'boolean':
        return value;
      case 'number':
        return Object.is(value, -0) ? this.#prepareOdd(value, depth) : value;
      case 'object':
        if (value === null) return null;
        if (Array.isArray(value)) return this.#prepareArray(value, depth);
        return isPlain(value)
          ? this.#prepareObject(value, depth)
          : (this.#prepareOdd(value, depth) ?? this.#prepareObject(value, depth));
      default:
        return this.#prepareOdd(value, depth);
    }
  }

  #prepareArray(array: readonly unknown[], depth: number): readonly unknown[] {
    if (array.length > MAX_VALUES) throw tooMany();
    let copy: unknown[] | undefined;
    for (let index = 0; index < array.length; index += 1) {
      const each = array[index];
      const prepared = this.prepare(each, depth + 1);
      if (copy === undefined && prepared === each) continue;
      copy ??= array.slice(0, index);
      copy.push(prepared);
    }
    return copy ?? array;
  }

  #prepareObject(object: object, depth: number): object {
    let copy: Record<string, unknown> | undefined;
    const keys = Object.keys(object);
    for (let index = 0; index < keys.length; index += 1) {
      const key = keys[index] as string;
      if (key === '__proto__') throw notCloneable("A property named '__proto__'");
      // Read once: it may be a getter.
      const each = (object as Record<string, unknown>)[key];
      const prepared = this.prepare(each, depth + 1);
      if (copy === undefined && prepared === each) continue;
      copy ??= Object.fromEntries(
        keys.slice(0, index).map((before) => [before, (object as Record<string, unknown>)[before]]),
      );
      copy[key] = prepared;
    }
    return copy ?? object;
  }
}

function tooMany(): DOMException {
  return notCloneable(`A value of more than ${MAX_VALUES} parts`);
}

function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** Whether what an object is stands in no property of it, so that a copy would be an empty one. */
function isHostObject(value: object): boolean {
  return (
    types.isPromise(value) ||
    types.isWeakMap(value) ||
    types.isWeakSet(value) ||
    types.isSharedArrayBuffer(value) ||
    types.isGeneratorObject(value) ||
    types.isProxy(value) ||
    value instanceof Blob ||
    value instanceof ReadableStream ||
    value instanceof AbortSignal
  );
}

/** Gives what was read memory of its own, in place. */
function own(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (types.isUint8Array(value)) return value.length < SMALL_BYTES ? new Uint8Array(ownBuffer(value)) : value;
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index += 1) {
      const each = value[index];
      if (typeof each === 'object') value[index] = own(each);
    }
  } else if (isPlain(value)) {
    const object = value as Record<string, unknown>;
    for (const key of Object.keys(object)) {
      const each = object[key];
      if (typeof each === 'object') object[key] = own(each);
    }
  }
  return value;
}

function readBigInt(bytes: Uint8Array): bigint {
  const text = Buffer.from(bytes).toString('latin1');
  if (text.length > MAX_DIGITS || !/^-?\d+$/.test(text)) {
    throw new RemoteProtocolError('Cannot read message: a BigInt was expected');
  }
  return BigInt(text);
}
