import type { MessagePort } from 'node:worker_threads';
import { monotonicNow } from '../../core/index.js';

/** A message as the two sides of a link exchange it: a kind, then its operands. */
export type Message = readonly unknown[];

/**
 * What crosses a link. Every message is an array: a kind, then its operands; arrays cost V8's serialiser less than objects with keys. Times are on the
 * clock that both sides share: a host that was blocked knows how late it is.
 *
 * Towards the host: `Init` once, then `Call`, `Abort`, `Credit`, `Ping`, `Recount`, `Close`; before it, to one that is started ahead, `Preload`.
 * Towards the handle: `Ready` or `LoadFailed` once, then `Taken`, `Answer`, `Fault`, `Chunk`, `End`, `Gone`, `Pong`, `Recounted`, `Closed`; `Preloaded`
 * for `Preload`; `Unreadable` at any time.
 *
 * Every `Call` gets exactly one final message (`Answer`, `Fault`, `End` or `Gone`), an aborted one too: it is what gives the model's place back.
 * A `Call`, `Answer` or `Chunk` that can't be read where it arrives is a call lost, or a chunk: the two sides then compare what they hold, and that call
 * is answered with an error.
 * A `Call` holds its place in the handle's queue until the host has begun it, which `Taken` or else its final message says.
 */
export const Kind = {
  /** `[Init, HostInit]` */
  Init: 0,
  /** `[Call, id, operation, input, due at or undefined, traceparent or undefined, sent at]` */
  Call: 1,
  /** `[Abort, id, EncodedError]`: the answer is not wanted any more, and why */
  Abort: 2,
  /** `[Credit, id, n]`: the consumer of a stream has room for n more chunks */
  Credit: 3,
  /** `[Ping, id]` */
  Ping: 4,
  /** `[Close]`: finish what was sent, dispose of the model, and end */
  Close: 5,
  /** `[Ready]` */
  Ready: 6,
  /** `[LoadFailed, EncodedError]` */
  LoadFailed: 7,
  /** `[Answer, id, value]` */
  Answer: 8,
  /** `[Fault, id, EncodedError]` */
  Fault: 9,
  /** `[Chunk, id, value, how many came before]` */
  Chunk: 10,
  /** `[End, id, how many chunks there were]` */
  End: 11,
  /** `[Pong, id, HostHealth]` */
  Pong: 12,
  /** `[Closed, EncodedError or undefined]`: the model is released (what `dispose` threw, if it did); the host ends next */
  Closed: 13,
  /** `[Gone, id, whether it had a result]`: final for a call that was given up or overdue before its method ended, or began */
  Gone: 14,
  /** `[Preload, url]`: import a model module, and have it make ready what it can */
  Preload: 15,
  /** `[Preloaded]`: that has been done, or has failed */
  Preloaded: 16,
  /** `[Taken, id, …]`: these calls have begun. Not sent for a call that is final in the turn in which it began. */
  Taken: 17,
  /** `[Unreadable]`: something has come that could not be read */
  Unreadable: 18,
  /** `[Recount, id, …]`: which calls the handle takes the host to hold, after something could not be read */
  Recount: 19,
  /** `[Recounted, (id, chunks sent)…]`: the answer; of a call that the host does not hold, -1 */
  Recounted: 20,
} as const;

/** What a host needs to know to load and run its worker. */
export interface HostInit {
  readonly workerId: string;
  /** URL of the model module. */
  readonly module: string;
  readonly options: unknown;
  /** Of which kind each operation is; the rest of a declaration stays behind. */
  readonly operations: Readonly<Record<string, 'unary' | 'stream'>>;
  /** Whether results are moved instead of copied, where the host can. */
  readonly transferResults: boolean;
}

/** What a host says of itself in answer to a ping; the calls are counted by the handle. */
export interface HostHealth {
  readonly uptimeMs: number;
  readonly pid: number;
  readonly rss: number;
  /** What the model's own `health()` said, if it has one. */
  readonly model?: unknown;
}

/** `process.hrtime` counts from one moment for every thread and process of a machine; `performance.now` from the start of its own. */
const OFFSET: number = measureOffset();

function measureOffset(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1_000 + nanoseconds / 1e6 - monotonicNow();
}

