import { type Message, Outbox, type Refused, type SendBatch } from './outbox.js';

/**
 * One side of a two-way pipe of messages between a worker's handle and its host. Messages arrive in order, in batches; a message that can't be
 * cloned is refused on the sending side and concerns nobody else.
 */
export interface Link {
  /** Queues a message; it leaves at the end of this turn. */
  post(message: Message, refused?: Refused, transfer?: readonly ArrayBuffer[]): void;
  /** Sends what is queued now: before something that may block the thread. */
  flush(): void;
  /** Sends at the end of this turn what `lastWord` says, if nothing else is to be sent. */
  schedule(): void;
  /** Sets what is asked, each time before messages are sent, whether there is one to go last. */
  lastWord(ask: () => Message | undefined): void;
  /** Whether buffers can be moved instead of copied. */
  readonly canTransfer: boolean;
  /** Sets the one receiver. */
  receive(handler: (message: Message) => void): void;
  /** Sends nothing more. What was queued is dropped. */
  close(): void;
}

/** What a link is made of: a way to send a batch, and a way to be told of one. */
export interface LinkTransport {
  readonly send: SendBatch;
  readonly canTransfer: boolean;
  subscribe(handler: (batch: readonly Message[]) => void): void;
}

/** Makes a link over a transport. */
export function createLink(transport: LinkTransport): Link {
  const outbox = new Outbox(transport.send);
  return {
    canTransfer: transport.canTransfer,
    post(message, refused, transfer) {
      outbox.post(message, refused, transfer);
    },
    flush() {
      outbox.flush();
    },
    schedule() {
      outbox.schedule();
    },
    lastWord(ask) {
      outbox.lastWord = ask;
    },
    receive(handler) {
      transport.subscribe((batch) => {
        for (const message of batch) handler(message);
      });
    },
    close() {
      outbox.close();
    },
  };
}
