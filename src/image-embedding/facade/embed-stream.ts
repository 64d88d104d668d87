/**
 * Many images as a stream of results.
 *
 * Invariant: at most `concurrency` items are between the source and the consumer, counting those that are finished and not yet taken. So the
 * source is read no faster than results are consumed, and a million paths use constant memory.
 */
import { Repeater } from '@repeaterjs/repeater';
import { addAbortListener, removeAbortListener } from '../../core/index.js';

/** One result of a stream: an embedding, or what went wrong with this image alone. */
export type StreamResult<Input> =
  | { readonly index: number; readonly input: Input; readonly embedding: Float32Array; readonly error?: undefined }
  | { readonly index: number; readonly input: Input; readonly embedding?: undefined; readonly error: Error };

/** How a stream runs. */
export interface EmbedStreamOptions<Input> {
  readonly source: Iterable<Input> | AsyncIterable<Input>;
  readonly concurrency: number;
  /** Whether results come in the order of the source, or as they finish. */
  readonly ordered: boolean;
  /** What has to be well before the source is asked for its first image. */
  readonly prepare?: (() => Promise<void>) | undefined;
  /** Embeds one image. */
  readonly embed: (input: Input, signal: AbortSignal) => Promise<Float32Array>;
  /** Whether a failure is the image's own, and goes beside the results; any other ends the stream. */
  readonly isOwn: (error: unknown) => boolean;
  /** Ends the stream with its reason. */
  readonly signal: AbortSignal | undefined;
  /** Aborted when the stream is left early: what runs is given up. */
  readonly controller: AbortController;
}

/** Makes the stream. Nothing is read before the first result is asked for. */
export function createEmbedStream<Input>(
  options: EmbedStreamOptions<Input>,
): Repeater<StreamResult<Input>, void, void> {
  return new Repeater<StreamResult<Input>, void, void>(async (push, stop) => {
    const { signal, controller } = options;
    const reader = new SourceReader(options.source);
    let hasEnded = false;
    const end = (reason: unknown) => {
      hasEnded = true;
      controller.abort(reason);
      // Lanes that wait for the source wait no longer; what closing it comes to is heard below.
      reader.close().catch(() => undefined);
    };
    const listener = { onAbort: end };
    const left = new DOMException('The stream was left', 'AbortError');
    const stopped = stop.then(() => end(left));
    signal?.throwIfAborted();
    if (signal !== undefined) addAbortListener(signal, listener);
    // Whose turn it is to hand over, when results keep the order of the source.
    let turn: Promise<unknown> = Promise.resolve();

    async function lane(): Promise<void> {
      while (!hasEnded) {
        const item = await reader.next();
        if (item === undefined || hasEnded) return;
        const before = turn;
        const embedding = options.embed(item.input, controller.signal);
        const result = toResult(item, embedding, options.isOwn);
        if (!options.ordered) {
          await push(await result);
          continue;
        }
        let handOver: () => void = () => undefined;
        turn = new Promise<void>((resolve) => {
          handOver = resolve;
        });
        try {
          const [value] = await Promise.all([result, before]);
          const taken = push(value);
          handOver();
          await taken;
        } finally {
          handOver();
        }
      }
    }

    try {
      await options.prepare?.();
      await Promise.all(Array.from({ length: options.concurrency }, lane));
      signal?.throwIfAborted();
    } catch (error) {
      // What was given up because nobody listens any more is no failure.
      if (controller.signal.reason === left) return;
      end(error);
      throw signal?.aborted ? signal.reason : error;
    } finally {
      if (signal !== undefined) removeAbortListener(signal, listener);
      await reader.close();
      stop();
      await stopped;
    }
  });
}

interface Item<Input> {
  readonly index: number;
  readonly input: Input;
}

interface Waiter<Input> {
  readonly resolve: (item: Item<Input> | undefined) => void;
  readonly reject: (error: unknown) => void;
}

async function toResult<Input>(
  { index, input }: Item<Input>,
  pending: Promise<Float32Array>,
  isOwn: (error: unknown) => boolean,
): Promise<StreamResult<Input>> {
  try {
    return { index, input, embedding: await pending };
  } catch (error) {
    if (!isOwn(error)) throw error;
    return { index, input, error: error as Error };
  }
}

/** Numbers the items of a source, and asks it for one at a time, whoever asks. */
class SourceReader<Input> {
  readonly #iterator: Iterator<Input> | AsyncIterator<Input>;
  readonly #waiting: Waiter<Input>[] = [];
  #isReading = false;
  #count = 0;
  #isDone = false;
  #closed: Promise<unknown> | undefined;

  constructor(source: Iterable<Input> | AsyncIterable<Input>) {
    this.#iterator = Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]();
  }

  /** The next item; undefined at the end, and once it is closed, whether or not the source ever answers. */
  next(): Promise<Item<Input> | undefined> {
    return new Promise((resolve, reject) => {
      if (this.#isDone) {
        resolve(undefined);
        return;
      }
      this.#waiting.push({ resolve, reject });
      if (!this.#isReading) void this.#read();
    });
  }

  /** Lets the source release what it holds, unless it came to its end. */
  async close(): Promise<void> {
    if (!this.#isDone) {
      this.#end();
      const returned = Promise.resolve(this.#iterator.return?.());
      returned.catch(() => undefined);
      // A generator that is asked for an item returns only when it has one.
      if (!this.#isReading) this.#closed = returned;
    }
    await this.#closed;
  }

  async #read(): Promise<void> {
    this.#isReading = true;
    try {
      while (this.#waiting.length > 0) {
        const { done, value } = await this.#iterator.next();
        if (done === true) this.#end();
        if (this.#isDone) return;
        this.#waiting.shift()?.resolve({ index: this.#count, input: value as Input });
        this.#count += 1;
      }
    } catch (error) {
      const first = this.#waiting.shift();
      this.#end();
      first?.reject(error);
    } finally {
      this.#isReading = false;
    }
  }

  #end(): void {
    this.#isDone = true;
    for (const each of this.#waiting.splice(0)) each.resolve(undefined);
  }
}
