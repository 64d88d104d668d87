/**
 * A network in memory, for tests of what speaks over a {@link Bus}.
 *
 * Invariants:
 * - A message goes up a connection's lane to the server, and down the lane of each subscriber. A lane keeps the order of its messages, except those that
 *   are to be reordered.
 * - A connection that is cut off keeps its lanes as they are: what is on them arrives late, when it is healed, and the server takes it to be subscribed
 *   until then. One that is disconnected loses what is on them.
 */
import { type Clock, scheduleMacrotask, systemClock } from '../core/index.js';
import type { Bus, BusMessage, BusStatus, BusSubscription, PublishOptions, SubscribeOptions } from './bus.js';

/** Options of {@link SimulatedBus}. */
export interface SimulatedBusOptions {
  /** The time source: a `SimulatedClock`, as a rule. */
  readonly clock?: Clock | undefined;
  /** How long a message takes from a connection to the server, and again from there to a connection, in ms. 0 by default. */
  readonly delayMs?: (() => number) | undefined;
  /** Whether a message is lost. Never by default. */
  readonly isDropped?: ((message: { readonly subject: string; readonly data: Uint8Array }) => boolean) | undefined;
  /** Whether a message may be overtaken by later ones. Never by default, as with NATS. */
  readonly isReordered?: (() => boolean) | undefined;
  /** The most bytes of a message. 1 MiB by default. */
  readonly maxPayload?: number | undefined;
  /** A generator of numbers in [0, 1): which member of a group gets a message. */
  readonly random?: (() => number) | undefined;
}

/**
 * A simulated network with one server: it delays, reorders and drops messages as it is told, and its connections can be cut off, disconnected and ended.
 *
 * @example
 * ```ts
 * const network = new SimulatedBus({ clock: new SimulatedClock() });
 * const bus = network.connect();
 * bus.publish('no.listener', new Uint8Array()); // => true
 * bus.status; // => 'connected'
 * ```
 */
export class SimulatedBus {
  readonly clock: Clock;
  /** How many messages were published. */
  published = 0;
  /** How many of them were lost on the way. */
  dropped = 0;
  readonly #options: SimulatedBusOptions;
  readonly #connections = new Set<SimulatedConnection>();
  #isUp = true;

  constructor(options: SimulatedBusOptions = {}) {
    this.#options = options;
    this.clock = options.clock ?? systemClock;
  }

  get maxPayload(): number {
    return this.#options.maxPayload ?? 1_048_576;
  }

  get isUp(): boolean {
    return this.#isUp;
  }

  /** A new connection to it. */
  connect(): SimulatedConnection {
    const connection = new SimulatedConnection(this);
    this.#connections.add(connection);
    return connection;
  }

