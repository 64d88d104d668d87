import { DroppingBuffer, Repeater, type RepeaterBuffer, SlidingBuffer } from '@repeaterjs/repeater';
import {
  faultOf,
  fillOptions,
  oneOf,
  type OptionTable,
  option,
  requireFunction,
  requirePositiveInteger,
} from '../../core/index.js';
import { FullError, StreamSourceError } from '../errors.js';
import type { Receiver } from '../mpsc/index.js';
import { type PumpOptions, pumpChannel, requireSource, type StreamSource, sendOrLetGo, takeOne } from './ends.js';

/**
 * Makes a `Repeater` of a receiver: an async iterator for the combinators `Repeater.merge`, `race`, `zip` and `latest`.
 *
 * A value is received when it is requested, not before. A repeater awaits the promises among its values. Use the receiver itself in a plain
 * `for await`: it is faster.
 *
 * **Cancel safety:** cancel safe. Leaving it early (`break`, `return()`) takes no value and keeps the receiver open.
 *
 * @param source A receiver of `mpsc` or `broadcast`.
 * @returns A repeater. It ends with the channel, and fails when a receive fails.
 * @example
 * ```ts
 * const [tx, rx] = mpsc.channel<number>(4);
 * for (const n of [1, 2, 3]) await tx.send(n);
 * tx.close();
 * const seen: number[] = [];
 * for await (const n of toRepeater(rx)) seen.push(n);
 * seen; // => [1, 2, 3]
 * ```
 */
export function toRepeater<T>(source: StreamSource<T>): RepeaterIterator<T> {
  requireSource('Cannot make repeater', source);
  const left = new AbortController();
  const repeater = new Repeater<T, undefined>(async (push, stop) => {
    try {
      while (await takeOne(source, left.signal, push));
    } catch (error) {
      if (!left.signal.aborted) throw error;
    }
    stop();
    return undefined;
  });
  // A repeater ends its executor some microtasks later: a value taken in between would be lost.
  const { return: finish, throw: fail } = repeater;
  repeater.return = (value) => {
    left.abort();
    return finish.call(repeater, value);
  };
  repeater.throw = (error) => {
    left.abort();
    return fail.call(repeater, error);
  };
  return repeater;
}

/**
 * An async iterator over pushed values: a `Repeater`. The combinators `Repeater.merge`, `race`, `zip` and `latest` take it as any other async
 * iterable.
 */
export interface RepeaterIterator<out T> extends AsyncIterableIterator<T, undefined, unknown> {
  /**
   * Waits for the next value.
   *
   * **Cancel safety:** it takes no signal. `return()` settles a pending call, which has then taken no value.
   */
  next(value?: unknown): Promise<IteratorResult<T, undefined>>;
  /**
   * Ends the iteration, and releases the source.
   *
   * **Cancel safety:** not applicable; it takes no signal.
   */
  return(value?: undefined): Promise<IteratorResult<T, undefined>>;
  /**
   * Ends the iteration with an error, and releases the source.
   *
   * **Cancel safety:** not applicable; it takes no signal.
   */
  throw(error: unknown): Promise<IteratorResult<T, undefined>>;
  [Symbol.asyncIterator](): this;
}

/** The treatment of a value that finds the buffer of {@link fromCallback} full. */
export type Overflow = 'drop-oldest' | 'drop-newest' | 'fail';

/** The options of {@link fromCallback}. */
export interface FromCallbackOptions {
  /** The number of values that wait for a slow consumer. 1024 by default. */
  readonly capacity?: number | undefined;
  /** A value that finds the buffer full drops the oldest one, is dropped itself, or fails the iterator. `'fail'` by default. */
  readonly overflow?: Overflow | undefined;
}

const FROM_CALLBACK_OPTIONS = {
  capacity: option(requirePositiveInteger, 1_024),
  overflow: option(oneOf(['drop-oldest', 'drop-newest', 'fail']), 'fail'),
} satisfies OptionTable<FromCallbackOptions>;

/**
 * Makes an async iterator of a source that calls back: events, subscriptions, watchers.
 *
 * The first `next()` subscribes to the source; the end of the iteration, of any kind, unsubscribes.
 *
 * **Cancel safety:** leaving it early drops the buffered values; it is meant for one consumer.
 *
 * @param subscribe Called once with `push`, and with `end`, which takes the error of a source that failed; returns a function that unsubscribes.
 * @param options.capacity The number of values that wait for a slow consumer.
 * @param options.overflow The treatment of a value that finds the buffer full. An iterator that fails gives the buffered values first, then
 * `FullError`.
 * @example
 * ```ts
 * const listeners = new Set<(n: number) => void>();
 * const numbers = fromCallback<number>((push) => {
 *   listeners.add(push);
 *   return () => listeners.delete(push);
 * });
 * const first = numbers.next();
 * for (const listener of listeners) listener(7);
 * await first; // => { value: 7, done: false }
 * await numbers.return(undefined);
 * listeners.size; // => 0
 * ```
 */
