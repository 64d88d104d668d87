/** Options of {@link Bus.publish}. */
export interface PublishOptions {
  /** Where an answer is to go. If the message has no subscriber, the bus itself says so on this subject: see {@link BusMessage.isUndeliverable}. */
  readonly reply?: string | undefined;
  /** Headers, for foreign clients; the protocol itself uses none. A bus that has none drops them. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

/** A message as a subscriber gets it. */
export interface BusMessage {
  readonly subject: string;
  /** Its bytes, which are the subscriber's to keep, but may be a view of a larger buffer. Empty where it is undeliverable. */
  readonly data: Uint8Array;
  /** The subject that its publisher gave for an answer. */
  readonly reply: string | undefined;
  /** Whether this is the bus's own word that a message published with this subject as its `reply` had no subscriber, so that nothing has read it. */
  readonly isUndeliverable: boolean;
  /** Headers, of a bus that has them and a message that has some. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

/** Options of {@link Bus.subscribe}. */
export interface SubscribeOptions {
  /** The name of a group: each message goes to one of its members, and no longer to each subscriber. */
  readonly queue?: string | undefined;
}

/** What was subscribed to. */
export interface BusSubscription {
  /** Ends it now: messages on their way are lost. */
  unsubscribe(): void;
  /**
   * Ends it without losing a message: resolves once all those that the bus had passed on before are delivered. While the bus is not connected it is the
   * same as `unsubscribe()`.
   *
   * **Cancel safety:** takes no signal.
   */
  drain(): Promise<void>;
}

/** How a bus is. `closed` is final. */
export type BusStatus = 'connected' | 'disconnected' | 'closed';

/**
 * What the remote layer needs of a network: publish and subscribe, by subjects, and nothing else. `millrace/nats` has one over a NATS connection,
 * {@link SimulatedBus} one in memory, on a simulated clock.
 *
 * A subject is a list of tokens with dots between them. In a subscription `*` stands for one token, and `>` as the last one for the rest.
 *
 * What an implementation promises:
 * - At most once: a message may be lost, without a word, while a connection breaks. None comes twice.
 * - Messages of one publisher come to a subscriber in the order in which they were published, whatever their subjects.
 * - A message that has no subscriber is reported to its `reply` subject, where the bus knows it. That may be late: an endpoint that was cut off is
 *   subscribed until the bus has noticed.
 * - Subscriptions outlive a lost connection: they are made again before the status is `connected` again.
 * - Callbacks are called one after another, never inside a call of `publish` or `subscribe`, and none after `unsubscribe()`. What one throws is the
 *   callback's own fault: an uncaught exception, and no other subscriber's.
 */
export interface Bus {
  /** How it is now. */
  readonly status: BusStatus;
  /** The most bytes that a message may have. It may change with a new connection. */
  readonly maxPayload: number;
  /**
   * Sends a message, without waiting for anything. It is on its way in the order of the calls.
   *
   * @returns False when the bus is not connected: then nothing is sent, and nothing kept to be sent later.
   * @throws RangeError When it has more than `maxPayload` bytes.
   */
  publish(subject: string, data: Uint8Array, options?: PublishOptions): boolean;
  /** Subscribes to a subject, which may have wildcards. A message that is published after the next `flush()` has resolved is not missed. */
  subscribe(subject: string, onMessage: (message: BusMessage) => void, options?: SubscribeOptions): BusSubscription;
  /**
   * Resolves once what was published and subscribed before has come to the bus. Rejects when the connection is lost meanwhile, or is not there.
   *
   * **Cancel safety:** takes no signal.
   */
  flush(): Promise<void>;
  /**
   * Calls back at each change of the status.
   *
   * @returns A function that ends it.
   */
  watch(onStatus: (status: BusStatus) => void): () => void;
  /**
   * Ends the connection, after what was published is on its way.
   *
   * **Cancel safety:** takes no signal; calling it again answers with the same promise.
   */
  close(): Promise<void>;
}
