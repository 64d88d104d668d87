/** Checks the images that callers pass in and converts them to worker inputs. */
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { types } from 'node:util';
import { describeReceived } from '../../core/index.js';
import { pathOfFileUrl } from '../file-name.js';
import { ImageCorruptError, ImageNotFoundError, ImageTooLargeError, UrlForbiddenError } from '../image-errors.js';
import { MAX_WAITING_BYTES } from '../operations.js';
import { maxBase64Length } from '../sources/memory-source.js';
import type { SourceKind } from '../sources/read-source.js';
import type { BlobLike, ByteStream, ResponseLike } from './read-bytes.js';

/** The bytes of an encoded image in memory: a `Uint8Array`, a `Buffer`, any other view, or the buffer itself. */
export type ImageMemory = ArrayBufferView | ArrayBufferLike;

/**
 * The bytes of an encoded image: in memory, in a `Blob` or `File`, in the body of a `Response` or `Request`, or in a stream of Node or of the web. Blobs and
 * streams are read once, in the caller's process, up to `limits.maxBytes`.
 */
export type ImageBytes = ImageMemory | BlobLike | ResponseLike | ByteStream;

/** An image of any kind: a string is a path, a `URL` is fetched, and anything else is bytes. */
export type ImageInput = string | URL | ImageBytes;

/** One image of a batch: a path, or bytes. */
export type BatchInput = string | ImageBytes;

/** The input of a worker. */
export interface WorkerInput {
  readonly kind: SourceKind;
  readonly input: string | Uint8Array;
}

/** An image whose bytes are not read yet. */
export interface UnreadInput {
  readonly kind: 'unread';
  readonly input: BlobLike | ResponseLike | ByteStream;
}

/** A checked input; nothing is opened yet. */
export type CheckedInput = WorkerInput | UnreadInput;

/** The caller's working folder, which relative paths refer to; undefined when it was deleted. */
export function callersFolder(): string | undefined {
  try {
    return process.cwd();
  } catch {
    return undefined;
  }
}

/** Checks a path or a `file:` URL and makes it absolute, since a worker's working folder differs. */
export function checkPath(action: string, value: unknown, folder: string | undefined): WorkerInput {
  let file = value;
  if (isUrl(value)) {
    if (value.protocol !== 'file:') {
      throw new TypeError(`${action}: a path must be a string or a file: URL, received a URL of ${value.protocol}`);
    }
    file = pathOfFileUrl(value.href) ?? fileURLToPath(value.href);
  }
  if (typeof file !== 'string') {
    throw new TypeError(`${action}: input must be a string, received ${describeReceived(value)}`);
  }
  // `path.resolve` would return the folder.
  if (file === '') throw new ImageNotFoundError(`${action}: the path must not be empty`);
  return { kind: 'path', input: path.resolve(folder ?? '', file) };
}

/** Checks a URL to fetch. */
export function checkUrl(action: string, value: unknown): WorkerInput {
  const text = isUrl(value) ? value.href : value;
  if (typeof text !== 'string') {
    throw new TypeError(`${action}: input must be a string or a URL, received ${describeReceived(value)}`);
  }
  if (isUrl(value) && value.protocol === 'file:') {
    throw new UrlForbiddenError(`${action}: a URL is never opened as a file, pass its path`);
  }
  return { kind: 'url', input: text };
}

/** Checks base64 text; its length allows for the whitespace that a worker accepts. */
export function checkBase64(action: string, value: unknown, maxBytes: number): WorkerInput {
  if (typeof value !== 'string') {
    throw new TypeError(`${action}: input must be a string, received ${describeReceived(value)}`);
  }
  requireBytes(action, value.length);
  if (value.length > Math.min(maxBase64Length(maxBytes), MAX_WAITING_BYTES)) {
    const most = Math.min(maxBytes, Math.floor((MAX_WAITING_BYTES * 3) / 4));
    requireFewBytes(action, Math.max(most + 1, Math.floor((value.length * 3) / 4)), most);
  }
  return { kind: 'base64', input: value };
}

