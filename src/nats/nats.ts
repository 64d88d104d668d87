import { randomBytes } from 'node:crypto';
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

/** A connection to a NATS server that outlives outages. Made by `connectNats()`. */
export class Nats implements AsyncDisposable {
  /** The connection of the client package. */
  readonly connection: NatsConnectionLike;
  readonly #client: ClientPackage;
  readonly #isOwn: boolean;
  readonly #reconnected = new Set<() => void>();
  readonly #disconnected = new Set<() => void>();
  readonly #inbox: string;
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

  /** Publishes a message. While there is no connection it is lost without an error. @internal */
  publish(subject: string, payload?: Uint8Array, options: { reply?: string; headers?: NatsHeadersLike } = {}): void {
    this.connection.publish(subject, payload, options as { reply?: string; headers?: never });
  }

  /** Subscribes with a synchronous handler. @internal */
  subscribe(subject: string, onMessage: (message: NatsMessageLike) => void, queue?: string): NatsSubscriptionLike {
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
      if (type === 'disconnect') {
        this.#isConnected = false;
        for (const listener of [...this.#disconnected]) listener();
      } else if (type === 'reconnect') {
        this.#isConnected = true;
        for (const listener of [...this.#reconnected]) listener();
      }
    }
    this.#isConnected = false;
  }
}

/** The rights of a client may name the prefix of its inboxes. */
function inboxPrefixOf(connection: NatsConnectionLike): string {
  const { options } = connection as { options?: { inboxPrefix?: unknown } };
  return typeof options?.inboxPrefix === 'string' ? options.inboxPrefix : '_INBOX';
}