export function fromCallback<T>(
  subscribe: (push: (value: T) => void, end: (error?: unknown) => void) => (() => unknown) | undefined,
  options?: FromCallbackOptions,
): RepeaterIterator<T> {
  const action = 'Cannot make iterator';
  requireFunction(action, 'subscribe', subscribe);
  const { capacity, overflow } = fillOptions(action, options, FROM_CALLBACK_OPTIONS);
  return new Repeater<T, undefined>(
    async (push, stop) => {
      const unsubscribe = subscribe(
        (value) => {
          // A push into a full buffer throws: that must fail the iterator, not the source.
          try {
            push(value).catch((error: unknown) => stop(error));
          } catch (error) {
            stop(error);
          }
        },
        (error) => stop(error),
      );
      try {
        await stop;
      } finally {
        unsubscribe?.();
      }
      return undefined;
    },
    bufferFor(capacity, overflow),
  );
}

function bufferFor<T>(capacity: number, overflow: Overflow): RepeaterBuffer {
  if (overflow === 'drop-oldest') return new SlidingBuffer(capacity);
  return overflow === 'drop-newest' ? new DroppingBuffer(capacity) : new FailingBuffer<T>(capacity);
}

/** Throws when it is full. `full` stays false, as a repeater would otherwise queue further values beside it. */
class FailingBuffer<T> implements RepeaterBuffer<T> {
  readonly #capacity: number;
  readonly #values: T[] = [];
  readonly full = false;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get empty(): boolean {
    return this.#values.length === 0;
  }

  add(value: T): void {
    if (this.#values.length === this.#capacity) throw new FullError('Cannot push: the iterator is full', value);
    this.#values.push(value);
  }

  remove(): T {
    return this.#values.shift() as T;
  }
}

/**
 * Feeds a channel from an async iterable.
 *
 * The next value is requested when the channel has room. Closing the receiver returns the iterator. A failure of the iterable reaches the receiver
 * after the values before it; a failure of `return()` does so as `StreamSourceError`.
 *
 * @param iterable The source.
 * @param options.capacity The number of values that the channel holds. 1 by default.
 * @param options.onUndelivered Called with each value that was read and will not be received.
 * @returns The receiver.
 * @example
 * ```ts
 * async function* numbers() {
 *   yield* [1, 2, 3];
 * }
 * const rx = fromAsyncIterable(numbers(), { capacity: 2 });
 * await rx.recvMany(3); // => [1]
 * await rx.recv(); // => { done: false, value: 2 }
 * rx.close();
 * ```
 */
export function fromAsyncIterable<T>(iterable: AsyncIterable<T>, options?: PumpOptions<T>): Receiver<T> {
  const action = 'Cannot read iterable';
  const iterator = requireFunction<() => AsyncIterator<T>>(
    action,
    'iterable[Symbol.asyncIterator]',
    iterable?.[Symbol.asyncIterator],
  ).call(iterable);
  requireFunction(action, 'iterable[Symbol.asyncIterator]().next', iterator?.next);
  const [tx, rx, onUndelivered] = pumpChannel<T>(action, options);
  void pump();
  return rx;

  async function pump(): Promise<void> {
    const over = new AbortController();
    void tx.closed({ signal: over.signal }).then(leave, () => {});
    try {
      for (let result = await nextOf(iterator); !result.done; result = await nextOf(iterator))
        await sendOrLetGo(tx, result.value, onUndelivered);
      over.abort();
      tx.close();
    } catch (error) {
      over.abort();
      // A receiver that has closed needs no reason; another one gets the failure of the source.
      tx.close(tx.isClosed ? undefined : error);
    }
  }

  /** Returns the iterator after the receiver has closed. A failure goes to the pending waits. */
  async function leave(): Promise<void> {
    try {
      const result: unknown = await iterator.return?.();
      if (iterator.return !== undefined) requireResult('return()', result);
    } catch (cause) {
      tx.close(new StreamSourceError('Cannot let go of iterable: its return() failed', { cause }));
    }
  }
}

async function nextOf<T>(iterator: AsyncIterator<T>): Promise<IteratorResult<T>> {
  const result = await iterator.next();
  try {
    requireResult('next()', result);
  } catch (cause) {
    throw new StreamSourceError('Cannot read iterable: its next() failed', { cause });
  }
  return result;
}

function requireResult(name: string, result: unknown): void {
  if (typeof result !== 'object' || result === null) {
    throw faultOf('Cannot read iterable', name, 'a promise of an iterator result', result);
  }
}
