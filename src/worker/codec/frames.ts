import type { Socket } from 'node:net';
import { Deserializer, Serializer } from 'node:v8';
import type { LinkTransport, Parcel } from './link.js';

// A frame is one value on a stream of bytes, all numbers being unsigned, of 32 bits and little-endian:
//
//     a mark, length of the body, number of segments, body, length of each segment, segments
//
// The body is the value in V8's format. A large view is a segment of its own behind it, so that it is copied once on either side and arrives in
// memory of its own.
//
// Invariants:
// - a frame is written whole or, where its value can't be cloned, not at all;
// - where a frame ends is known without reading its value: one that can't be read does not concern the next;
// - what does not begin with the mark, or can't be held, is the end of the stream: where the next frame begins is not known then.

const HEADER_BYTES = 12;
const MARK = 0x6c72_6d01;
const LENGTH_AT = 4;
const COUNT_AT = 8;
const header = new Uint8Array(HEADER_BYTES);

/** How many large views a value may have. */
const MAX_SEGMENTS = 1_048_576;

/** From how many bytes on a view is a segment of its own. */
const SEGMENT_BYTES = 16_384;

const MAX_UINT32 = 2 ** 32 - 1;

type ViewConstructor = new (buffer: ArrayBuffer) => ArrayBufferView;

const viewNames = [
  'Int8Array',
  'Uint8Array',
  'Uint8ClampedArray',
  'Int16Array',
  'Uint16Array',
  'Int32Array',
  'Uint32Array',
  'Float32Array',
  'Float64Array',
  'BigInt64Array',
  'BigUint64Array',
  'DataView',
  // Of newer versions of Node.
  'Float16Array',
];
const viewConstructors = viewNames.map((name) => (globalThis as unknown as Record<string, ViewConstructor>)[name]);
const BUFFER = viewNames.length;

const nameOfTypedArray = Object.getOwnPropertyDescriptor(
  Object.getPrototypeOf(Uint8Array.prototype),
  Symbol.toStringTag,
)?.get as (this: unknown) => string | undefined;

function kindOf(view: ArrayBufferView): number {
  if (Buffer.isBuffer(view)) return BUFFER;
  return viewNames.indexOf(nameOfTypedArray.call(view) ?? 'DataView');
}

function dataCloneError(message: string): DOMException {
  return new DOMException(message, 'DataCloneError');
}

class FrameSerializer extends Serializer {
  /** The large views of the value, as they are now. */
  readonly segments: Buffer[] = [];

  constructor() {
    super();
    (this as unknown as NativeSerializer)._setTreatArrayBufferViewsAsHostObjects(true);
  }

  _getDataCloneError(message: string): DOMException {
    return dataCloneError(message);
  }

  _getSharedArrayBufferId(): never {
    throw dataCloneError('#<SharedArrayBuffer> could not be cloned.');
  }

  _writeHostObject(object: unknown): void {
    const kind = ArrayBuffer.isView(object) ? kindOf(object) : -1;
    if (kind < 0) throw dataCloneError(`${describe(object)} could not be cloned.`);
    const view = object as ArrayBufferView;
    const { byteLength } = view;
    if (byteLength > MAX_UINT32) throw dataCloneError(`A view of ${byteLength} bytes could not be cloned.`);
    const bytes = bytesOf(view);
    this.writeUint32(kind);
    this.writeUint32(byteLength);
    if (byteLength < SEGMENT_BYTES) {
      this.writeRawBytes(bytes);
    } else {
      // Taken now: what the sender does to its view afterwards is none of the receiver's business.
      const segment = Buffer.allocUnsafeSlow(byteLength);
      segment.set(bytes);
      this.segments.push(segment);
      if (this.segments.length > MAX_SEGMENTS) throw dataCloneError('So many views could not be cloned.');
    }
  }
}

function bytesOf(view: ArrayBufferView): Uint8Array {
  try {
    return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  } catch {
    throw dataCloneError('An ArrayBuffer is detached and could not be cloned.');
  }
}

interface NativeSerializer {
  _setTreatArrayBufferViewsAsHostObjects(value: boolean): void;
}

