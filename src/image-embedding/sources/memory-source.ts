/** Images that the caller holds: bytes, and base64 text. */

import { types } from 'node:util';
import { describeReceived, requireString } from '../../core/index.js';
import { Base64InvalidError, ImageCorruptError, tooManyBytes } from '../image-errors.js';

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

const DATA_URL = /^data:([^,]{0,1000}),/i;

/** How long a text may be that holds so many bytes: with line breaks every 76 characters and a data URL's header. More white space than that is no image. */
export function maxBase64Length(maxBytes: number): number {
  return Math.ceil(maxBytes / 3) * 4 * 1.1 + 1100;
}

/**
 * Decodes base64 or a base64 data URL. Only the standard alphabet is taken, with white space anywhere and padding optional; the media type of
 * a data URL is not believed. The length is checked before a byte is decoded.
 */
export function bytesFromBase64(input: unknown, maxBytes: number): Uint8Array {
  let text = requireString('Cannot decode base64', 'input', input);
  if (text.length > maxBase64Length(maxBytes))
    throw tooManyBytes('base64', Math.floor((text.length * 3) / 4), maxBytes);
  if (/^\s*data:/i.test(text.slice(0, 100))) text = payloadOfDataUrl(text.trimStart());
  if (/\s/.test(text)) text = text.replace(/\s+/g, '');

  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
  const digits = text.length - padding;
  if (digits === 0) throw new ImageCorruptError('Cannot decode base64: expected an image, received 0 bytes');
  if (digits % 4 === 1 || (padding > 0 && text.length % 4 !== 0)) {
    throw new Base64InvalidError(`Cannot decode base64: the length does not fit, received ${text.length} characters`);
  }
  const length = Math.floor((digits * 3) / 4);
  if (length > maxBytes) throw tooManyBytes('base64', length, maxBytes);
  const bytes = Buffer.from(text, 'base64');
  // The decoder skips what it does not know and takes the URL alphabet too: a short result or one of its characters means a foreign one.
  if (bytes.byteLength !== length || text.includes('-') || text.includes('_')) {
    const at = text.search(/[^A-Za-z0-9+/]/);
    throw new Base64InvalidError(
      `Cannot decode base64: expected A-Z, a-z, 0-9, + and /, received ${JSON.stringify(text.slice(at, at + 1))} at character ${at}`,
    );
  }
  // The bits beyond the last byte must be 0, so that one image has one encoding.
  const tail = text.slice(digits - (digits % 4), digits);
  if (tail !== '' && bytes.toString('base64', length - (length % 3)).slice(0, tail.length) !== tail) {
    throw new Base64InvalidError(
      `Cannot decode base64: the last character carries bits of no byte, received '${tail}'`,
    );
  }
  return bytes;
}

function payloadOfDataUrl(text: string): string {
  const match = DATA_URL.exec(text);
  if (match === null) throw new Base64InvalidError('Cannot decode data URL: expected data:<type>;base64,<data>');
  if (!/;\s*base64\s*$/i.test(match[1] as string)) {
    throw new Base64InvalidError(
      `Cannot decode data URL: expected ;base64 before the comma, received data:${match[1]},`,
    );
  }
  const payload = text.slice(match[0].length);
  if (!payload.includes('%')) return payload;
  try {
    return decodeURIComponent(payload);
  } catch (cause) {
    throw new Base64InvalidError('Cannot decode data URL: the percent encoding is broken', { cause });
  }
}
