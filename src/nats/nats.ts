import { randomBytes } from 'node:crypto';
import type { Bus, BusMessage, BusStatus, BusSubscription, PublishOptions, SubscribeOptions } from '../remote/index.js';
import type { ClientPackage } from './client-package.js';
import { NatsConnectionError, NatsServerError } from './errors.js';
import type {
  NatsConnectionLike,
  NatsHeadersLike,
  NatsMessageLike,
  NatsServerInfoLike,
  NatsSubscriptionLike,
} from './nats-connection.js';

const inspect = Symbol.for('nodejs.util.inspect.custom');

/** What a server takes unless it says otherwise. */
const DEFAULT_MAX_PAYLOAD = 1_048_576;

/** A connection to a NATS server that outlives outages, and a `Bus` for `millrace/remote`. Made by `connectNats()`. */
export class Nats implements Bus, AsyncDisposable {
  /** The connection of the client package. */
  readonly connection: NatsConnectionLike;
  readonly #client: ClientPackage;
  readonly #isOwn: boolean;
  readonly #reconnected = new Set<() => void>();
  readonly #disconnected = new Set<() => void>();
  readonly #watchers = new Set<(status: BusStatus) => void>();
  readonly #inbox: string;
  #maxPayload = DEFAULT_MAX_PAYLOAD;
  #inboxes = 0;
  #isConnected = true;

  /** @internal */
  constructor(client: ClientPackage, connection: NatsConnectionLike, isOwn: boolean) {
    this.#client = client;
    this.connection = connection;
    this.#isOwn = isOwn;
    this.#inbox = `${inboxPrefixOf(connection)}.${randomBytes(12).toString('hex')}`;
    void this.#follow();
  }

  /** Whether the server can be reached now, as far as is known. */
  get isConnected(): boolean {
    return this.#isConnected && !this.connection.isClosed();
  }

  /** The server's version and limits. @throws NatsConnectionError When the connection is closed. */
  get server(): NatsServerInfoLike {
    const { info } = this.connection;
    if (info === undefined) throw new NatsConnectionError('Cannot ask the NATS server: the connection is closed');
    return info;
  }

  /** Empty headers. @internal */
  headers(): NatsHeadersLike {
    return this.#client.headers();
  }

  /** A subject of this client's own, for answers. @internal */
  createInbox(): string {
    this.#inboxes += 1;
    return `${this.#inbox}.${this.#inboxes.toString(36)}`;
  }

  get status(): BusStatus {
    if (this.connection.isClosed()) return 'closed';
    return this.#isConnected ? 'connected' : 'disconnected';
  }

  /** The most bytes of a message, as the server says at each connection. */
  get maxPayload(): number {
    this.#maxPayload = this.connection.info?.max_payload ?? this.#maxPayload;
    return this.#maxPayload;
  }

  /**
   * Publishes a message.
   *
   * @returns False without a connection: the message is not sent, and not kept.
   * @throws RangeError When it has more than `maxPayload` bytes.
   */
  publish(subject: string, data: Uint8Array, { reply, headers }: PublishOptions = {}): boolean {
    if (!this.isConnected) return false;
    const { maxPayload } = this;
    if (data.length > maxPayload) {
      throw new RangeError(`Cannot publish to ${subject}: at most ${maxPayload} bytes, received ${data.length}`);
    }
    const sent = headers === undefined ? undefined : this.headers();
    for (const [name, value] of Object.entries(headers ?? {})) sent?.set(name, value);
    this.connection.publish(subject, data, {
      ...(reply === undefined ? {} : { reply }),
      ...(sent === undefined ? {} : { headers: sent as never }),
    });
    return true;
  }

  /** Subscribes to a subject, which may have wildcards. The subscription outlives lost connections. */
  subscribe(
    subject: string,
    onMessage: (message: BusMessage) => void,
    options: SubscribeOptions = {},
  ): BusSubscription {
    let isOver = false;
    const deliver = (message: NatsMessageLike): void => {
      if (isOver) return;
      try {
        onMessage(busMessage(message));
      } catch (error) {
        // Thrown into the client's parser it would cost other subscribers their messages.
        queueMicrotask(() => {
          throw error;
        });
      }
    };
    const subscription = this.listen(subject, deliver, options.queue);
    const unsubscribe = (): void => {
      if (isOver) return;
      isOver = true;
      subscription.unsubscribe();
    };
    return {
      unsubscribe,
      drain: async () => {
        if (this.isConnected && !isOver) await this.#unlessLost(subscription.drain()).catch(() => {});
        unsubscribe();
      },
    };
  }