class FrameDeserializer extends Deserializer {
  readonly #segments: readonly Buffer[];
  #next = 0;

  constructor(body: Buffer, segments: readonly Buffer[]) {
    super(body);
    this.#segments = segments;
  }

  _readHostObject(): ArrayBufferView {
    const kind = this.readUint32();
    const byteLength = this.readUint32();
    const memory = byteLength < SEGMENT_BYTES ? this.#copy(byteLength) : this.#takeSegment();
    if (kind === BUFFER) return Buffer.from(memory);
    return new (viewConstructors[kind] as ViewConstructor)(memory);
  }

  /** A small view has memory of its own, too: what it came with would live as long as it does, and could be seen through it. */
  #copy(byteLength: number): ArrayBuffer {
    const { buffer, byteOffset } = this.readRawBytes(byteLength);
    return buffer.slice(byteOffset, byteOffset + byteLength) as ArrayBuffer;
  }

  #takeSegment(): ArrayBuffer {
    return (this.#segments[this.#next++] as Buffer).buffer as ArrayBuffer;
  }
}

/**
 * Makes a value a frame.
 *
 * @returns The bytes of the frame, in pieces.
 * @throws DataCloneError Or what a getter of the value throws.
 */
export function encodeFrame(value: unknown): readonly Buffer[] {
  const serializer = new FrameSerializer();
  serializer.writeRawBytes(header);
  serializer.writeHeader();
  serializer.writeValue(value);
  const body = serializer.releaseBuffer();
  const { segments } = serializer;
  body.writeUInt32LE(MARK, 0);
  body.writeUInt32LE(body.length - HEADER_BYTES, LENGTH_AT);
  body.writeUInt32LE(segments.length, COUNT_AT);
  if (segments.length === 0) return [body];
  const lengths = Buffer.allocUnsafe(4 * segments.length);
  segments.forEach((segment, index) => {
    lengths.writeUInt32LE(segment.length, 4 * index);
  });
  return [body, lengths, ...segments];
}

function decode(body: Buffer, segments: readonly Buffer[]): unknown {
  const deserializer = new FrameDeserializer(body, segments);
  deserializer.readHeader();
  return deserializer.readValue();
}

const none: readonly Buffer[] = Object.freeze([]);

/** Takes a stream of bytes apart into the values of its frames. */
export class FrameReader {
  readonly #onValue: (value: unknown) => void;
  readonly #onUnreadable: () => void;
  /** The piece of a frame that is being filled, and how far it is. */
  #piece: Buffer = Buffer.alloc(HEADER_BYTES);
  #filled = 0;
  #body: Buffer | undefined;
  #segmentCount = 0;
  #lengths: Buffer | undefined;
  #segments: Buffer[] = [];
  #isBroken = false;
  /** Resolves `received`. */
  #onReceived: (() => void) | undefined;
  #received: Promise<void> | undefined;

  /**
   * @param onValue Told of each value.
   * @param onUnreadable Told of a frame whose value can't be read.
   */
  constructor(onValue: (value: unknown) => void, onUnreadable: () => void) {
    this.#onValue = onValue;
    this.#onUnreadable = onUnreadable;
  }

