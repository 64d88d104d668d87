import type { WaitOptions } from '../abort.js';

/** What values can be streamed out of: the receivers of `mpsc` and `broadcast`. */
export interface StreamSource<T> {
  recv(options?: WaitOptions): Promise<IteratorResult<T, undefined>>;
  close(): void;
}

/** What values can be streamed into: the senders of `mpsc`. */
export interface StreamSink<T> {
  send(value: T, options?: WaitOptions): unknown;
  close(reason?: unknown): void;
  closed(options?: WaitOptions): Promise<void>;
}

/** How many values a channel holds that is fed from a stream or feeds one. */
export interface PumpOptions {
  /** Values on the way, besides the one that is being handed over. 1 by default. */
  readonly capacity?: number | undefined;
}
