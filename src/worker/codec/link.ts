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

/** What crosses at once: several messages, or one, which is known by its kind. */
export type Parcel = readonly Message[] | Message;

/** What a link is made of: a way to send a parcel, and a way to be told of one. */
export interface LinkTransport {
  /** Sends, or throws before anything was sent. */
  readonly send: (parcel: Parcel, transfer: readonly ArrayBuffer[]) => void;
  /** Whether buffers can be moved instead of copied. */
  readonly canTransfer: boolean;
  /** Resolves once the parcel that has arrived in part is complete; undefined where there is none. Absent where parcels arrive whole. */
  readonly received?: () => Promise<void> | undefined;
  /** `onUnreadable` is called in place of `handler` for a parcel that can't be read. */
  subscribe(handler: (parcel: Parcel) => void, onUnreadable: () => void): void;
}

const none: readonly ArrayBuffer[] = Object.freeze([]);

/**
 * One side of a two-way pipe of messages between a worker's handle and its host. Messages that are posted during one turn of the event loop are sent
 * as one parcel.
 *
 * Invariants:
 * - messages arrive in the order in which they were posted;
 * - a parcel leaves once the microtasks of the turn are done (`process.nextTick`), so answers that settle together leave together and none waits for a
 *   timer or for I/O;
 * - a message that can't be cloned is refused alone: the rest of its parcel is sent one by one;
 * - a message that moves buffers, or that may not be readable on the other side, travels alone, at once and behind those that wait.
 */
export class Link {
  /** Asked before messages are sent whether there is one to go last. */
  lastWord: () => Message | undefined = () => undefined;
  /** Told of a message that could not be cloned, and why. Nothing of it was sent. */
  onRefused: (message: Message, reason: unknown) => void = () => {};
  /** Told that something has come which can't be read. What it was is not known. */
  onUnreadable: () => void = () => {};
  readonly #transport: LinkTransport;
  readonly #maxBatch: number;
  #receiver: ((batch: readonly Message[]) => void) | undefined;
  #batch: Message[] = [];
  #isScheduled = false;
  #isClosed = false;
  readonly #onTick = (): void => {
    this.#isScheduled = false;
    this.flush();
  };

  /**
   * @param maxBatch How many messages leave at once without waiting for the end of the turn. With a few dozen calls under way, batches of a few
   * keep both sides busy; batches of all of them make the sides take turns.
   */
  constructor(transport: LinkTransport, maxBatch = 8) {
    this.#transport = transport;
    this.#maxBatch = maxBatch;
  }

  get canTransfer(): boolean {
    return this.#transport.canTransfer;
  }

  /** Queues a message; it leaves at the end of this turn, or at once where it moves buffers or `isAlone`. */
  post(message: Message, transfer?: readonly ArrayBuffer[], isAlone = false): void {
    if (this.#isClosed) return;
    if (isAlone || transfer !== undefined) {
      this.flush();
      this.#sendOne(message, transfer);
      return;
    }
    this.#batch.push(message);
    if (this.#batch.length >= this.#maxBatch) this.flush();
    else this.schedule();
  }

  /** Sends at the end of this turn what is queued, and the last word behind it. */
  schedule(): void {
    if (this.#isScheduled || this.#isClosed) return;
    this.#isScheduled = true;
    process.nextTick(this.#onTick);
  }

  /** Sends now what is queued, and the last word behind it: before something that may block the thread. */
  flush(): void {
    if (this.#isClosed) return;
    const lastWord = this.lastWord();
    if (lastWord !== undefined) this.#batch.push(lastWord);
    const batch = this.#batch;
    if (batch.length === 0) return;
    this.#batch = [];
    if (batch.length === 1) {
      this.#sendOne(batch[0] as Message);
      return;
    }
    try {
      this.#transport.send(batch, none);
    } catch {
      for (const message of batch) this.#sendOne(message);
    }
  }

  /** Sets the one receiver of batches, in place of the one before. */
  receive(receiver: (batch: readonly Message[]) => void): void {
    const isFirst = this.#receiver === undefined;
    this.#receiver = receiver;
    if (!isFirst) return;
    this.#transport.subscribe(
      (parcel) => this.#receiver?.(typeof parcel[0] === 'number' ? [parcel] : (parcel as readonly Message[])),
      () => this.onUnreadable(),
    );
  }

  /** Resolves once the message that has arrived in part is complete; undefined where there is none, or the transport knows of none. */
  received(): Promise<void> | undefined {
    return this.#transport.received?.();
  }

  /** Sends nothing more. What was queued is dropped. */
  close(): void {
    this.#isClosed = true;
    this.#batch = [];
  }

  #sendOne(message: Message, transfer: readonly ArrayBuffer[] = none): void {
    try {
      this.#transport.send(message, transfer);
    } catch (error) {
      // A buffer that can't be moved (WebAssembly memory, the Buffer pool) may still be copied.
      if (transfer.length > 0) this.#sendOne(message);
      else this.onRefused(message, error);
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
