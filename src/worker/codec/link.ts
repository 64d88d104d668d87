import type { Message } from './messages.js';
import { Outbox, type Refused } from './outbox.js';

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
