import type { Message } from './messages.js';

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
    close: () => outbox.close(),
  };
}

/** Called with the reason when a message could not be cloned. Nothing of it was sent. */
export type Refused = (reason: unknown) => void;

/** Sends a batch in one go, or throws before anything was sent. */
export type SendBatch = (batch: readonly Message[], transfer: readonly ArrayBuffer[]) => void;

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
