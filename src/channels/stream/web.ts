import { requireFunction } from '../../core/index.js';
import { SendError } from '../errors.js';
import type { Receiver, Sender } from '../mpsc/index.js';
import {
  letGo,
  type PumpOptions,
  pumpChannel,
  requireSink,
  requireSource,
  type StreamSink,
  type StreamSource,
  sendOrLetGo,
  takeOne,
} from './ends.js';

/**
 * Makes a web `ReadableStream` of a receiver.
 *
 * A value is received when the stream is read, not before. The stream owns the receiver: cancelling the stream disposes of it, and the values in
 * the channel go to its `onUndelivered`. Read `values({ preventCancel: true })` in a loop that leaves the rest in the channel.
 *
 * **Cancel safety:** a cancelled read takes no value.
 *
 * @param source A receiver of `mpsc` or `broadcast`.
 * @returns The stream. It closes at the end of the channel, and fails when a receive fails.
 * @example
 * ```ts
 * const [tx, rx] = mpsc.channel<string>(4);
 * await tx.send('a');
 * tx.close();
 * const reader = toReadableStream(rx).getReader();
 * await reader.read(); // => { done: false, value: 'a' }
 * await reader.read(); // => { done: true, value: undefined }
 * ```
 */
export function toReadableStream<T>(source: StreamSource<T>): ReadableStream<T> {
  requireSource('Cannot make stream', source);
  const cancelled = new AbortController();
  return new ReadableStream<T>(
    {
      async pull(controller) {
        const taken = await takeOne(source, cancelled.signal, (value) => controller.enqueue(value));
        if (!taken && !cancelled.signal.aborted) controller.close();
      },
      cancel(reason) {
        cancelled.abort(reason);
        source[Symbol.dispose]();
      },
    },
    { highWaterMark: 0 },
  );
}

/**
 * Feeds a channel from a web `ReadableStream`.
 *
 * The stream is locked, and read when the channel has room. Closing the receiver cancels it; its failure reaches the receiver after the values
 * before it.
 *
 * @param stream The source.
 * @param options.capacity The number of values that the channel holds. 1 by default.
 * @param options.onUndelivered Called with each value that was read and will not be received.
 * @returns The receiver.
 * @example
 * ```ts
 * const stream = new ReadableStream<number>({
 *   start(controller) {
 *     controller.enqueue(1);
 *     controller.close();
 *   },
 * });
 * const rx = fromReadableStream(stream);
 * await rx.recv(); // => { done: false, value: 1 }
 * await rx.recv(); // => { done: true, value: undefined }
 * ```
 */
export function fromReadableStream<T>(stream: ReadableStream<T>, options?: PumpOptions<T>): Receiver<T> {
  const action = 'Cannot read stream';
  requireFunction(action, 'stream.getReader', stream?.getReader);
  const [tx, rx, onUndelivered] = pumpChannel<T>(action, options);
  const reader = stream.getReader();
  void pump();
  return rx;

  async function pump(): Promise<void> {
    const over = new AbortController();
    void tx
      .closed({ signal: over.signal })
      .then(() => reader.cancel())
      .catch(() => {});
    try {
      for (let result = await reader.read(); !result.done; result = await reader.read())
        await sendOrLetGo(tx, result.value, onUndelivered);
      over.abort();
      tx.close();
    } catch (error) {
      over.abort();
      // A receiver that has closed needs no reason; another one gets the failure of the source.
      tx.close(tx.isClosed ? undefined : error);
    } finally {
      over.abort();
      reader.releaseLock();
    }
  }
}

/**
 * Makes a web `WritableStream` of a sender.
 *
 * A write waits for room in the channel. The stream owns the sender: closing the stream closes it, aborting the stream closes it with the reason,
 * and when the receiver goes the stream fails with `SendError`.
 *
 * @param sink A sender of `mpsc`.
 * @example
 * ```ts
 * const [tx, rx] = mpsc.channel<string>(4);
 * const writer = toWritableStream(tx).getWriter();
 * await writer.write('a');
 * await writer.close();
 * await rx.recv(); // => { done: false, value: 'a' }
 * await rx.recv(); // => { done: true, value: undefined }
 * ```
 */
export function toWritableStream<T>(sink: StreamSink<T>): WritableStream<T> {
  requireSink('Cannot make stream', sink);
  const over = new AbortController();
  return new WritableStream<T>({
    start(controller) {
      void sink.closed({ signal: over.signal }).then(
        () => controller.error(new SendError('Cannot write: the receiver of the channel is gone', undefined)),
        () => {},
      );
    },
    async write(value, controller) {
      // This signal fires during a write; the stream calls `abort` only after it.
      await sink.send(value, { signal: (controller as { signal?: AbortSignal }).signal });
    },
    close() {
      over.abort();
      sink.close();
    },
    abort(reason) {
      over.abort();
      sink.close(reason);
    },
  });
}

/**
 * Feeds a web `WritableStream` from a channel.
 *
 * The stream is locked, and written to when it is ready. It is closed with the last sender, or aborted with the reason that a sender closed with.
 * When it fails, sends fail with `SendError`, and values that were accepted and not written go to `onUndelivered`.
 *
 * @param stream The sink.
 * @param options.capacity The number of values that the channel holds. 1 by default.
 * @param options.onUndelivered Called with each value that was accepted and not written: a value whose write failed, those in the stream's buffer
 * and those in the channel.
 * @returns The sender.
 * @example
 * ```ts
 * const written: number[] = [];
 * const { promise, settle } = (() => {
 *   let settle = () => {};
 *   const promise = new Promise<void>((resolve) => { settle = resolve; });
 *   return { promise, settle };
 * })();
 * const stream = new WritableStream<number>({ write: (n) => void written.push(n), close: settle });
 * const tx = fromWritableStream(stream);
 * await tx.send(1);
 * tx.close();
 * await promise;
 * written; // => [1]
 * ```
 */
export function fromWritableStream<T>(stream: WritableStream<T>, options?: PumpOptions<T>): Sender<T> {
  const action = 'Cannot write stream';
  requireFunction(action, 'stream.getWriter', stream?.getWriter);
  const [tx, rx, onUndelivered] = pumpChannel<T>(action, options);
  const writer = stream.getWriter();
  const failed = new AbortController();
  const fail = (): void => {
    failed.abort();
    rx[Symbol.dispose]();
  };
  // For a stream that fails while no value is being written.
  writer.closed.catch(fail);
  void pump();
  return tx;

  // A stream that fails rejects the writes in its buffer too.
  function write(value: T): void {
    writer.write(value).catch(() => letGo([value], onUndelivered));
  }

  async function pump(): Promise<void> {
    try {
      do await writer.ready;
      while (await takeOne(rx, failed.signal, write));
      await writer.close();
    } catch (error) {
      fail();
      await writer.abort(error).catch(() => {});
    }
  }
}
