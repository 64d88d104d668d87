/**
 * Bodies on their way to the other side of a session: whole where they fit into a message, else in parts, and never more of them than the other side is
 * sure to take.
 *
 * Invariants:
 * - At most SESSION_BYTES are unanswered, and at most WINDOW parts of a body: a receiver that does not read would else stall its sender's connection, and
 *   with it all others. A body that is small counts for nothing, and never waits.
 * - A body is sent from its first part again where its message is sent again. What was received of it before counts.
 */

/** The size of a part. */
const PART_BYTES = 524_288;
/** How much of a message is left for its header, and for that of the bus. */
const HEADER_BYTES = 16_384;
/** How many parts of a body may be unanswered. */
const WINDOW = 4;
/** How many bytes may be unanswered in a session. */
const SESSION_BYTES = 4_194_304;
/** A body of less is not counted, and its arrival not told of. */
export const SMALL_BYTES = 65_536;
/** The largest body by default. */
export const MAX_BODY_BYTES = 33_554_432;

interface Transfer {
  readonly id: number;
  readonly body: Uint8Array;
  readonly partBytes: number;
  readonly parts: number;
  /** Sends the part of that index. */
  readonly sendPart: (index: number, part: Uint8Array) => void;
  sent: number;
  got: number;
}

/** How many parts a body has, where a message may have so many bytes. */
export function partsOf(bytes: number, maxPayload: number): number {
  return bytes <= maxPayload - HEADER_BYTES ? 1 : Math.ceil(bytes / partBytesOf(maxPayload));
}

function partBytesOf(maxPayload: number): number {
  return Math.max(1, Math.min(PART_BYTES, maxPayload - HEADER_BYTES));
}

/** The bodies that one side of a session sends. */
export class Transfers {
  readonly #transfers = new Map<number, Transfer>();
  #unanswered = 0;

  /** Sends a body, as soon as the other side can take it. One of the same id that is under way is given up. */
  send(id: number, body: Uint8Array, maxPayload: number, sendPart: Transfer['sendPart']): void {
    this.drop(id);
    const parts = partsOf(body.length, maxPayload);
    if (body.length < SMALL_BYTES && parts === 1) {
      sendPart(0, body);
      return;
    }
    const partBytes = parts === 1 ? body.length : partBytesOf(maxPayload);
    this.#transfers.set(id, { id, body, partBytes, parts, sendPart, sent: 0, got: 0 });
    this.#pump();
  }

  /** Whether a body is not received as a whole, as far as is known. */
  has(id: number): boolean {
    return this.#transfers.has(id);
  }

  /** The other side has received so many parts. */
  got(id: number, count: number): void {
    const transfer = this.#transfers.get(id);
    if (transfer === undefined) return;
    const got = Math.min(count, transfer.sent);
    while (transfer.got < got) {
      this.#unanswered -= lengthOf(transfer, transfer.got);
      transfer.got += 1;
    }
    if (transfer.got === transfer.parts) this.#transfers.delete(id);
    this.#pump();
  }

  /** Nothing more of a body is to be sent. */
  drop(id: number): void {
    const transfer = this.#transfers.get(id);
    if (transfer === undefined) return;
    this.#transfers.delete(id);
    for (let index = transfer.got; index < transfer.sent; index += 1) this.#unanswered -= lengthOf(transfer, index);
    this.#pump();
  }

  #pump(): void {
    for (const transfer of this.#transfers.values()) {
      while (transfer.sent < transfer.parts && transfer.sent - transfer.got < WINDOW) {
        const bytes = lengthOf(transfer, transfer.sent);
        if (this.#unanswered > 0 && this.#unanswered + bytes > SESSION_BYTES) return;
        const index = transfer.sent;
        const start = index * transfer.partBytes;
        transfer.sent += 1;
        this.#unanswered += bytes;
        transfer.sendPart(index, transfer.body.subarray(start, start + bytes));
      }
    }
  }
}

function lengthOf({ body, partBytes }: Transfer, index: number): number {
  return Math.min(partBytes, body.length - index * partBytes);
}

/** A body that is being received. */
export class Assembly {
  readonly parts: number;
  readonly bytes: number;
  readonly #received = new Map<number, Uint8Array>();

  /** @param bytes How many it has, which was checked. No memory is taken before the parts are there. */
  constructor(parts: number, bytes: number) {
    this.parts = parts;
    this.bytes = bytes;
  }

  /** How many parts have come, without a gap. */
  get got(): number {
    let count = 0;
    while (this.#received.has(count)) count += 1;
    return count;
  }

  /** Takes a part. Answers the body once it is whole; undefined before; null where it is not of the size that was said. */
  add(index: number, part: Uint8Array): Uint8Array | undefined | null {
    if (index >= this.parts || this.#received.has(index)) return undefined;
    if (this.parts === 1) return part.length === this.bytes ? part : null;
    // It may be a view of a larger buffer, which is not to wait with it.
    this.#received.set(index, part.slice());
    let bytes = 0;
    for (const each of this.#received.values()) bytes += each.length;
    if (bytes > this.bytes) return null;
    if (this.#received.size < this.parts) return undefined;
    if (bytes !== this.bytes) return null;
    const body = new Uint8Array(bytes);
    let position = 0;
    for (let each = 0; each < this.parts; each += 1) {
      const next = this.#received.get(each) as Uint8Array;
      body.set(next, position);
      position += next.length;
    }
    return body;
  }
}
