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
import { FullError } from '../errors.js';
import type { Receiver } from '../mpsc/index.js';
import {
  type PumpOptions,
  pumpChannel,
  requireSource,
  type StreamSource,
  StreamSourceError,
  sendOrLetGo,
  takeOne,
} from './ends.js';

/**
 * A receiver as a `Repeater`: an async iterator with the combinators `Repeater.merge`, `race`, `zip` and `latest`.
 *
 * A value is received when it is asked for, not before. A repeater awaits the promises among its values. Use the receiver itself in a plain
 * `for await`: it is faster.
 *
 * **Cancel safety:** cancel safe. Leaving it early (`break`, `return()`) takes no value and keeps the receiver open.
 *
 * @param source A receiver of `mpsc` or `broadcast`.
 * @returns A repeater, which runs until the channel ends and fails when a receive fails.
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
  // A repeater tells its executor of its end some microtasks later: a value that is taken in between would be lost.
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
 * An async iterator over what a source pushes: a `Repeater`, whose combinators (`Repeater.merge`, `race`, `zip`, `latest`) take it like any other
 * async iterable.
 */
export interface RepeaterIterator<out T> extends AsyncIterableIterator<T, undefined, unknown> {
  /**
   * Waits for the next value.
   *
   * **Cancel safety:** it takes no signal; `return()` settles one that is pending, which has then taken no value.
   */
  next(value?: unknown): Promise<IteratorResult<T, undefined>>;
  /**
   * Leaves the iteration, and lets go of the source.
   *
   * **Cancel safety:** not applicable; it takes no signal.
   */
  return(value?: undefined): Promise<IteratorResult<T, undefined>>;
  /**
   * Fails the iteration, and lets go of the source.
   *
   * **Cancel safety:** not applicable; it takes no signal.
   */
  throw(error: unknown): Promise<IteratorResult<T, undefined>>;
  [Symbol.asyncIterator](): this;
}

/** What {@link fromCallback} does with a value for which there is no room. */
export type Overflow = 'drop-oldest' | 'drop-newest' | 'fail';

/** Options of {@link fromCallback}. */
export interface FromCallbackOptions {
  /** How many values wait for a slow consumer. 1024 by default. */
  readonly capacity?: number | undefined;
  /** What happens to a value for which there is no room: the oldest goes, it goes itself, or the iterator fails. `'fail'` by default. */
  readonly overflow?: Overflow | undefined;
}

const FROM_CALLBACK_OPTIONS = {
  capacity: option(requirePositiveInteger, 1_024),
  overflow: option(oneOf(['drop-oldest', 'drop-newest', 'fail']), 'fail'),
} satisfies OptionTable<FromCallbackOptions>;

/**
 * Makes an async iterator of a source that calls back: events, subscriptions, watchers.
 *
 * The source is subscribed to at the first `next()`, and let go when the iteration ends, however it ends.
 *
 * **Cancel safety:** leaving it early drops the values that wait; it is meant for a consumer of its own.
 *
 * @param subscribe Called once with `push`, and `end`, which takes the error the source failed with, if it did; answers how to unsubscribe.
 * @param options.capacity How many values wait for a slow consumer.
 * @param options.overflow What happens to a value for which there is no room. When the iterator fails, it is with `FullError` after the values
 * that wait.
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
          // A push beyond the buffer throws, which must fail the iterator and not the source.
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

/** Refuses what it has no room for. It never says that it is full: a repeater would then queue what is pushed beside it. */
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
 * The iterable is asked for the next value when there is room. Closing the receiver returns the iterator; a failure of the iterable reaches the
 * receiver after the values before it, and a `return()` that fails as `StreamSourceError`.
 *
 * @param iterable What to read.
 * @param options.capacity How many values the channel holds. 1 by default.
 * @param options.onUndelivered Called with each value that was read and that nobody will receive.
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
      // A receiver that closed knows; what the source failed with is news.
      tx.close(tx.isClosed ? undefined : error);
    }
  }

  /** The receiver has closed. What the iterator makes of it is for the waits still under way. */
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
