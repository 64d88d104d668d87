import { MillraceError, requireFunction, requireOptions, requirePositiveInteger } from '../../core/index.js';
import { LaggedError } from '../errors.js';
import type { WaitOptions } from '../internal/wait.js';
import { channel, type Receiver, type Sender } from '../mpsc/index.js';

/** A source that a channel is fed from has broken its own protocol, or failed as it was let go; its `cause` says how. */
export class StreamSourceError extends MillraceError {
  override readonly code = 'ERR_STREAM_SOURCE';
}

/** What a {@link StreamSource} has now. */
export type Taken<T> =
  | { readonly state: 'ok'; readonly value: T }
  | { readonly state: 'empty' }
  | { readonly state: 'lagged'; readonly skipped: number }
  | { readonly state: 'closed'; readonly reason?: unknown };

/** What values can be streamed out of: the receivers of `mpsc` and `broadcast`. */
export interface StreamSource<out T> extends Disposable {
  /**
   * Waits until `tryRecv` would not answer `empty`.
   *
   * **Cancel safety:** cancel safe.
   */
  ready(options?: WaitOptions): Promise<void>;
  /** Takes the next value if there is one now. */
  tryRecv(): Taken<T>;
}

/** What values can be streamed into: the senders of `mpsc`. */
export interface StreamSink<in T> {
  // A function and not a method: what takes some values takes no others.
  /** Sends a value; a promise that it answers is awaited. */
  readonly send: (value: T, options?: WaitOptions) => unknown;
  /** Says that nothing more is sent, and why. */
  close(reason?: unknown): void;
  /**
   * Waits until the receiver is gone.
   *
   * **Cancel safety:** cancel safe.
   */
  closed(options?: WaitOptions): Promise<void>;
}

/** How many values a channel holds that is fed from a stream or feeds one, and what becomes of those that are left. */
export interface PumpOptions<in T = never> {
  /** Values on the way, besides the one that is being handed over. 1 by default. */
  readonly capacity?: number | undefined;
  /** Called once with each value that was taken in and can no longer be handed on, as that of a channel. */
  readonly onUndelivered?: ((value: T) => void) | undefined;
}

/** Requires a receiver. */
export function requireSource(action: string, source: StreamSource<unknown>): void {
  requireFunction(action, 'source.ready', source?.ready);
  requireFunction(action, 'source.tryRecv', source.tryRecv);
}

/** Requires a sender. */
export function requireSink(action: string, sink: StreamSink<never>): void {
  requireFunction(action, 'sink.send', sink?.send);
  requireFunction(action, 'sink.close', sink.close);
  requireFunction(action, 'sink.closed', sink.closed);
}

/** The channel between a stream and its user. */
export function pumpChannel<T>(
  action: string,
  options: PumpOptions<T> | undefined,
): [Sender<T>, Receiver<T>, ((value: T) => void) | undefined] {
  const { capacity = 1, onUndelivered } = requireOptions(action, options, ['capacity', 'onUndelivered']);
  requirePositiveInteger(action, 'capacity', capacity);
  if (onUndelivered !== undefined) requireFunction(action, 'onUndelivered', onUndelivered);
  const [tx, rx] = channel<T>(capacity, onUndelivered === undefined ? {} : { onUndelivered });
  return [tx, rx, onUndelivered];
}

/** Sends a value that was read already: one that is refused goes to the hook. */
export async function sendOrLetGo<T>(
  tx: Sender<T>,
  value: T,
  onUndelivered: ((value: T) => void) | undefined,
): Promise<void> {
  try {
    await tx.send(value);
  } catch (error) {
    onUndelivered?.(value);
    throw error;
  }
}

/** Tells the hook of values one by one; what it throws is thrown when it has been told of all. */
export function letGo<T>(values: Iterable<T>, onUndelivered: ((value: T) => void) | undefined): void {
  if (onUndelivered === undefined) return;
  let failure: { readonly error: unknown } | undefined;
  for (const value of values) {
    try {
      onUndelivered(value);
    } catch (error) {
      failure ??= { error };
    }
  }
  if (failure !== undefined) throw failure.error;
}

/**
 * Waits for one value and hands it on in the very step in which it is taken, so that none is lost between the two when the signal fires.
 *
 * @param give Takes the value.
 * @returns False at the end of the source, or when the signal has fired.
 */
export async function takeOne<T>(
  source: StreamSource<T>,
  signal: AbortSignal,
  give: (value: T) => unknown,
): Promise<boolean> {
  for (;;) {
    await source.ready({ signal });
    if (signal.aborted) return false;
    const found = source.tryRecv();
    switch (found.state) {
      case 'ok':
        await give(found.value);
        return true;
      case 'lagged':
        throw new LaggedError(found.skipped);
      case 'closed':
        if (found.reason !== undefined) throw found.reason;
        return false;
      case 'empty':
    }
  }
}

declare module '../../core/errors.js' {
  interface MillraceErrors {
    ERR_STREAM_SOURCE: StreamSourceError;
  }
}
