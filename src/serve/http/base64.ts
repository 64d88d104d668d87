/** Base64 as clients send it: their alphabets are mixed, so the pool's own strict reader is not used. Node's decoder passes over what is none. */

/**
 * Decodes base64 or base64url, with or without padding and white space.
 *
 * @returns The bytes; undefined when it is no base64, or empty.
 */
export function decodeBase64(text: string): Uint8Array | undefined {
  return decodeWhole(text) ?? (/\s/.test(text) ? decodeWhole(text.replace(/\s+/g, '')) : undefined);
}

/** Where every character counts, the bytes have the length that their number stands for. */
function decodeWhole(text: string): Uint8Array | undefined {
  let end = text.length;
  while (end > 0 && end > text.length - 2 && text.charCodeAt(end - 1) === 0x3d) end--;
  if (end === 0 || end % 4 === 1) return undefined;
  const bytes = Buffer.from(text, 'base64');
  return bytes.length === Math.floor((end * 3) / 4) ? bytes : undefined;
}

/** The bytes of a vector as base64: float32, little-endian. */
export function floatsToBase64(vector: Float32Array): string {
  const bytes = Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength);
  return (LITTLE_ENDIAN ? bytes : Buffer.from(bytes).swap32()).toString('base64');
}

const LITTLE_ENDIAN = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;
