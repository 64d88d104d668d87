import type { Nats } from '../nats.js';
import type { NatsMessageLike } from '../nats-connection.js';
import { indexOf } from './names.js';

/** A job that was delivered to this worker and is not acknowledged yet. */
export class HeldJob {
  readonly run: string;
  readonly index: number;
  readonly data: Uint8Array;
  /** How often it was delivered, this time included. */
  readonly deliveries: number;
  /** How many jobs of the run wait behind it. */
  readonly behind: number;
  /** Aborts when the run is cancelled. */
  readonly abort: AbortController = new AbortController();
  readonly #nats: Nats;
  readonly #reply: string;

  constructor(nats: Nats, { subject, data, reply = '' }: NatsMessageLike) {
    this.#nats = nats;
    this.#reply = reply;
    this.data = data;
    this.index = indexOf(subject);
    this.run = subject.split('.')[3] ?? '';
    // $JS.ACK.[domain.account.]stream.consumer.deliveries.sequence.consumerSequence.time.pending[.random]
    const tokens = reply.split('.');
    const shift = tokens.length > 9 ? 2 : 0;
    this.deliveries = Number(tokens[4 + shift] ?? 1);
    this.behind = Number(tokens[8 + shift] ?? 0);
  }

  /** Tells the server that the job is done. Lost without a connection: then the job comes again, and its result is found. */
  acknowledge(): void {
    this.#say('+ACK');
  }

  /** Gives the job back. */
  giveBack(delayMs = 0): void {
    this.#say(delayMs === 0 ? '-NAK' : `-NAK {"delay": ${delayMs * 1_000_000}}`);
  }

  /** Tells the server that the job is still being worked on. */
  keep(): void {
    this.#say('+WPI');
  }

  #say(word: string): void {
    if (this.#nats.isConnected) this.#nats.publish(this.#reply, Buffer.from(word));
  }
}
