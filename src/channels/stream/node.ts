/**
 * Node streams and channels, both ways: `import { toNodeReadable } from 'millrace/channels/node'`. It is an entry of its own because it needs
 * Node.
 *
 * All streams are in object mode. A Node stream cannot carry `null`, which means its end: `null` and `undefined` are refused.
 *
 * @module millrace/channels/node
 */
import { requireFunction, scheduleMacrotask } from '../../core/index.js';
import { SendError } from '../errors.js';
import type { Receiver, Sender } from '../mpsc/index.js';
import { finished, Readable, Writable } from 'node:stream';
import {
  letGo,
  type PumpOptions,
  pumpChannel,
  requireSink,
  requireSource,
  type StreamSink,
  type StreamSource,
  takeOne,
} from './ends.js';
import { fromAsyncIterable } from './iterators.js';

export type { LaggedResult, TryRecvResult } from '../internal/wait.js';
export type { PumpOptions, StreamSink, StreamSource } from './ends.js';

/**
 * Makes a Node `Readable` in object mode of a receiver.
 *
 * A value is received when the stream is read, not before. The stream owns the receiver: destroying the stream disposes of it, and the values in
 * the channel go to its `onUndelivered`.
 *
 * @param source A receiver of `mpsc` or `broadcast`.
 * @example
 * ```ts
 * const [tx, rx] = mpsc.channel<string>(4);
 * await tx.send('a');
 * tx.close();
 * const seen: string[] = [];
 * for await (const value of toNodeReadable(rx)) seen.push(value);
 * seen; // => ['a']
 * ```
 */
export function toNodeReadable<T>(source: StreamSource<T>): Readable {
  requireSource('Cannot make stream', source);
  const destroyed = new AbortController();
  const stream = new Readable({
    objectMode: true,
    highWaterMark: 0,
    read() {
      takeOne(source, destroyed.signal, give).then(
        (taken) => {
          if (!taken && !destroyed.signal.aborted) stream.push(null);
        },
        (error: Error) => stream.destroy(error),
      );
    },
    destroy(error, callback) {
      destroyed.abort();
      try {
        source[Symbol.dispose]();
        callback(error);
      } catch (thrown) {
        callback(error ?? (thrown as Error));
      }
    },
  });
  return stream;

  function give(value: T): void {
    if (value === null || value === undefined) {
      stream.destroy(new TypeError(`Cannot read: a Node stream cannot carry ${value}`));
    } else stream.push(value);
  }
}

/**
 * Feeds a channel from a Node `Readable`.
 *
 * The stream is read when the channel has room. Closing the receiver destroys it; its failure reaches the receiver after the values before it.
 *
 * @param stream The source.
 * @param options.capacity The number of values that the channel holds. 1 by default.
 * @param options.onUndelivered Called with each value that was read and will not be received.
 * @returns The receiver.
 * @example
 * ```ts
 * const { Readable } = await import('node:stream');
 * const rx = fromNodeReadable<number>(Readable.from([1, 2]), { capacity: 2 });
 * await rx.recv(); // => { done: false, value: 1 }
 * rx.close();
 * ```
 */
export function fromNodeReadable<T>(stream: Readable, options?: PumpOptions<T>): Receiver<T> {
  requireFunction('Cannot read stream', 'stream[Symbol.asyncIterator]', stream?.[Symbol.asyncIterator]);
  const values = stream[Symbol.asyncIterator]() as AsyncIterator<T>;
  const iterator: AsyncIterator<T> = {
    next: () => values.next(),
    // The stream's own return() would wait for a pending next().
    async return() {
      stream.destroy();
      return { done: true, value: undefined };
    },
  };
  return fromAsyncIterable<T>({ [Symbol.asyncIterator]: () => iterator }, options);
}

/**
 * Makes a Node `Writable` in object mode of a sender.
 *
 * A write waits for room in the channel. The stream owns the sender: ending the stream closes it, destroying the stream closes it with the error,
 * and when the receiver goes the stream is destroyed with `SendError`.
 *
 * @param sink A sender of `mpsc`.
 * @example
 * ```ts
 * const [tx, rx] = mpsc.channel<string>(4);
 * toNodeWritable(tx).end('a');
 * await rx.recv(); // => { done: false, value: 'a' }
 * await rx.recv(); // => { done: true, value: undefined }
 * ```
 */
