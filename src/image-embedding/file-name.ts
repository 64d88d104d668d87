/**
 * Names of files that are not UTF-8, in strings.
 *
 * Invariant: `decodePath` and `encodePath` are each other's inverse. A byte that is not part of sound UTF-8 becomes the lone surrogate U+DC00 + byte, which
 * no sound UTF-8 decodes to (Python's `surrogateescape`). So such a path can be joined, matched and sent as any other string; it becomes bytes
 * again where the system is asked for the file.
 */
import path from 'node:path';

const ESCAPE = 0xdc00;
const ESCAPED = /[\uDC80-\uDCFF]/;
/** A lone one: the second half of a pair is a character's. */
const LONE = /(?<![\uD800-\uDBFF])[\uDC80-\uDCFF]/;

const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The string that stands for the bytes of a path. */
export function decodePath(bytes: Uint8Array): string {
  try {
    return strict.decode(bytes);
  } catch {
    return decodeBroken(bytes);
  }
}

function decodeBroken(bytes: Uint8Array): string {
  let text = '';
  for (let at = 0; at < bytes.length; ) {
    const length = sequenceLength(bytes, at);
    text +=
      length === 0
        ? String.fromCharCode(ESCAPE + (bytes[at] as number))
        : strict.decode(bytes.subarray(at, at + length));
    at += Math.max(1, length);
  }
  return text;
}

/** How many bytes the sound UTF-8 sequence has that begins here; 0 when none does. */
function sequenceLength(bytes: Uint8Array, at: number): number {
  const first = bytes[at] as number;
  if (first < 0x80) return 1;
  const length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  try {
    strict.decode(bytes.subarray(at, at + length));
    return at + length <= bytes.length ? length : 0;
  } catch {
    return 0;
  }
}

/** Whether a path stands for bytes that are not UTF-8. */
export function isEscapedPath(file: string): boolean {
  return ESCAPED.test(file) && LONE.test(file);
}

/** What the system is asked for: the path itself, or its bytes where they are not UTF-8. */
export function encodePath(file: string): string | Buffer {
  if (!isEscapedPath(file)) return file;
  const parts: Uint8Array[] = [];
  let from = 0;
  for (const { index } of file.matchAll(new RegExp(LONE, 'g'))) {
    parts.push(Buffer.from(file.slice(from, index)), Buffer.of(file.charCodeAt(index) - ESCAPE));
    from = index + 1;
  }
  return Buffer.concat([...parts, Buffer.from(file.slice(from))]);
}

/** A path in sound Unicode, for output: itself, or a `file:` URL with the bytes of the absolute path where they are not UTF-8. */
export function printablePath(file: string): string {
  const bytes = encodePath(isEscapedPath(file) ? path.resolve(file) : file);
  if (typeof bytes === 'string') return bytes;
  const url = Array.from(bytes, (byte) =>
    /[\w./~-]/.test(String.fromCharCode(byte)) && byte < 0x80
      ? String.fromCharCode(byte)
      : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`,
  );
  return `file://${url.join('')}`;
}

/** The path in a `file:///` URL; undefined where it holds none. */
export function pathOfFileUrl(url: string): string | undefined {
  const [, escaped] = /^file:\/\/(\/.*)$/is.exec(url) ?? [];
  // A NUL is in no path, and an escaped slash in no name.
  if (escaped === undefined || /%(?![0-9a-f]{2})|%00|%2f/i.test(escaped)) return undefined;
  const bytes = escaped.split(/(%[0-9a-f]{2})/i).map((part) => {
    return /^%[0-9a-f]{2}$/i.test(part) ? Buffer.of(Number.parseInt(part.slice(1), 16)) : Buffer.from(part);
  });
  return decodePath(Buffer.concat(bytes));
}
