import { RemoteProtocolError } from '../errors.js';
import type { ValueCodec } from './value-codec.js';

/** The version of the protocol: the first byte of every message. */
export const VERSION = 1;

/** How much of a message may be other than a value. */
const MAX_HEADER = 65_535;
const EMPTY: Uint8Array = new Uint8Array(0);

/**
 * What crosses between a caller and a host. A message is the version, the length of its header, the header, and a body, which is a value that is not
 * looked at before it is wanted. The header is an array: a kind, then its operands. Kinds that mean the same have the numbers they have on a worker's
 * link.
 *
 * A session is a caller's with one host, and its ids only rise. All of a call's messages carry its id; `0` is no call's. Every `Call` gets exactly one
 * final message (`Answer`, `Fault`, `End`, `Gone` or `Busy`), which gives its place back; it is sent again where the call comes again.
 *
 * Kinds that are unknown, and operands beyond the known ones, are ignored: a later version may add some.
 */
export const Kind = {
  // --- by the caller

  /**
   * `[Call, id, operation, class, ms left or null, due at the host's time or null, traceparent or null, parts, bytes, chunks that there is room for, class of
   * what still waits or null, round trip in ms or null]`, body: the input, or its first part.
   */
  Call: 1,
  /** `[Abort, id]`, body: the reason. */
  Abort: 2,
  /** `[Credit, id, n]`: the consumer of a stream has room for n more chunks. */
  Credit: 3,
  /** `[Probe, n, caller's time, class that waits or null, id, …]`: asks for a `Pong`. The ids are the calls that the caller takes the host to have. */
  Probe: 21,
  /** `[Decline, 0]`: no call waits for the place that was offered. */
  Decline: 22,
  /** `[Bye, 0]`: the caller is over; its calls are to be aborted. */
  Bye: 23,
  /** `[Who]`: asks all hosts of a service for a `Hello`. */
  Who: 24,

  // --- by either

  /** `[Part, id, index]`, body: a further part of an input, or of an output. */
  Part: 30,
  /** `[Got, id, how many parts came]`: further parts may be sent. */
  Got: 31,

  // --- by the host

  /** `[Answer, id, free places, parts, bytes]`, body: the output, or its first part. */
  Answer: 8,
  /** `[Fault, id, free places]`, body: the error. */
  Fault: 9,
  /** `[Chunk, id, how many came before]`, body. */
  Chunk: 10,
  /** `[End, id, free places, how many chunks there were]`. */
  End: 11,
  /** `[Gone, id, free places]`: final for a call that was given up, or whose moment had passed before it could be run. */
  Gone: 14,
  /** `[Busy, id, places, retry after ms]`: nothing was run. The caller is told by `Room` once there is a place. */
  Busy: 40,
  /** `[Room, 0, places, ms that it is kept]`: a place is kept for this caller. */
  Room: 41,
  /** `[Pong, n, caller's time, host's time, places, free places, whether the caller is on the waiting list, id, …]`: the ids are those probed that the host does not run. */
  Pong: 12,
  /** `[Lost, id]`: the call was run, or was aborted; what became of it is forgotten. */
  Lost: 42,
  /** `[Leaving, 0]`: the host takes no further calls, and finishes those it has. */
  Leaving: 43,
  /** `[Check, 0]`: nothing is to be done. The bus tells the host where the caller is gone. */
  Check: 45,
  /** `[Hello, name, instance, 'joined' | 'draining' | 'left', places]`: on the hello subject, and in answer to `Who`. */
  Hello: 44,
} as const;

/** A message that came in: its header, checked as far as its kind and id go, and the bytes of its body. */
export interface WireMessage {
  readonly kind: number;
  readonly id: number;
  readonly fields: readonly unknown[];
  readonly body: Uint8Array;
}

/** Writes a message. */
export function writeMessage(codec: ValueCodec, header: readonly unknown[], body: Uint8Array = EMPTY): Uint8Array {
  const head = codec.encodeHeader(header);
  if (head.length > MAX_HEADER) throw new RangeError('Cannot write message: its header is too long');
  const message = new Uint8Array(3 + head.length + body.length);
  message[0] = VERSION;
  message[1] = head.length >> 8;
  message[2] = head.length & 0xff;
  message.set(head, 3);
  message.set(body, 3 + head.length);
  return message;
}

/**
 * Reads a message, but not its body.
 *
 * @throws RemoteProtocolError When it is none, or of a version that is not spoken here.
 */
export function readMessage(codec: ValueCodec, bytes: Uint8Array): WireMessage {
  const [version, high, low] = bytes;
  if (version === undefined) throw new RemoteProtocolError('Cannot read message: it is empty');
  if (version !== VERSION) {
    throw new RemoteProtocolError(
      `Cannot read message: it is of version ${version} of the protocol, this side speaks version ${VERSION}`,
    );
  }
  if (high === undefined || low === undefined) throw new RemoteProtocolError('Cannot read message: it is cut off');
  const end = 3 + 256 * high + low;
  if (end > bytes.length) throw new RemoteProtocolError('Cannot read message: it is cut off');
  const fields = codec.decode(bytes.subarray(3, end));
  if (!Array.isArray(fields) || !Number.isSafeInteger(fields[0])) {
    throw new RemoteProtocolError('Cannot read message: its header is no list that begins with a kind');
  }
  const id = Number.isSafeInteger(fields[1]) && fields[1] >= 0 ? (fields[1] as number) : 0;
  return { kind: fields[0] as number, id, fields, body: bytes.subarray(end) };
}

/** An operand that is a whole number from 0 to `max`; `fallback` where it is none. */
export function countIn(
  fields: readonly unknown[],
  index: number,
  fallback: number = 0,
  max: number = Number.MAX_SAFE_INTEGER,
): number {
  const value = fields[index];
  return Number.isSafeInteger(value) && (value as number) >= 0 ? Math.min(value as number, max) : fallback;
}

/** An operand that is a finite number; undefined where it is none. */
export function numberIn(fields: readonly unknown[], index: number): number | undefined {
  const value = fields[index];
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined;
}

/** An operand that is a text; undefined where it is none. */
export function textIn(fields: readonly unknown[], index: number): string | undefined {
  const value = fields[index];
  return typeof value === 'string' ? value : undefined;
}
