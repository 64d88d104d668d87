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
 * A receiver as a web `ReadableStream`.
 *
 * A value is received when the stream is read, not before. The stream owns the receiver: cancelling the stream disposes of it, and what lies in
 * the channel goes to its `onUndelivered`. A loop that is to leave the rest in the channel reads `values({ preventCancel: true })`.
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
 * The stream is read when there is room, and locked. Closing the receiver cancels it; its failure reaches the receiver after the values before
 * it.
 *
 * @param stream What to read.
 * @param options.capacity How many values the channel holds. 1 by default.
 * @param options.onUndelivered Called with each value that was read and that nobody will receive.
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
 * sender closed with; when it fails, sends fail with `SendError`, and what was accepted and not written goes to `onUndelivered`.
 *
 * @param stream Where to write.
 * @param options.capacity How many values the channel holds. 1 by default.
 * @param options.onUndelivered Called with each value that was accepted and not written: one that the stream failed to write, those in its buffer
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
  // A stream that fails while nothing is being sent: senders must hear of it all the same.
  writer.closed.catch(fail);
  void pump();
  return tx;

  // A stream that fails rejects what lies in its own buffer as well.
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
