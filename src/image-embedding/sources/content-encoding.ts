/** Undoes what `content-encoding` says was done to a body. Servers also name charsets there, and what they do to requests: those are nothing done. */
import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import * as zlib from 'node:zlib';

/** A step of a pipeline of chunks. */
export type Decoder = (source: AsyncIterable<Uint8Array>) => AsyncGenerator<Uint8Array>;

/** How many codings one body may have: a few are mistakes of proxies, more are none. */
const MOST = 3;

/** Makes the decompressor for a body by its first bytes. */
type MakeDecompressor = (first: Uint8Array) => Duplex;

const gunzip: MakeDecompressor = () => zlib.createGunzip();

/** Some servers leave out the wrapper that deflate has in HTTP; browsers take both. */
const inflate: MakeDecompressor = ([first = 0, second = 0]) =>
  (first & 0x0f) === 8 && (first * 256 + second) % 31 === 0 ? zlib.createInflate() : zlib.createInflateRaw();

/** Newer versions of Node have it. */
const { createZstdDecompress } = zlib as { readonly createZstdDecompress?: () => Duplex };

const CODINGS: ReadonlyMap<string, MakeDecompressor> = new Map([
  ['gzip', gunzip],
  ['x-gzip', gunzip],
  ['deflate', inflate],
  ['br', () => zlib.createBrotliDecompress()],
  ...(createZstdDecompress === undefined ? [] : ([['zstd', () => createZstdDecompress()]] as const)),
]);

/** The steps that undo a header's codings, the last first. Unknown ones are nothing done. Undefined when there are too many. */
export function decodersOf(header: string | undefined): readonly Decoder[] | undefined {
  const known = (header ?? '').split(',').flatMap((each) => CODINGS.get(each.trim().toLowerCase()) ?? []);
  if (known.length > MOST) return undefined;
  return known.reverse().map((make) => (source) => decode(source, make));
}

async function* decode(source: AsyncIterable<Uint8Array>, make: MakeDecompressor): AsyncGenerator<Uint8Array> {
  const chunks = source[Symbol.asyncIterator]();
  let first: Uint8Array = new Uint8Array();
  while (first.byteLength < 2) {
    const { done, value } = await chunks.next();
    if (done) break;
    first = Buffer.concat([first, value]);
  }
  if (first.byteLength === 0) return;
  const decompressor = make(first);
  const fed = pipeline(from(first, chunks), decompressor);
  // It is waited for below, once what it gave was taken.
  fed.catch(() => {});
  yield* decompressor as AsyncIterable<Uint8Array>;
  await fed;
}

async function* from(first: Uint8Array, rest: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield first;
  for (;;) {
    const { done, value } = await rest.next();
    if (done) return;
    yield value;
  }
}
