import { type AbortListener, addAbortListener, removeAbortListener } from '../../core/index.js';
import { ImageTimeoutError } from '../image-errors.js';

/**
 * The end of the time that one image may take, and of the caller's patience. libvips is asked to stop too, but some decoders (AVIF's) do the
 * whole image in one call that nothing interrupts: the caller is answered on time all the same, and the late result is dropped.
 */
export class DecodeDeadline {
  readonly #ended: Promise<never>;
  readonly #signal: AbortSignal | undefined;
  readonly #timer: NodeJS.Timeout;
  readonly #controller = new AbortController();
  #reject!: (reason: unknown) => void;
  readonly #listener: AbortListener = { onAbort: (reason) => this.#end(reason) };

  constructor(timeoutMs: number, signal: AbortSignal | undefined) {
    signal?.throwIfAborted();
    this.#signal = signal;
    this.#ended = new Promise((_resolve, reject) => {
      this.#reject = reject;
    });
    // It may end while no decode races against it.
    this.#ended.catch(() => {});
    if (signal !== undefined) addAbortListener(signal, this.#listener);
    this.#timer = setTimeout(
      () => this.#end(new ImageTimeoutError(`Cannot decode image: it took longer than ${timeoutMs} ms`)),
      Math.min(timeoutMs, 2 ** 31 - 1),
    );
  }

  /** Aborts when the time is up or the caller's signal aborts. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Settles as the promise does, or rejects when the time is up or the signal aborts. */
  race<T>(promise: Promise<T>): Promise<T> {
    return Promise.race([promise, this.#ended]);
  }

  #end(reason: unknown): void {
    this.#reject(reason);
    this.#controller.abort(reason);
  }

  /** Stops the timer and leaves the signal alone. */
  end(): void {
    clearTimeout(this.#timer);
    if (this.#signal !== undefined) removeAbortListener(this.#signal, this.#listener);
  }
}