/**
 * Milliseconds on the operating system's monotonic clock (`CLOCK_MONOTONIC` on Linux, and its likes elsewhere), which both sides of a link share:
 * a difference of two of them is how long a message was on its way.
 */
export function sharedNow(): number {
  return monotonicNow() + OFFSET;
}

/** A time on the shared clock, in ms of this thread's `monotonicNow`. */
export function ownTime(sharedAt: number): number {
  return sharedAt - OFFSET;
}

/**
 * One side of a two-way pipe of messages between a worker's handle and its host. Messages arrive in order, in batches; a message that can't be
 * cloned is refused on the sending side and concerns no other.
 */
export interface Link {
  /** Queues a message; it leaves at the end of this turn. One that may not be readable on the other side is to go alone. */
  post(message: Message, refused?: Refused, transfer?: readonly ArrayBuffer[], isAlone?: boolean): void;
  /** Sends what is queued now: before something that may block the thread. */
  flush(): void;
  /** Sends at the end of this turn what `lastWord` says, if nothing else is to be sent. */
  schedule(): void;
  /** Sets what is asked, each time before messages are sent, whether there is one to go last. */
  lastWord(ask: () => Message | undefined): void;
  /** Whether buffers can be moved instead of copied. */
  readonly canTransfer: boolean;
  /** Sets the one receiver of batches. */
  receive(handler: (batch: readonly Message[]) => void): void;
  /** Sets who is told that something has come which can't be read. What it was is not known. */
  unreadable(handler: () => void): void;
  /** Resolves once the message that has arrived in part is complete; undefined where there is none, or the transport knows of none. */
  received(): Promise<void> | undefined;
  /** Sends nothing more. What was queued is dropped. */
  close(): void;
}

/** What crosses at once: several messages, or one, which is known by its kind. */
export type Parcel = readonly Message[] | Message;

/** What a link is made of: a way to send a parcel, and a way to be told of one. */
export interface LinkTransport {
  /** Sends, or throws before anything was sent. */
  readonly send: (parcel: Parcel, transfer: readonly ArrayBuffer[]) => void;
  readonly canTransfer: boolean;
  /** Resolves once the parcel that has arrived in part is complete; undefined where there is none. Absent where parcels arrive whole. */
  readonly received?: () => Promise<void> | undefined;
  /** `onUnreadable` is called in place of `handler` for a parcel that can't be read. */
  subscribe(handler: (parcel: Parcel) => void, onUnreadable: () => void): void;
}

/** Makes a link over a transport. */
export function createLink(transport: LinkTransport): Link {
  const { send } = transport;
  let onUnreadable: (() => void) | undefined;
  const outbox = new Outbox((batch, transfer) => send(batch.length === 1 ? (batch[0] as Message) : batch, transfer));
  return {
    canTransfer: transport.canTransfer,
    post: (message, refused, transfer, isAlone) => outbox.post(message, refused, transfer, isAlone),
    flush: () => outbox.flush(),
    schedule: () => outbox.schedule(),
    lastWord(ask) {
      outbox.lastWord = ask;
    },
    receive(handler) {
      transport.subscribe(
        (parcel) => handler(typeof parcel[0] === 'number' ? [parcel] : (parcel as readonly Message[])),
        () => onUnreadable?.(),
      );
    },
    unreadable(handler) {
      onUnreadable = handler;
    },
    received: () => transport.received?.(),
    close: () => outbox.close(),
  };
}

/** Called with the reason when a message could not be cloned. Nothing of it was sent. */
export type Refused = (reason: unknown) => void;

/** Sends a batch in one go, or throws before anything was sent. */
type SendBatch = (batch: readonly Message[], transfer: readonly ArrayBuffer[]) => void;

const none: readonly ArrayBuffer[] = Object.freeze([]);

interface Pending {
  readonly index: number;
  readonly refused: Refused | undefined;
  readonly transfer: readonly ArrayBuffer[] | undefined;
}