  /** Resolves once the frame that has arrived in part is delivered, or never will be; undefined where there is none. */
  received(): Promise<void> | undefined {
    if (this.#isBroken || (this.#body === undefined && this.#filled === 0)) return undefined;
    this.#received ??= new Promise((resolve) => {
      this.#onReceived = resolve;
    });
    return this.#received;
  }

  /** No more bytes will come. */
  end(): void {
    this.#isBroken = true;
    this.#endReceived();
  }

  #endReceived(): void {
    this.#onReceived?.();
    this.#onReceived = undefined;
    this.#received = undefined;
  }

  /** Takes the next bytes. Nothing of them is kept afterwards. False when they are no frames: nothing can be read of this stream any more. */
  push(chunk: Buffer): boolean {
    try {
      if (!this.#isBroken) this.#read(chunk);
    } catch {
      this.end();
    }
    return !this.#isBroken;
  }

  #read(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#body === undefined && this.#filled === 0) {
        const end = this.#readWhole(chunk, at);
        if (end > at) {
          at = end;
          continue;
        }
      }
      const copied = chunk.copy(this.#piece, this.#filled, at);
      at += copied;
      this.#filled += copied;
      while (this.#filled === this.#piece.length) this.#advance();
    }
  }

  /** Reads a frame that lies in a chunk from end to end, as most do, from where it lies. Answers where the next begins. */
  #readWhole(chunk: Buffer, at: number): number {
    const bodyAt = at + HEADER_BYTES;
    if (bodyAt > chunk.length || chunk.readUInt32LE(at + COUNT_AT) !== 0) return at;
    requireMark(chunk, at);
    const end = bodyAt + chunk.readUInt32LE(at + LENGTH_AT);
    if (end > chunk.length) return at;
    this.#deliver(chunk.subarray(bodyAt, end), none);
    return end;
  }

  /** A piece is full: goes on to the next, or delivers the frame. */
  #advance(): void {
    if (this.#body === undefined) {
      requireMark(this.#piece, 0);
      this.#segmentCount = this.#piece.readUInt32LE(COUNT_AT);
      if (this.#segmentCount > MAX_SEGMENTS) throw new RangeError('Cannot read frame: it has too many segments');
      this.#body = Buffer.allocUnsafe(this.#piece.readUInt32LE(LENGTH_AT));
      this.#fill(this.#body);
    } else if (this.#lengths === undefined) {
      this.#lengths = Buffer.allocUnsafe(4 * this.#segmentCount);
      this.#fill(this.#lengths);
    } else if (this.#segments.length < this.#segmentCount) {
      const segment = Buffer.allocUnsafeSlow(this.#lengths.readUInt32LE(4 * this.#segments.length));
      this.#segments.push(segment);
      this.#fill(segment);
    } else {
      const body = this.#body;
      const segments = this.#segments;
      this.#body = undefined;
      this.#lengths = undefined;
      this.#segments = [];
      this.#fill(Buffer.alloc(HEADER_BYTES));
      this.#deliver(body, segments);
      this.#endReceived();
    }
  }

  #fill(piece: Buffer): void {
    this.#piece = piece;
    this.#filled = 0;
  }

  #deliver(body: Buffer, segments: readonly Buffer[]): void {
    let value: unknown;
    try {
      value = decode(body, segments);
    } catch {
      this.#onUnreadable();
      return;
    }
    try {
      this.#onValue(value);
    } catch (error) {
      // The receiver's own fault: the next frame is read all the same.
      process.nextTick(() => {
        throw error;
      });
    }
  }
}

function requireMark(bytes: Buffer, at: number): void {
  if (bytes.readUInt32LE(at) !== MARK) throw new TypeError('Cannot read frame: it has no mark');
}

function describe(value: unknown): string {
  return `#<${(value as { constructor?: { name?: unknown } } | null)?.constructor?.name ?? typeof value}>`;
}

/**
 * The transport between two processes: frames on sockets that only these two know. A channel of Node's own (`process.send`) would be open to whatever
 * the model imports, and one value that can't be read would be the end of it.
 *
 * One socket for each direction: a write to a process that has ended destroys the socket, and what that process has said before is still to be read.
 *
 * @param input Where messages come from.
 * @param output Where they go.
 */
export function socketTransport(input: Socket, output: Socket): LinkTransport {
  let reader: FrameReader | undefined;
  // The end of the other side shows as its exit.
  for (const socket of [input, output]) socket.on('error', () => {});
  return {
    canTransfer: false,
    received: () => reader?.received(),
    send(parcel) {
      const pieces = encodeFrame(parcel);
      if (!output.writable) return;
      if (pieces.length === 1) {
        output.write(pieces[0] as Buffer);
        return;
      }
      output.cork();
      for (const piece of pieces) output.write(piece);
      output.uncork();
    },
    subscribe(handler, onUnreadable) {
      const frames = new FrameReader((value) => handler(value as Parcel), onUnreadable);
      reader = frames;
      input.on('data', (chunk: Buffer) => {
        // Something else was written there: without a link the process is of no use, and its parent ends it.
        if (!frames.push(chunk)) input.destroy();
      });
      input.once('close', () => frames.end());
    },
  };
}
