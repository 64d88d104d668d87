import { types } from 'node:util';
import { describeReceived } from '../../core/index.js';
import { ImageCorruptError, ImageTooLargeError } from '../image-errors.js';

/** Takes bytes that the caller holds: checks their kind and their number, copies nothing. */
export function bytesFromMemory(input: unknown, maxBytes: number): Uint8Array {
  let bytes: Uint8Array;
  if (input instanceof Uint8Array) bytes = input;
  else if (ArrayBuffer.isView(input)) bytes = new Uint8Array(input.buffer, input.byteOffset, input.byteLength);
  else if (types.isAnyArrayBuffer(input)) bytes = new Uint8Array(input);
  else {
    throw new TypeError(
      `Cannot read image: bytes must be a Uint8Array or an ArrayBuffer, received ${describeReceived(input)}`,
    );
  }
  if (bytes.byteLength > maxBytes) throw tooManyBytes('image', bytes.byteLength, maxBytes);
  if (bytes.byteLength === 0) throw new ImageCorruptError('Cannot read image: expected an image, received 0 bytes');
  return bytes;
}

/** The error for something that exceeds a cap in bytes. */
export function tooManyBytes(what: string, bytes: number, maxBytes: number): ImageTooLargeError {
  return new ImageTooLargeError(`Cannot read ${what}: at most ${maxBytes} bytes are allowed, received ${bytes}`);
}