/**
 * Gathers what is posted during one turn of the event loop and sends it as one message.
 *
 * Invariants:
 * - order is kept: a batch is the messages in the order they were posted, and batches leave in order;
 * - the flush runs once the microtasks of the turn are done (`process.nextTick`), so answers that settle together leave together and nothing
 *   waits for a timer or for I/O;
 * - a message that can't be cloned is refused alone: its batch is sent again one message at a time;
 * - a message that may not be readable on the other side travels alone, so that no other is lost with it.
 */
export class Outbox {
  readonly #send: SendBatch;
  readonly #maxBatch: number;
  #batch: Message[] = [];
  #extras: Pending[] | undefined;
  #transfer: ArrayBuffer[] | undefined;
  #scheduled = false;
  #closed = false;
  /** Asked before a batch leaves whether there is something to go with it, as its last message. */
  lastWord: (() => Message | undefined) | undefined;
  readonly #flush = (): void => {
    this.#scheduled = false;
    this.flush();
  };

  /**
   * @param send Sends a batch.
   * @param maxBatch How many messages leave at once without waiting for the end of the turn. With a few dozen calls under way, batches of a few
   * keep both sides busy; batches of all of them make the sides take turns.
   */
  constructor(send: SendBatch, maxBatch = 8) {
    this.#send = send;
    this.#maxBatch = maxBatch;
  }

  /** Queues a message. @param isAlone Whether it must not share a batch: it leaves at once then, behind those that wait. */
  post(message: Message, refused?: Refused, transfer?: readonly ArrayBuffer[], isAlone = false): void {
    if (this.#closed) return;
    if (isAlone) this.flush();
    if (refused !== undefined || transfer !== undefined) {
      this.#extras ??= [];
      this.#extras.push({ index: this.#batch.length, refused, transfer });
      if (transfer !== undefined) {
        this.#transfer ??= [];
        this.#transfer.push(...transfer);
      }
    }
    this.#batch.push(message);
    if (isAlone) this.#sendBatch();
    else if (this.#batch.length >= this.#maxBatch) this.flush();
    else this.schedule();
  }

  /** Sends what there is at the end of the turn, a last word among it. */
  schedule(): void {
    if (this.#scheduled || this.#closed) return;
    this.#scheduled = true;
    process.nextTick(this.#flush);
  }

  /** Sends what is queued, and the last word behind it. */
  flush(): void {
    if (this.#closed) return;
    const lastWord = this.lastWord?.();
    if (lastWord !== undefined) this.#batch.push(lastWord);
    this.#sendBatch();
  }

  #sendBatch(): void {
    if (this.#batch.length === 0) return;
    const batch = this.#batch;
    const extras = this.#extras;
    const transfer = this.#transfer ?? none;
    this.#batch = [];
    this.#extras = undefined;
    this.#transfer = undefined;
    try {
      this.#send(batch, transfer);
    } catch (error) {
      this.#sendOneByOne(batch, extras, error);
    }
  }

  close(): void {
    this.#closed = true;
    this.#batch = [];
    this.#extras = undefined;
    this.#transfer = undefined;
  }

  #sendOneByOne(batch: readonly Message[], extras: readonly Pending[] | undefined, first: unknown): void {
    const byIndex = new Map(extras?.map((each) => [each.index, each]));
    for (const [index, message] of batch.entries()) {
      const extra = byIndex.get(index);
      let reason = first;
      if (batch.length > 1 || extra?.transfer !== undefined) {
        try {
          this.#send([message], extra?.transfer ?? none);
          continue;
        } catch (error) {
          reason = error;
        }
      }
      // A buffer that can't be moved (WebAssembly memory, the Buffer pool) may still be copied.
      if (extra?.transfer !== undefined) {
        try {
          this.#send([message], none);
          continue;
        } catch (error) {
          reason = error;
        }
      }
      extra?.refused?.(reason);
    }
  }
}

/**
 * The transport between two threads: a port of its own. The one that every thread has (`parentPort`) would be open to whatever the model imports.
 */
export function portTransport(port: MessagePort): LinkTransport {
  return {
    canTransfer: true,
    send(parcel, transfer) {
      port.postMessage(parcel, transfer.length === 0 ? undefined : transfer);
    },
    subscribe(handler, onUnreadable) {
      port.on('message', (parcel: Parcel) => handler(parcel));
      port.on('messageerror', onUnreadable);
    },
  };
}