  /** Ends the server: every connection is disconnected, until `start()`. */
  stop(): void {
    this.#isUp = false;
    for (const connection of this.#connections) connection.disconnect();
  }

  /** Starts it again: every connection that was not disconnected for another reason is connected. */
  start(): void {
    this.#isUp = true;
    for (const connection of this.#connections) connection.reconnect();
  }

  /** @internal */
  nextDelayMs(): number {
    return this.#options.delayMs?.() ?? 0;
  }

  /** @internal */
  nextIsReordered(): boolean {
    return this.#options.isReordered?.() === true;
  }

  /** @internal */
  route(from: SimulatedConnection, message: BusMessage): void {
    if (this.#options.isDropped?.(message) === true) {
      this.dropped += 1;
      return;
    }
    let isTaken = false;
    const groups = new Map<string, Subscription[]>();
    for (const connection of this.#connections) {
      for (const subscription of connection.known) {
        if (!matches(subscription.tokens, message.subject)) continue;
        isTaken = true;
        const { queue } = subscription;
        if (queue === undefined) connection.deliver(subscription, message);
        else groups.set(queue, [...(groups.get(queue) ?? []), subscription]);
      }
    }
    for (const members of groups.values()) {
      const chosen = members[Math.floor((this.#options.random ?? Math.random)() * members.length)] as Subscription;
      chosen.connection.deliver(chosen, message);
    }
    if (isTaken || message.reply === undefined) return;
    const unread = { subject: message.reply, data: new Uint8Array(0), reply: undefined, isUndeliverable: true };
    for (const subscription of from.known) {
      if (matches(subscription.tokens, message.reply)) from.deliver(subscription, unread);
    }
  }

  /** @internal */
  forget(connection: SimulatedConnection): void {
    this.#connections.delete(connection);
  }
}

/** A connection to a {@link SimulatedBus}. */
export class SimulatedConnection implements Bus {
  /**
   * What the server takes it to be subscribed to.
   *
   * @internal
   */
  readonly known: Set<Subscription> = new Set();
  readonly #network: SimulatedBus;
  readonly #subscriptions = new Set<Subscription>();
  readonly #watchers = new Set<(status: BusStatus) => void>();
  #up: Lane;
  #down: Lane;
  #status: BusStatus = 'connected';
  #isCut = false;
  /** Rejects what waits for a flush when the connection is lost. */
  readonly #flushes = new Set<(error: Error) => void>();

  /** @internal */
  constructor(network: SimulatedBus) {
    this.#network = network;
    this.#up = new Lane(network);
    this.#down = new Lane(network);
  }

  get status(): BusStatus {
    return this.#status;
  }

  get maxPayload(): number {
    return this.#network.maxPayload;
  }

  publish(subject: string, data: Uint8Array, options?: PublishOptions): boolean {
    if (this.#status !== 'connected') return false;
    if (data.length > this.maxPayload) {
      throw new RangeError(`Cannot publish: data must be at most ${this.maxPayload} bytes, received ${data.length}`);
    }
    this.#network.published += 1;
    const { headers, reply } = options ?? {};
    // The publisher may write its bytes over.
    const message: BusMessage = {
      subject,
      data: data.slice(),
      reply,
      isUndeliverable: false,
      ...(headers === undefined ? {} : { headers }),
    };
    this.#up.send(() => this.#network.route(this, message));
    return true;
  }

  subscribe(subject: string, onMessage: (message: BusMessage) => void, options?: SubscribeOptions): BusSubscription {
    const subscription = new Subscription(this, subject, options?.queue, onMessage);
    this.#subscriptions.add(subscription);
    if (this.#status === 'connected') this.#up.send(() => this.known.add(subscription));
    return subscription;
  }

  async flush(): Promise<void> {
    if (this.#status !== 'connected') throw new Error(`Cannot flush: the bus is ${this.#status}`);
    await new Promise<void>((resolve, reject) => {
      this.#flushes.add(reject);
      const done = (): void => {
        this.#flushes.delete(reject);
        resolve();
      };
      this.#up.send(() => this.#down.send(done));
    });
  }

  watch(onStatus: (status: BusStatus) => void): () => void {
    this.#watchers.add(onStatus);
    return () => this.#watchers.delete(onStatus);
  }

  async close(): Promise<void> {
    if (this.#status === 'connected' && !this.#isCut) await this.flush().catch(() => {});
    this.end();
  }

  // --- what can happen to it

  /** Ends it without a word, as when its process is killed: nothing more is delivered, and the server takes it to be gone. */
  end(): void {
    if (this.#status === 'closed') return;
    this.#lose();
    this.#subscriptions.clear();
    this.#network.forget(this);
    this.#become('closed');
  }

  /** Cuts it off: the server does not notice, and what is sent either way arrives when it is healed. */
  cut(): void {
    this.#isCut = true;
    this.#up.hold(true);
    this.#down.hold(true);
  }

  /** Has all that was sent since it was cut off arrive now. */
  heal(): void {
    this.#isCut = false;
    this.#up.hold(false);
    this.#down.hold(false);
  }

  /** Breaks it: what is on its way is lost, and the server notices. */
  disconnect(): void {
    if (this.#status !== 'connected') return;
    this.#lose();
    this.#become('disconnected');
  }

  /** Connects it again, if the server is there. */
  reconnect(): void {
    if (this.#status !== 'disconnected' || !this.#network.isUp) return;
    for (const subscription of this.#subscriptions) this.known.add(subscription);
    this.#become('connected');
  }

  /** @internal */
  deliver(subscription: Subscription, message: BusMessage): void {
    // Each subscriber has bytes of its own.
    const own = { ...message, data: message.data.slice() };
    this.#down.send(() => {
      if (this.#subscriptions.has(subscription)) subscription.onMessage(own);
    });
  }

  /** @internal */
  endOf(subscription: Subscription): void {
    this.#subscriptions.delete(subscription);
    if (this.#status === 'connected') this.#up.send(() => this.known.delete(subscription));
  }

  /** @internal */
  async drainOf(subscription: Subscription): Promise<void> {
    if (this.#status === 'connected') {
      this.#up.send(() => this.known.delete(subscription));
      await this.flush().catch(() => {});
    }
    // The connection may have been lost meanwhile, and be there again.
    this.endOf(subscription);
  }

  #lose(): void {
    this.known.clear();
    this.#up.drop();
    this.#down.drop();
    this.#up = new Lane(this.#network);
    this.#down = new Lane(this.#network);
    for (const reject of this.#flushes) reject(new Error('Cannot flush: the connection was lost'));
    this.#flushes.clear();
  }

  #become(status: BusStatus): void {
    this.#status = status;
    for (const watcher of [...this.#watchers]) watcher(status);
  }
}

class Subscription implements BusSubscription {
  readonly connection: SimulatedConnection;
  readonly tokens: readonly string[];
  readonly queue: string | undefined;
  readonly onMessage: (message: BusMessage) => void;

  constructor(
    connection: SimulatedConnection,
    subject: string,
    queue: string | undefined,
    onMessage: (message: BusMessage) => void,
  ) {
    this.connection = connection;
    this.tokens = subject.split('.');
    this.queue = queue;
    this.onMessage = onMessage;
  }

  unsubscribe(): void {
    this.connection.endOf(this);
  }

  drain(): Promise<void> {
    return this.connection.drainOf(this);
  }
}

/** One direction of a connection. */
class Lane {
  readonly #network: SimulatedBus;
  /** In the order in which they arrive; `isDue` once their time has come. */
  readonly #waiting: { readonly arrive: () => void; isDue: boolean }[] = [];
  #isHeld = false;
  #isDropped = false;

  constructor(network: SimulatedBus) {
    this.#network = network;
  }

  send(arrive: () => void): void {
    const ms = this.#network.nextDelayMs();
    const entry = { arrive, isDue: false };
    const isOrdered = !this.#network.nextIsReordered();
    if (isOrdered) this.#waiting.push(entry);
    const due = (): void => {
      entry.isDue = true;
      if (!isOrdered) this.#waiting.unshift(entry);
      this.#run();
    };
    if (ms > 0) this.#network.clock.setTimer(due, ms);
    else scheduleMacrotask(due);
  }

  hold(isHeld: boolean): void {
    this.#isHeld = isHeld;
    this.#run();
  }

  drop(): void {
    this.#isDropped = true;
    this.#waiting.length = 0;
  }

  #run(): void {
    while (!this.#isHeld && !this.#isDropped && this.#waiting[0]?.isDue === true) this.#waiting.shift()?.arrive();
  }
}

function matches(pattern: readonly string[], subject: string): boolean {
  const tokens = subject.split('.');
  for (let index = 0; index < pattern.length; index += 1) {
    if (pattern[index] === '>') return tokens.length > index;
    if (tokens[index] === undefined || (pattern[index] !== '*' && pattern[index] !== tokens[index])) return false;
  }
  return tokens.length === pattern.length;
}
