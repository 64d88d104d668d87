import { requireFunction, requireOptions } from '../../core/index.js';
import { SendError } from '../closed-errors.js';
import { channel, type Receiver, type Sender } from '../mpsc/index.js';
import type { PumpOptions, StreamSink, StreamSource } from './ends.js';

/**
 * A receiver as a web `ReadableStream`.
 *
 * A value is received when the stream is read, not before. The stream owns the receiver: cancelling the stream closes it.
 *
 * **Cancel safety:** a cancelled read takes no value.
 *
 * @param source A receiver of `mpsc` or `broadcast`.
 * @returns The stream, which closes at the end of the channel and fails when a receive fails.
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
  requireFunction('Cannot make stream', 'source.recv', source?.recv);
  const cancelled = new AbortController();
  return new ReadableStream<T>(
    {
      async pull(controller) {
        const result = await source.recv({ signal: cancelled.signal });
        if (result.done) controller.close();
        else controller.enqueue(result.value);
      },
      cancel(reason) {
        cancelled.abort(reason);
        source.close();
      },
    },
    { highWaterMark: 0 },
  );
}

/**
 * Feeds a channel from a web `ReadableStream`.
 *
 * The stream is read when there is room, and locked. Closing the receiver cancels it; its failure reaches the receiver after the values before
 * it.
 *
 * @param stream What to read.
 * @param options.capacity How many values the channel holds. 1 by default.
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
export function fromReadableStream<T>(stream: ReadableStream<T>, options?: PumpOptions): Receiver<T> {
  const action = 'Cannot read stream';
  requireFunction(action, 'stream.getReader', stream?.getReader);
  const { capacity = 1 } = requireOptions(action, options, ['capacity']);
  const [tx, rx] = channel<T>(capacity);
  const reader = stream.getReader();
  void pump();
  return rx;

  async function pump(): Promise<void> {
    const over = new AbortController();
    void tx.closed({ signal: over.signal }).then(
      () => reader.cancel().catch(() => {}),
      () => {},
    );
    try {
      for (let result = await reader.read(); !result.done; result = await reader.read()) await tx.send(result.value);
      tx.close();
    } catch (error) {
      // A receiver that closed knows; what the source failed with is news.
      tx.close(tx.isClosed ? undefined : error);
    } finally {
      over.abort();
      reader.releaseLock();
    }
  }
}

/**
 * A sender as a web `WritableStream`.
 *
 * Writing waits for room in the channel. The stream owns the sender: closing the stream closes it, aborting the stream closes it with the reason,
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
  requireFunction('Cannot make stream', 'sink.send', sink?.send);
  const over = new AbortController();
  return new WritableStream<T>({
    start(controller) {
      void sink.closed({ signal: over.signal }).then(
        () => controller.error(new SendError('Cannot write: the receiver of the channel is gone', undefined)),
        () => {},
      );
    },
    async write(value, controller) {
      // Fires while a write is under way; the stream's own abort() is called only after it.
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
 * Values are written as the stream asks for them, and the stream is locked. It is closed when the last sender is, or aborted with the reason a
 * sender closed with; when it fails, sends fail with `SendError`.
 *
 * @param stream Where to write.
 * @param options.capacity How many values the channel holds. 1 by default.
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
export function fromWritableStream<T>(stream: WritableStream<T>, options?: PumpOptions): Sender<T> {
  const action = 'Cannot write stream';
  requireFunction(action, 'stream.getWriter', stream?.getWriter);
  const { capacity = 1 } = requireOptions(action, options, ['capacity']);
  const [tx, rx] = channel<T>(capacity);
  const writer = stream.getWriter();
  // A stream that fails while nothing is being sent: senders must hear of it all the same.
  writer.closed.catch(() => rx.close());
  void pump();
  return tx;

  async function pump(): Promise<void> {
    try {
      for (;;) {
        await writer.ready;
        const result = await rx.recv();
        if (result.done) break;
        writer.write(result.value).catch(() => {});
      }
      await writer.close();
    } catch (error) {
      rx.close();
      await writer.abort(error).catch(() => {});
    }
  }
}