/** Checks bytes in any form, of any realm. */
export function checkBytes(action: string, value: unknown, maxBytes: number): CheckedInput {
  const bytes = bytesInMemory(value);
  if (bytes !== undefined) {
    requireFewBytes(action, bytes.byteLength, maxBytes);
    requireBytes(action, bytes.byteLength);
    return { kind: 'bytes', input: bytes };
  }
  if (isBlob(value)) {
    requireFewBytes(action, value.size, maxBytes);
    return { kind: 'unread', input: value };
  }
  if (isResponse(value) || isByteStream(value)) return { kind: 'unread', input: value };
  throw new TypeError(
    `${action}: input must be a Uint8Array, an ArrayBuffer, a Blob, a Response or a stream, received ${describeReceived(value)}`,
  );
}

/** Checks an image of any kind. With `fetchesUrls` a `URL` is fetched; otherwise it must be a `file:` URL. */
export function checkAny(
  action: string,
  value: unknown,
  { folder, maxBytes, fetchesUrls }: { folder: string | undefined; maxBytes: number; fetchesUrls: boolean },
): CheckedInput {
  if (isUrl(value) && fetchesUrls) return checkUrl(action, value);
  if (typeof value === 'string' || isUrl(value)) return checkPath(action, value, folder);
  return checkBytes(action, value, maxBytes);
}

/** The size of an image in bytes; undefined when it is known only after reading. */
export function sizeOf({ kind, input }: CheckedInput): number | undefined {
  if (kind === 'bytes') return (input as Uint8Array).byteLength;
  if (kind === 'unread') return isBlob(input) ? input.size : undefined;
  return 0;
}

/** The bytes of a view or buffer. Shared memory is copied: it can't be sent, and other threads may change it. */
function bytesInMemory(value: unknown): Uint8Array | undefined {
  const isView = ArrayBuffer.isView(value);
  if (!isView && !types.isAnyArrayBuffer(value)) return undefined;
  if (isView && value instanceof Uint8Array && types.isArrayBuffer(value.buffer)) return value;
  try {
    return isView ? viewOf(value.buffer, value.byteOffset, value.byteLength) : viewOf(value, 0, value.byteLength);
  } catch {
    // The buffer is detached.
    return new Uint8Array();
  }
}

function viewOf(buffer: ArrayBufferLike, offset: number, length: number): Uint8Array {
  const view = new Uint8Array(buffer, offset, length);
  return types.isSharedArrayBuffer(buffer) ? view.slice() : view;
}

/** Refuses empty input, such as an empty form field or a detached buffer. */
function requireBytes(action: string, size: number): void {
  if (size === 0) throw new ImageCorruptError(`${action}: expected an image, received 0 bytes`);
}

function requireFewBytes(action: string, size: number, maxBytes: number): void {
  if (size <= maxBytes) return;
  throw new ImageTooLargeError(`${action}: at most ${maxBytes} bytes are allowed, received ${size}`);
}

/** Whether a value is a `URL` of any realm. */
export function isUrl(value: unknown): value is URL {
  if (value instanceof URL) return true;
  const { href, protocol } = (typeof value === 'object' && value !== null ? value : {}) as Partial<URL>;
  return typeof href === 'string' && typeof protocol === 'string' && URL.canParse(href);
}

function isBlob(value: unknown): value is BlobLike {
  const blob = value as Partial<BlobLike> | null | undefined;
  return typeof blob?.size === 'number' && typeof blob.arrayBuffer === 'function';
}

function isResponse(value: unknown): value is ResponseLike {
  const response = value as Partial<ResponseLike> | null | undefined;
  const hasBody = typeof response?.bodyUsed === 'boolean' && 'body' in (value as object);
  return hasBody && typeof (response as { arrayBuffer?: unknown }).arrayBuffer === 'function';
}

function isByteStream(value: unknown): value is ByteStream {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  return Symbol.asyncIterator in value || typeof (value as { getReader?: unknown }).getReader === 'function';
}
