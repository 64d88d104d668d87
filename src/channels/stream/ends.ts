import { requireFunction, requireOptions, requirePositiveInteger } from '../../core/index.js';
import { LaggedError } from '../errors.js';
import type { LaggedResult, TryRecvResult, WaitOptions } from '../internal/wait.js';
import { channel, type Receiver, type Sender } from '../mpsc/index.js';

/** A source of a stream: the receivers of `mpsc` and `broadcast`. */
export interface StreamSource<out T> extends Disposable {
  /**
   * Waits until `tryRecv` would not give `empty`.
   *
   * **Cancel safety:** cancel safe.
   */
  ready(options?: WaitOptions): Promise<void>;
  /** Takes the next value, without waiting. */
  tryRecv(): TryRecvResult<T> | LaggedResult;
}

/** A sink of a stream: the senders of `mpsc`. */
export interface StreamSink<in T> {
  // A property and not a method: methods are bivariant in their parameters.
  /** Sends a value; a promise that it returns is awaited. */
  readonly send: (value: T, options?: WaitOptions) => unknown;
  /** Ends the sending, with a reason or without. */
  close(reason?: unknown): void;
  /**
   * Waits until the receiver is gone.
   *
   * **Cancel safety:** cancel safe.
   */
  closed(options?: WaitOptions): Promise<void>;
}

/** The options of a channel between a stream and its user. */
export interface PumpOptions<in T = never> {
  /** The number of values in the channel, beside the one that is being handed over. 1 by default. */
  readonly capacity?: number | undefined;
  /** Called once with each value that was taken from the source and cannot be handed on. */
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

/** Makes the channel between a stream and its user. */
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

/** Sends a value that was read from its source; a refused value goes to the hook. */
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

/** Calls the hook with each value; its first exception is thrown at the end. */
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
 * Waits for one value and hands it on in the step in which it is taken, so that a signal that fires loses none.
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