export function toNodeWritable<T>(sink: StreamSink<T>): Writable {
  requireSink('Cannot make stream', sink);
  const destroyed = new AbortController();
  const stream = new Writable({
    objectMode: true,
    highWaterMark: 1,
    async write(value: T, _encoding, callback) {
      try {
        await sink.send(value, { signal: destroyed.signal });
        callback();
      } catch (error) {
        callback(error as Error);
      }
    },
    final(callback) {
      destroyed.abort();
      sink.close();
      callback();
    },
    destroy(error, callback) {
      destroyed.abort();
      sink.close(error ?? undefined);
      callback(error);
    },
  });
  void sink.closed({ signal: destroyed.signal }).then(
    () => stream.destroy(new SendError('Cannot write: the receiver of the channel is gone', undefined)),
    () => {},
  );
  return stream;
}

/**
 * Feeds a Node `Writable` from a channel.
 *
 * Values are written as the stream takes them. It is ended with the last sender, or destroyed with the reason that a sender closed with; when it
 * fails or closes, sends fail with `SendError`.
 *
 * @param stream The sink.
 * @param options.capacity The number of values that the channel holds. 1 by default.
 * @param options.onUndelivered Called with each value that was accepted and not written: a value whose write failed or was not reported when the
 * stream closed, those in the stream's buffer and those in the channel.
 * @returns The sender.
 * @example
 * ```ts
 * const { Writable } = await import('node:stream');
 * const written: number[] = [];
 * const stream = new Writable({
 *   objectMode: true,
 *   write(value, _encoding, done) {
 *     written.push(value);
 *     done();
 *   },
 * });
 * const ended = new Promise((resolve) => stream.on('finish', resolve));
 * const tx = fromNodeWritable<number>(stream);
 * await tx.send(1);
 * tx.close();
 * await ended;
 * written; // => [1]
 * ```
 */
export function fromNodeWritable<T>(stream: Writable, options?: PumpOptions<T>): Sender<T> {
  const action = 'Cannot write stream';
  requireFunction(action, 'stream.write', stream?.write);
  const [tx, rx, onUndelivered] = pumpChannel<T>(action, options);
  const over = new AbortController();
  // Values given to the stream, whose callback is outstanding.
  const underWay = new Set<{ readonly value: T }>();
  let resume: (() => void) | undefined;
  const onDrain = (): void => resume?.();
  stream.on('drain', onDrain);
  finished(stream, { readable: false }, () => {
    stream.off('drain', onDrain);
    over.abort();
    resume?.();
    // The oldest value is being written. Its callback may still come within a turn; that of a destroyed stream may never come.
    const [oldest, ...left] = underWay;
    underWay.clear();
    if (oldest !== undefined) {
      underWay.add(oldest);
      scheduleMacrotask(() => {
        if (underWay.delete(oldest)) letGo([oldest.value], onUndelivered);
      });
    }
    try {
      const values = left.map(({ value }) => value);
      letGo(values, onUndelivered);
    } finally {
      rx[Symbol.dispose]();
    }
  });
  void pump();
  return tx;

  async function pump(): Promise<void> {
    try {
      while (await takeOne(rx, over.signal, give));
      if (stream.writable) stream.end();
    } catch (error) {
      if (over.signal.aborted) return;
      rx[Symbol.dispose]();
      stream.destroy(error as Error);
    }
  }

  async function give(value: T): Promise<void> {
    if (value === null || value === undefined) {
      letGo([value], onUndelivered);
      throw new TypeError(`Cannot write: a Node stream cannot carry ${value}`);
    }
    const write = { value };
    underWay.add(write);
    const hasRoom = stream.write(value, (error) => {
      if (underWay.delete(write) && error) letGo([value], onUndelivered);
    });
    if (hasRoom || !stream.writable) return;
    await new Promise<void>((resolve) => {
      resume = resolve;
    });
    resume = undefined;
  }
}
