/** Names as the bytes that they are: those in a list on standard input, and those in arguments that are not UTF-8. */
import { readFile } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { decodePath, isEscapedPath } from '../../image-embedding/internal.js';
import { RunError, UsageError } from '../errors.js';

/** Options of {@link listNames}. */
export interface ListOptions {
  /** Whether names end in NUL, as `find -print0` writes them; found out from the list by default. */
  readonly isNullSeparated?: boolean | undefined;
  /** Ends the reading and destroys the stream. */
  readonly signal?: AbortSignal | undefined;
}

const NUL = 0;
const LF = 10;
const CR = 13;
/** Longer than any path or URL. */
const MAX_NAME_BYTES = 1_000_000;
const ENOUGH_TO_TELL = 4;

/**
 * The names in a list, without their separators. They end in LF (one CR before it is taken off) or, where the beginning holds a NUL, in NUL. A
 * byte order mark is taken off.
 *
 * @throws UsageError when the list is in UTF-16; RunError when it is no list.
 */
export async function* listNames(stream: Readable, options: ListOptions): AsyncGenerator<Buffer, void, void> {
  let rest: Buffer = Buffer.alloc(0);
  let separator: number | undefined = options.isNullSeparated === true ? NUL : undefined;
  let isBegun = false;
  let count = 0;

  function* cut(isLast: boolean): Generator<Buffer> {
    if (!isBegun) {
      if (rest.length < ENOUGH_TO_TELL && !isLast) return;
      rest = withoutMark(rest, separator === NUL);
      isBegun = true;
    }
    if (separator === undefined) {
      if (rest.includes(NUL)) separator = NUL;
      else if (rest.includes(LF) || isLast) separator = LF;
    }
    if (separator !== undefined) {
      let from = 0;
      for (let end = rest.indexOf(separator); end >= 0; end = rest.indexOf(separator, from)) {
        count++;
        yield withoutReturn(rest.subarray(from, end), separator);
        from = end + 1;
      }
      rest = rest.subarray(from);
    }
    if (rest.length > MAX_NAME_BYTES) {
      throw new RunError(
        `Cannot read the list: name ${count + 1} is longer than ${MAX_NAME_BYTES} bytes, so this is no list of paths and URLs`,
      );
    }
    if (isLast && rest.length > 0) yield withoutReturn(rest, separator);
  }

  for await (const chunk of readUntil(stream, options.signal)) {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    yield* cut(false);
  }
  if (options.signal?.aborted !== true) yield* cut(true);
}

function withoutReturn(name: Buffer, separator: number | undefined): Buffer {
  return separator !== NUL && name.at(-1) === CR ? name.subarray(0, -1) : name;
}

/** Takes the byte order mark off, and refuses UTF-16, whose every other byte is NUL for most names. */
function withoutMark(bytes: Buffer, isNullSeparated: boolean): Buffer {
  const [a = 1, b = 1, c = 1, d = 1] = bytes;
  if (a === 0xef && b === 0xbb && c === 0xbf) return bytes.subarray(3);
  const hasMark = (a === 0xff && b === 0xfe) || (a === 0xfe && b === 0xff);
  const looksWide = (a !== 0 && b === 0 && c !== 0 && d === 0) || (a === 0 && b !== 0 && c === 0 && d !== 0);
  if (hasMark || (looksWide && !isNullSeparated && bytes.length >= ENOUGH_TO_TELL)) {
    throw new UsageError(
      'Cannot read the list: it is in UTF-16, and must be in UTF-8 (iconv -f UTF-16 -t UTF-8; in PowerShell: Out-File -Encoding utf8)',
    );
  }
  return bytes;
}

async function* readUntil(stream: Readable, signal: AbortSignal | undefined): AsyncGenerator<Buffer, void, void> {
  const stop = (): void => void stream.destroy();
  if (signal?.aborted) return;
  signal?.addEventListener('abort', stop, { once: true });
  try {
    for await (const chunk of stream as AsyncIterable<Buffer | string>) {
      yield typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
      if (signal?.aborted) return;
    }
  } catch (error) {
    if (signal?.aborted !== true) throw error;
  } finally {
    signal?.removeEventListener('abort', stop);
  }
}

/**
 * The path in an argument. Node replaces bytes that are not UTF-8 by U+FFFD; on Linux the original bytes are read from `/proc/self/cmdline`.
 */
export async function rawArgument(arg: string): Promise<string> {
  if (!arg.includes('\uFFFD')) return arg;
  const text = await readFile('/proc/self/cmdline').catch(() => Buffer.alloc(0));
  const args = splitAtNul(text).filter((each) => each.toString('utf8') === arg);
  const paths = args.map(decodePath).filter(isEscapedPath);
  // Arguments that look the same are told apart by their order.
  const turn = turns.get(arg) ?? 0;
  turns.set(arg, turn + 1);
  return paths[turn] ?? arg;
}

const turns = new Map<string, number>();

function splitAtNul(bytes: Buffer): Buffer[] {
  const parts: Buffer[] = [];
  let from = 0;
  for (let end = bytes.indexOf(0); end >= 0; end = bytes.indexOf(0, from)) {
    parts.push(bytes.subarray(from, end));
    from = end + 1;
  }
  return parts;
}
