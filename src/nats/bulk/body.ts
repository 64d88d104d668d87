/**
 * The bytes of a job or of a result: the version, the length of the head, the head as JSON, then the value. Bytes and float32 vectors are written as
 * they are, little-endian; any other value is JSON in the head.
 */
import { endianness } from 'node:os';
import { BulkFormatError } from '../errors.js';

const VERSION = 1;
const PREFIX = 5;
const MAX_HEAD_BYTES = 1_000_000;

/** Facts about a value, beside it. */
export interface BodyHead {
  readonly name: string;
  /** Of a job. */
  readonly operation?: string | undefined;
  /** Of a result. */
  readonly outcome?: 'ok' | 'failed' | 'dead' | undefined;
  readonly error?: { readonly code: string; readonly message: string } | undefined;
}

type Kind = 'none' | 'bytes' | 'float32' | 'json' | 'parts';

interface WrittenHead extends BodyHead {
  readonly kind: Kind;
  readonly json?: unknown;
  readonly parts?: { readonly digest: string; readonly count: number; readonly bytes: number; readonly kind: Kind };
}

/** A body that was read. */
export interface Body {
  readonly head: BodyHead;
  readonly value: unknown;
}

/** Where the value of a body is, if it is not in it. */
export interface PartsOfBody {
  readonly digest: string;
  readonly count: number;
  readonly bytes: number;
}

/** Writes a body. @throws TypeError When the value can't be written as JSON. */
export function writeBody(head: BodyHead, value: unknown): Uint8Array {
  const [kind, bytes] = rawOf(value);
  const json = kind === 'json' ? { json: value } : {};
  return join({ ...head, kind, ...json }, bytes);
}

/** The bytes of a value, and what has to be said of them. */
export function rawOf(value: unknown): readonly [Kind, Uint8Array] {
  if (value === undefined) return ['none', new Uint8Array()];
  if (value instanceof Float32Array) return ['float32', bytesOfFloats(value)];
  if (value instanceof Uint8Array) return ['bytes', value];
  return ['json', new Uint8Array()];
}

/** Writes a body whose value is stored elsewhere. */
export function writeReference(head: BodyHead, value: unknown, parts: PartsOfBody): Uint8Array {
  return join({ ...head, kind: 'parts', parts: { ...parts, kind: rawOf(value)[0] } }, new Uint8Array());
}

/** Reads a body. @throws BulkFormatError When it is none, or of a later version. */
export function readBody(data: Uint8Array): Body & { readonly parts?: PartsOfBody & { readonly kind: Kind } } {
  const { head, bytes } = split(data);
  const { kind, json, parts, ...rest } = head;
  if (kind === 'parts' && parts !== undefined) return { head: rest, value: undefined, parts };
  return { head: rest, value: kind === 'json' ? json : valueOfBytes(kind, bytes) };
}

/** The value of bytes, in memory of its own. */
export function valueOfBytes(kind: Kind, bytes: Uint8Array): unknown {
  switch (kind) {
    case 'none':
      return undefined;
    case 'bytes':
      return new Uint8Array(bytes);
    case 'float32':
      return floatsOfBytes(bytes);
    default:
      throw new BulkFormatError(`Cannot read a message of a bulk run: unknown kind of value '${kind}'`);
  }
}

function join(head: WrittenHead, bytes: Uint8Array): Uint8Array {
  const text = Buffer.from(JSON.stringify(head));
  const body = Buffer.allocUnsafe(PREFIX + text.length + bytes.length);
  body.writeUInt8(VERSION, 0);
  body.writeUInt32LE(text.length, 1);
  body.set(text, PREFIX);
  body.set(bytes, PREFIX + text.length);
  return body;
}

function split(data: Uint8Array): { readonly head: WrittenHead; readonly bytes: Uint8Array } {
  const body = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  const version = body.length < PREFIX ? 0 : body.readUInt8(0);
  if (version !== VERSION) {
    throw new BulkFormatError(`Cannot read a message of a bulk run: expected version ${VERSION}, found ${version}`);
  }
  const length = body.readUInt32LE(1);
  const end = PREFIX + length;
  if (length > MAX_HEAD_BYTES || end > body.length) {
    throw new BulkFormatError('Cannot read a message of a bulk run: it is cut off');
  }
  let head: unknown;
  try {
    head = JSON.parse(body.toString('utf8', PREFIX, end));
  } catch (error) {
    throw new BulkFormatError('Cannot read a message of a bulk run: its head is not JSON', { cause: error });
  }
  const { name, kind } = (head ?? {}) as { name?: unknown; kind?: unknown };
  if (typeof name !== 'string' || typeof kind !== 'string') {
    throw new BulkFormatError('Cannot read a message of a bulk run: its head lacks a name or a kind');
  }
  return { head: head as WrittenHead, bytes: body.subarray(end) };
}

const isLittleEndian = endianness() === 'LE';

function bytesOfFloats(floats: Float32Array): Uint8Array {
  const bytes = Buffer.from(floats.buffer, floats.byteOffset, floats.byteLength);
  return isLittleEndian ? bytes : Buffer.from(bytes).swap32();
}

function floatsOfBytes(bytes: Uint8Array): Float32Array {
  if (bytes.byteLength % 4 !== 0) throw new BulkFormatError('Cannot read a vector: its bytes are no multiple of 4');
  const floats = new Float32Array(bytes.byteLength / 4);
  const target = Buffer.from(floats.buffer);
  target.set(bytes);
  if (!isLittleEndian) target.swap32();
  return floats;
}
