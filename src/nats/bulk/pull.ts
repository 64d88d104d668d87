import { type JetStream, statusOf } from '../jetstream.js';
import type { NatsMessageLike, NatsSubscriptionLike } from '../nats-connection.js';
import { NANOSECONDS_PER_MS } from './streams.js';

/** What a pull asks for. */
export interface PullRequest {
  readonly stream: string;
  readonly consumer: string;
  /** The most messages. */
  readonly batch: number;
  /** How long it waits for them, in ms; 0 takes only what is there. */
  readonly waitMs: number;
  readonly onMessage: (message: NatsMessageLike) => void;
}

/** How a pull ended. */
export interface Pulled {
  readonly received: number;
  /** Whether the server says that the consumer or its stream does not exist. */
  readonly isGone: boolean;
}

/** How much later than the server a pull is given up, in ms. */
const LATE_MS = 2_000;
const CONFLICT = 409;
const NO_RESPONDERS = 503;

/** One request for jobs: it ends when all came, when the server says so, or when the connection is lost. */
export class Pull {
  /** How many messages may still come. */
  open: number;
  readonly done: Promise<Pulled>;
  #received = 0;
  #isEnded = false;
  #end: (pulled: Pulled) => void = () => {};
  readonly #subscription: NatsSubscriptionLike;
  readonly #timer: NodeJS.Timeout;
  readonly #unwatch: () => void;

  constructor(js: JetStream, request: PullRequest) {
    const { stream, consumer, batch, waitMs, onMessage } = request;
    const { nats } = js;
    this.open = batch;
    this.done = new Promise((resolve) => {
      this.#end = resolve;
    });
    const inbox = nats.createInbox();
    this.#subscription = nats.listen(inbox, (message) => {
      const status = statusOf(message);
      if (status === undefined) {
        this.#received += 1;
        this.open = Math.max(0, this.open - 1);
        onMessage(message);
        if (this.open === 0) this.#finish(false);
      } else if (status >= 400) {
        const text = message.headers?.description ?? '';
        this.#finish(status === NO_RESPONDERS || (status === CONFLICT && /deleted/i.test(text)));
      }
    });
    this.#timer = setTimeout(() => this.#finish(false), waitMs + LATE_MS);
    // The server forgets a pull with its connection.
    this.#unwatch = nats.onDisconnect(() => this.#finish(false));
    const ask = waitMs === 0 ? { batch, no_wait: true } : { batch, expires: waitMs * NANOSECONDS_PER_MS };
    nats.publish(`$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer}`, Buffer.from(JSON.stringify(ask)), { reply: inbox });
  }

  /** Ends it. Messages that are on their way still come to `onMessage`, before the promise resolves. */
  async stop(): Promise<void> {
    if (this.#isEnded) return;
    await this.#subscription.drain().catch(() => {});
    this.#finish(false);
  }

  #finish(isGone: boolean): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    clearTimeout(this.#timer);
    this.#unwatch();
    this.open = 0;
    try {
      this.#subscription.unsubscribe();
    } catch {
      // The connection is closed.
    }
    this.#end({ received: this.#received, isGone });
  }
}
