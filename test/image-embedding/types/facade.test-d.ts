/**
 * What the compiler must infer of the facade and what it must refuse. Compiled by `npm run types`; nothing here runs.
 */
import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import {
  BatchError,
  type BatchInput,
  createImageEmbeddingPool,
  type DetailedEmbedding,
  type ImageBytes,
  type ModelDescription,
  type SettledEmbedding,
} from '../../../src/image-embedding/index.js';

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function holds<_T extends true>(): void {}

export async function facade(bytes: Uint8Array, settle: boolean): Promise<void> {
  const pool = createImageEmbeddingPool({ models: { clip: 'Xenova/clip-vit-base-patch32' }, workers: { max: 2 } });

  const one = await pool.embedImage('cat.jpg', { model: 'clip', priority: 'interactive' });
  holds<Equal<typeof one, Float32Array>>();
  const several = [
    pool.embedImageUrl(new URL('https://example.org')),
    pool.embedImageBase64('aGk='),
    pool.embedImageBytes(bytes),
  ];
  holds<Equal<typeof several, Promise<Float32Array>[]>>();
  const all = await pool.batchEmbedImages(['a', 'b']);
  holds<Equal<typeof all, Float32Array[]>>();
  const settled = await pool.batchEmbedImages(['a', 'b'], { settle: true });
  holds<Equal<typeof settled, SettledEmbedding[]>>();
  for (const each of settled) {
    if (each.error === undefined) holds<Equal<typeof each.embedding, Float32Array>>();
    else holds<Equal<typeof each.error, Error>>();
  }

  const mixed: (string | URL | Uint8Array)[] = ['a', new URL('https://example.org'), bytes];
  for await (const result of pool.embedImages(mixed)) {
    holds<Equal<typeof result.input, string | URL | Uint8Array>>();
    if (result.error === undefined) holds<Equal<typeof result.embedding, Float32Array>>();
    else holds<Equal<typeof result.embedding, undefined>>();
  }
  for await (const { input } of pool.embedImages('folder')) holds<Equal<typeof input, string>>();
  const description = await pool.describe();
  holds<Equal<typeof description, ModelDescription>>();

  const detailed = await pool.embedImageDetailed('cat.jpg', { traceparent: '00-…' });
  holds<Equal<typeof detailed, DetailedEmbedding>>();
  holds<Equal<typeof detailed.info.queuedMs, number>>();
  const evicted = await pool.evict('clip');
  holds<Equal<typeof evicted, number>>();
  await pool.embedImage(new URL('file:///cat.jpg'), { wait: false });
  const held: ImageBytes[] = [
    bytes,
    bytes.buffer,
    Buffer.from(bytes),
    new DataView(new ArrayBuffer(8)),
    new SharedArrayBuffer(8),
    new Blob([]),
    new File([], 'cat.jpg'),
    new Response(),
    new Request('https://example.org'),
    await fetch('https://example.org'),
    new Blob([]).stream(),
    new ReadableStream<Uint8Array>(),
    createReadStream('cat.jpg'),
    Readable.from([bytes]),
    (async function* () {
      yield bytes;
    })(),
  ];
  for (const each of held) await pool.embedImageBytes(each);
  const ofBytes = await pool.batchEmbedImages([bytes, 'cat.jpg', new Blob([])], { settle: true });
  holds<Equal<typeof ofBytes, SettledEmbedding[]>>();
  for await (const { input } of pool.embedImages(held)) holds<Equal<typeof input, ImageBytes>>();
  const failure: unknown = new BatchError([{ index: 0, input: bytes, error: new Error('no') }], 1);
  if (failure instanceof BatchError) holds<Equal<(typeof failure.failures)[0]['input'], BatchInput>>();

  // @ts-expect-error: a batch waits for room
  await pool.batchEmbedImages(['a'], { wait: false });
  // @ts-expect-error: numbers are no bytes
  await pool.embedImageBytes([1, 2, 3]);
  // @ts-expect-error: a promise of bytes is to be awaited
  await pool.embedImageBytes(Promise.resolve(bytes));
  // @ts-expect-error: no such operation
  await pool.embedImageFile('cat.jpg');
  // @ts-expect-error: bytes are no path
  await pool.embedImage(bytes);
  // @ts-expect-error: a path is no bytes
  await pool.embedImageBytes('cat.jpg');
  // @ts-expect-error: no such option
  await pool.embedImage('cat.jpg', { timeout: 1 });
  // @ts-expect-error: URLs are embedded one by one, or as a stream
  await pool.batchEmbedImages([new URL('https://example.org')]);
  // @ts-expect-error: whether it settles must be known, for it decides what comes back
  await pool.batchEmbedImages(['a'], { settle });
  // @ts-expect-error: numbers are no images
  pool.embedImages([1, 2]);
  // @ts-expect-error: no such option
  createImageEmbeddingPool({ worker: 2 });
  // @ts-expect-error: no such host
  createImageEmbeddingPool({ host: 'cluster' });
}
