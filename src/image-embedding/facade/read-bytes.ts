/** Reads blobs, responses and streams in the caller's process, within the limits of size and time. */
import { types } from 'node:util';
import { describeReceived, isDomException, messageOf } from '../../core/index.js';
import { DeadlineExceededError } from '../../worker/index.js';
import { ImageCorruptError, ImageReadError, ImageTooLargeError, UrlFetchError } from '../image-errors.js';
import { waitFor } from '../wait-for.js';
import type { UnreadInput } from './image-input.js';

/** A `Blob` or a `File` of any implementation. */
export interface BlobLike {
  readonly size: number;
  arrayBuffer(): Promise<ArrayBuffer>;
}

/** A `Response` or a `Request` of any implementation of `fetch`. */
export interface ResponseLike {
  /** Whether a response has a success status. */
  readonly ok?: boolean | undefined;
  readonly status?: number | undefined;
  readonly bodyUsed: boolean;
  readonly body: ByteStream | null;
  arrayBuffer(): Promise<ArrayBuffer>;
}

/** A stream of bytes: a `Readable` of Node, a `ReadableStream` of the web, or any async iterable of `Uint8Array`. */
export type ByteStream = AsyncIterable<Uint8Array | string> | { getReader(): ReadableReader };

/** The used part of a web stream's reader. */
export interface ReadableReader {
  read(): Promise<{ readonly done: boolean; readonly value?: unknown }>;
  cancel(reason?: unknown): Promise<void>;
  releaseLock(): void;
}

/** Limits of a read. */
export interface ReadLimits {
  readonly maxBytes: number;
  readonly signal: AbortSignal | undefined;
  /** The timeout in ms. */
  readonly timeoutMs: number | undefined;
}

/** Converts the `DataCloneError` of a buffer that the caller detached before it was sent; returns other errors unchanged. */
export function movedError(action: string, error: unknown): unknown {
  if (!isDomException(error) || error.name !== 'DataCloneError') return error;
  return new ImageCorruptError(`${action}: the buffer was detached before it was sent to a worker`, { cause: error });
}

/** Cancels the source of an image that will not be read. Errors of the source are ignored. */
export function discard({ input }: UnreadInput): void {
  try {
    const source = ('bodyUsed' in input ? input.body : input) as Partial<{
      cancel(): unknown;
      destroy(): unknown;
      return(): unknown;
    }> | null;
    Promise.resolve(source?.cancel?.() ?? source?.destroy?.() ?? source?.return?.()).catch(() => {});
  } catch {
    // The source failed, or it is locked by another reader.
  }
}

/** Reads an image to its end. If it is too large or the call is aborted, the source is cancelled. */
export async function readBytes(
  action: string,
  { input }: UnreadInput,
  { maxBytes, signal, timeoutMs }: ReadLimits,
): Promise<Uint8Array> {
  const reading = new Reading(action, maxBytes);
  const limit = timeoutMs === undefined ? undefined : { ms: timeoutMs, error: () => tooLate(action, timeoutMs) };
  try {
    return await waitFor(reading.read(input), signal, limit);
  } catch (error) {
    reading.cancel(error);
    throw error;
  }
}

class Reading {
  readonly #action: string;
  readonly #maxBytes: number;
  #cancel: ((reason: unknown) => unknown) | undefined;
  #isCancelled = false;

  constructor(action: string, maxBytes: number) {
    this.#action = action;
    this.#maxBytes = maxBytes;
  }

  /** Cancels the source. Its errors are ignored. */
  cancel(reason: unknown): void {
    this.#isCancelled = true;
    try {
      Promise.resolve(this.#cancel?.(reason)).catch(() => {});
    } catch {
      // The source failed.
    }
  }

  async read(input: UnreadInput['input']): Promise<Uint8Array> {
    if ('size' in input) return this.#check(new Uint8Array(await this.#ask(() => input.arrayBuffer())));
    if (!('bodyUsed' in input)) return await this.#readStream(input);
    if (input.bodyUsed) throw new TypeError(`${this.#action}: its body has been read before`);
    if (input.ok === false) throw new UrlFetchError(`${this.#action}: the response has the status ${input.status}`);
    return input.body === null ? new Uint8Array() : await this.#readStream(input.body);
  }

  /** Converts any error of the source to `ImageReadError`. */
  async #ask<T>(ask: () => Promise<T>): Promise<T> {
    try {
      return await ask();
    } catch (cause) {
      throw new ImageReadError(`${this.#action}: its source failed (${messageOf(cause)})`, { cause });
    }
  }

  async #readStream(stream: ByteStream): Promise<Uint8Array> {
    const chunks: Uint8Array[] = [];
    let length = 0;
    const next = this.#open(stream);
    for (;;) {
      const { done, value } = await this.#ask(next);
      if (this.#isCancelled || done === true) break;
      const chunk = this.#bytesOf(value);
      length += chunk.byteLength;
      if (length > this.#maxBytes) throw this.#tooMany(`more than ${this.#maxBytes}`);
      chunks.push(chunk);
    }
    return chunks.length === 1 ? (chunks[0] as Uint8Array) : Buffer.concat(chunks, length);
  }

  /** Opens a web stream by its reader, anything else by its iterator. */
  #open(stream: ByteStream): () => Promise<{ readonly done?: boolean | undefined; readonly value?: unknown }> {
    if ('getReader' in stream && typeof stream.getReader === 'function') {
      const reader = stream.getReader();
      this.#cancel = (reason) => reader.cancel(reason);
      return () => reader.read();
    }
    const iterator = (stream as AsyncIterable<unknown>)[Symbol.asyncIterator]();
    this.#cancel = () => {
      // The iterator of a Node stream would wait for the next chunk before it returns.
      (stream as { destroy?: () => void }).destroy?.();
      return iterator.return?.();
    };
    return async () => iterator.next();
  }

  #bytesOf(value: unknown): Uint8Array {
    if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
    if (types.isAnyArrayBuffer(value)) return new Uint8Array(value);
    throw new TypeError(`${this.#action}: a stream must yield bytes, received ${describeReceived(value)}`);
  }

  #check(bytes: Uint8Array): Uint8Array {
    if (bytes.byteLength > this.#maxBytes) throw this.#tooMany(String(bytes.byteLength));
    return bytes;
  }

  #tooMany(received: string): ImageTooLargeError {
    return new ImageTooLargeError(`${this.#action}: at most ${this.#maxBytes} bytes are allowed, received ${received}`);
  }
}

function tooLate(action: string, timeoutMs: number): DeadlineExceededError {
  return new DeadlineExceededError(`${action}: its bytes were not read within ${timeoutMs} ms`, timeoutMs);
}
