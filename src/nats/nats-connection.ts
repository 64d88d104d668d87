/** The part of a NATS connection that this layer uses, so that the types of the package do not need the client's. */

/** The headers of a message. */
export interface NatsHeadersLike {
  get(name: string): string;
  set(name: string, value: string): void;
  keys(): string[];
}

/** A message that has arrived. */
export interface NatsMessageLike {
  readonly subject: string;
  readonly data: Uint8Array;
  readonly reply?: string | undefined;
  readonly headers?: (NatsHeadersLike & { readonly code: number; readonly description: string }) | undefined;
}

/** A subscription. */
export interface NatsSubscriptionLike {
  unsubscribe(): void;
  drain(): Promise<void>;
}

/** What the server says of itself. */
export interface NatsServerInfoLike {
  readonly version: string;
  readonly server_name: string;
  readonly max_payload: number;
  readonly jetstream?: boolean | undefined;
}

/** A connection of `@nats-io/transport-node`, or another one of the 3.x clients. */
export interface NatsConnectionLike {
  readonly info?: NatsServerInfoLike | undefined;
  publish(subject: string, payload?: Uint8Array | string, options?: { reply?: string; headers?: never }): void;
  subscribe(
    subject: string,
    options?: { queue?: string; callback?: (error: Error | null, message: NatsMessageLike) => void },
  ): NatsSubscriptionLike;
  request(
    subject: string,
    payload?: Uint8Array | string,
    options?: { timeout: number; headers?: never },
  ): Promise<NatsMessageLike>;
  flush(): Promise<void>;
  drain(): Promise<void>;
  close(): Promise<void>;
  closed(): Promise<undefined | Error>;
  isClosed(): boolean;
  isDraining(): boolean;
  getServer(): string;
  status(): AsyncIterable<{ readonly type: string }>;
}
