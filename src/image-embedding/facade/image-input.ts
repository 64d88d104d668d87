/** What users hand in as an image: checked where the call enters, and made into what crosses to a worker. */
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
 * The bytes of an encoded image: in memory, in a `Blob` or `File`, in the body of a `Response` or `Request`, or in a stream of Node or of the web. What has to be
 * read is read in the caller's process, up to `limits.maxBytes`, and once.
 */
export type ImageBytes = ImageMemory | BlobLike | ResponseLike | ByteStream;

/** One image of a call that takes any kind: a string is a path, a `URL` is fetched, and anything else is bytes. */
export type ImageInput = string | URL | ImageBytes;

/** One image of a batch: a path, or bytes. */
export type BatchInput = string | ImageBytes;

/** An image as a worker takes it. */
export interface WorkerInput {
  readonly kind: SourceKind;
  readonly input: string | Uint8Array;
}

/** An image whose bytes are still to be read. */
export interface UnreadInput {
  readonly kind: 'unread';
  readonly input: BlobLike | ResponseLike | ByteStream;
}

/** An image whose description was checked, before anything is opened. */
export type CheckedInput = WorkerInput | UnreadInput;

/** The folder that a relative path is meant from: the caller's own, at the time of the call. Undefined where there is none any more. */
export function callersFolder(): string | undefined {
  try {
    return process.cwd();
  } catch {
    return undefined;
  }
}

/** Takes a path, or a `file:` URL. A worker's own working folder is none of the caller's business, so what crosses is absolute. */
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
  // An empty one would become the folder itself.
  if (file === '') throw new ImageNotFoundError(`${action}: the path must not be empty`);
  return { kind: 'path', input: path.resolve(folder ?? '', file) };
}

/** Takes a URL that is fetched. */
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

/** Takes base64, with white space as far as the worker takes it. */
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

/** Takes bytes in any form, of any realm. */
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

/** Takes one image of many: a path, bytes, or, where a `URL` is fetched, a URL. */
export function checkAny(
  action: string,
  value: unknown,
  { folder, maxBytes, fetchesUrls }: { folder: string | undefined; maxBytes: number; fetchesUrls: boolean },
): CheckedInput {
  if (isUrl(value) && fetchesUrls) return checkUrl(action, value);
  if (typeof value === 'string' || isUrl(value)) return checkPath(action, value, folder);
  return checkBytes(action, value, maxBytes);
}

/** How many bytes an image has as far as that is known before it is read. */
export function sizeOf({ kind, input }: CheckedInput): number | undefined {
  if (kind === 'bytes') return (input as Uint8Array).byteLength;
  if (kind === 'unread') return isBlob(input) ? input.size : undefined;
  return 0;
}

/** Memory that is shared with other threads is copied: it could not cross, and would change on the way. */
function bytesInMemory(value: unknown): Uint8Array | undefined {
  const isView = ArrayBuffer.isView(value);
  if (!isView && !types.isAnyArrayBuffer(value)) return undefined;
  if (isView && value instanceof Uint8Array && types.isArrayBuffer(value.buffer)) return value;
  try {
    return isView ? viewOf(value.buffer, value.byteOffset, value.byteLength) : viewOf(value, 0, value.byteLength);
  } catch {
    // It was moved elsewhere: there is nothing in it any more.
    return new Uint8Array();
  }
}

function viewOf(buffer: ArrayBufferLike, offset: number, length: number): Uint8Array {
  const view = new Uint8Array(buffer, offset, length);
  return types.isSharedArrayBuffer(buffer) ? view.slice() : view;
}

/** Refuses what has nothing in it: an empty field of a form, a buffer that was moved elsewhere. */
function requireBytes(action: string, size: number): void {
  if (size === 0) throw new ImageCorruptError(`${action}: expected an image, received 0 bytes`);
}

function requireFewBytes(action: string, size: number, maxBytes: number): void {
  if (size <= maxBytes) return;
  throw new ImageTooLargeError(`${action}: at most ${maxBytes} bytes are allowed, received ${size}`);
}

/** Whether it is a `URL`, of this realm or another. */
export function isUrl(value: unknown): value is URL {
  if (value instanceof URL) return true;
  // Of another realm.
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
