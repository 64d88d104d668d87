/**
 * Maps a source of any length with bounded concurrency.
 *
 * Invariants:
 * - An item holds one of `concurrency` permits from before it is read from the source until its result is consumed. So the source is read no faster
 *   than results are consumed, and memory stays constant.
 * - The channel carries calls: in the order of the source, or, with `ordered: false`, when each has settled.
 */
import { setMaxListeners } from 'node:events';
import { Repeater } from '@repeaterjs/repeater';
import { mpsc, Semaphore, type SemaphorePermit } from '../../channels/index.js';
import { type AbortListener, addAbortListener, removeAbortListener } from '../../core/index.js';
import { waitFor } from '../wait-for.js';

/** Options of {@link mapInOrder}. */
export interface MapOptions<T, R> {
  /** The most items between the source and the consumer, unconsumed results included. */
  readonly concurrency: number;
  /** Whether results keep the order of the source. True by default. */
  readonly ordered?: boolean | undefined;
  /** Maps an item. The first rejection ends the iteration at once; `signal` aborts when the result is no longer wanted. */
  readonly map: (item: T, index: number, signal: AbortSignal) => Promise<R>;
  /** Runs before the source is asked for its first item; a rejection ends the iteration. */
  readonly before?: ((signal: AbortSignal) => Promise<unknown>) | undefined;
  /** Ends the iteration with its reason. */
  readonly signal?: AbortSignal | undefined;
}

/** A started call and its permit. */
interface Started<R> {
  readonly result: Promise<R>;
  readonly place: SemaphorePermit;
}

/** The abort reason of calls when the consumer leaves. */
const LEFT = new DOMException('The iteration was left', 'AbortError');

/**
 * Maps a source. Nothing is read before the first result is asked for. A source that fails ends the iteration after the results before it.
 *
 * **Cancel safety:** leaving the loop aborts the calls in progress and closes the source, even if a read of it never settles.
 *
 * @param source The items.
 * @param options See {@link MapOptions}.
 * @returns The results.
 */
export function mapInOrder<T, R>(
  source: Iterable<T> | AsyncIterable<T>,
  options: MapOptions<T, R>,
): Repeater<R, void, void> {
  return new Repeater<R, void, void>(async (push, stop) => {
    const { signal, before } = options;
    signal?.throwIfAborted();
    const run = new MapRun(source, options);
    const listener: AbortListener = { onAbort: (reason) => run.abort(reason) };
    if (signal !== undefined) addAbortListener(signal, listener);
    void stop.then(() => run.abort(LEFT));
    try {
      await before?.(run.signal);
      void run.read();
      for (let next = await run.next(); next !== undefined; next = await run.next()) {
        await push(await waitFor(next.result, run.signal));
        next.place.release();
      }
    } catch (error) {
      run.abort(error);
      if (run.signal.reason !== LEFT) throw error;
    } finally {
      if (signal !== undefined) removeAbortListener(signal, listener);
      await run.close();
      stop();
    }
  });
}

class MapRun<T, R> {
  readonly #controller = new AbortController();
  readonly signal: AbortSignal = this.#controller.signal;
  readonly #options: MapOptions<T, R>;
  readonly #iterator: Iterator<T> | AsyncIterator<T>;
  readonly #places: Semaphore;
  readonly #sender: mpsc.UnboundedSender<Started<R>>;
  readonly #receiver: mpsc.Receiver<Started<R>>;
  #isAsked = false;
  #isAtEnd = false;
  #failure: { readonly error: unknown } | undefined;
  #closed: Promise<unknown> | undefined;

  constructor(source: Iterable<T> | AsyncIterable<T>, options: MapOptions<T, R>) {
    this.#options = options;
    this.#iterator = Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]();
    this.#places = new Semaphore(options.concurrency);
    [this.#sender, this.#receiver] = mpsc.unboundedChannel<Started<R>>();
    // Every call in progress listens.
    setMaxListeners(0, this.signal);
  }

  /** Starts calls until the source ends or fails. Never rejects. */
  async read(): Promise<void> {
    try {
      for (let index = 0; ; index += 1) {
        const place = await this.#places.acquire({ signal: this.signal });
        this.#isAsked = true;
        const { done, value } = await this.#iterator.next();
        this.#isAsked = false;
        if (this.signal.aborted) return;
        if (done === true) break;
        this.#start(value as T, index, place);
      }
    } catch (error) {
      this.#failure = { error };
    }
    this.#isAtEnd = true;
    this.#sender.close();
  }

  /** The next call in order; undefined at the end. Rejects with what aborted the run, or what the source failed with. */
  async next(): Promise<Started<R> | undefined> {
    const { done, value } = await this.#receiver.recv({ signal: this.signal });
    if (done !== true) return value;
    if (this.#failure !== undefined) throw this.#failure.error;
    return undefined;
  }

  /** Aborts every call and closes the source. */
  abort(reason: unknown): void {
    this.#controller.abort(reason);
    this.close().catch(() => undefined);
  }

  /** Closes the source unless it ended. */
  async close(): Promise<void> {
    if (!this.#isAtEnd) {
      this.#isAtEnd = true;
      const returned = (async () => this.#iterator.return?.())();
      returned.catch(() => undefined);
      // A generator with a pending `next()` would return only after that.
      if (!this.#isAsked) this.#closed = returned;
    }
    await this.#closed;
  }

  #start(item: T, index: number, place: SemaphorePermit): void {
    const { map, ordered = true } = this.#options;
    const result = map(item, index, this.signal);
    result.catch((error: unknown) => this.abort(error));
    if (ordered) {
      this.#sender.send({ result, place });
      return;
    }
    const sender = this.#sender.clone();
    const send = (): void => {
      sender.send({ result, place });
      sender.close();
    };
    result.then(send, send);
  }
}