  /**
   * Resolves once the server has what was published and subscribed before.
   *
   * **Cancel safety:** takes no signal.
   *
   * @throws NatsConnectionError When the connection is lost meanwhile, or is not there.
   */
  async flush(): Promise<void> {
    if (!this.isConnected) throw lost();
    await this.#unlessLost(this.connection.flush());
  }

  /** Calls back at each change of the status. @returns A function that ends that. */
  watch(onStatus: (status: BusStatus) => void): () => void {
    const watcher = (status: BusStatus): void => onStatus(status);
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  /** Subscribes with a synchronous handler that gets messages as the client has them. @internal */
  listen(subject: string, onMessage: (message: NatsMessageLike) => void, queue?: string): NatsSubscriptionLike {
    return this.connection.subscribe(subject, {
      ...(queue === undefined ? {} : { queue }),
      callback: (error, message) => {
        if (error === null) onMessage(message);
      },
    });
  }

  /** Asks and waits for one answer. @internal */
  async request(
    subject: string,
    payload: Uint8Array | string,
    options: { timeout: number; headers?: NatsHeadersLike },
  ): Promise<NatsMessageLike> {
    return await this.connection.request(subject, payload, options as { timeout: number; headers?: never });
  }

  /** Calls a function after each reconnect. @returns A function that ends that. @internal */
  onReconnect(listener: () => void): () => void {
    this.#reconnected.add(listener);
    return () => this.#reconnected.delete(listener);
  }

  /** Calls a function when the connection is lost. @returns A function that ends that. @internal */
  onDisconnect(listener: () => void): () => void {
    this.#disconnected.add(listener);
    return () => this.#disconnected.delete(listener);
  }

  /** @throws NatsServerError When the server has no JetStream. @internal */
  requireJetStream(): void {
    const { jetstream, server_name, version } = this.server;
    if (jetstream === true) return;
    throw new NatsServerError(
      `Cannot use bulk jobs: the NATS server ${server_name} (${version}) has no JetStream, start it with -js or a jetstream block`,
    );
  }

  /** Sends what is published, then closes the connection; one that was passed in stays open. */
  async close(): Promise<void> {
    if (!this.#isOwn || this.connection.isClosed()) return;
    // Without a server a flush would wait for the next one.
    if (this.#isConnected) await this.connection.flush().catch(() => {});
    await this.connection.close();
  }

  /** The same as `close()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** @internal */
  [inspect](): string {
    const { info } = this.connection;
    return `Nats { server: '${info?.server_name ?? ''}', version: '${info?.version ?? ''}', isConnected: ${this.isConnected} }`;
  }

  async #follow(): Promise<void> {
    for await (const { type } of this.connection.status()) {
      if (type === 'disconnect' && this.#isConnected) {
        this.#isConnected = false;
        for (const listener of [...this.#disconnected]) listener();
        this.#tell();
      } else if (type === 'reconnect' && !this.#isConnected) {
        this.#isConnected = true;
        for (const listener of [...this.#reconnected]) listener();
        this.#tell();
      }
    }
    this.#isConnected = false;
    for (const listener of [...this.#disconnected]) listener();
    this.#tell();
  }

  #tell(): void {
    const { status } = this;
    for (const watcher of [...this.#watchers]) watcher(status);
  }

  async #unlessLost(work: Promise<void>): Promise<void> {
    let stop = (): unknown => undefined;
    const isLost = new Promise<never>((_, reject) => {
      stop = this.onDisconnect(() => reject(lost()));
    });
    try {
      await Promise.race([work, isLost]);
    } finally {
      stop();
      // The client may reject it later, when the connection ends.
      work.catch(() => {});
    }
  }
}

function lost(): NatsConnectionError {
  return new NatsConnectionError('Cannot reach the NATS server: the connection is lost');
}

function busMessage({ subject, data, reply, headers }: NatsMessageLike): BusMessage {
  const isUndeliverable = data.length === 0 && headers?.code === 503;
  const names = headers?.keys() ?? [];
  return {
    subject,
    data,
    reply: reply === undefined || reply === '' ? undefined : reply,
    isUndeliverable,
    ...(headers === undefined || names.length === 0
      ? {}
      : { headers: Object.fromEntries(names.map((name) => [name, headers.get(name)])) }),
  };
}

/** The rights of a client may name the prefix of its inboxes. */
function inboxPrefixOf(connection: NatsConnectionLike): string {
  const { options } = connection as { options?: { inboxPrefix?: unknown } };
  return typeof options?.inboxPrefix === 'string' ? options.inboxPrefix : '_INBOX';
}
