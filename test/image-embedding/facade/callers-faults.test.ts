/** What callers of an image pool do wrong has a code and is theirs: it opens no breaker, in no host. */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { describe, expect, test, vi } from 'vitest';
import { BatchError, createImageEmbeddingPool, type ImageEmbeddingPool } from '../../../src/image-embedding/index.js';

// On a machine that has other things to do, a process takes seconds to start.
vi.setConfig({ testTimeout: 120_000 });

const cat = fileURLToPath(new URL('../../../examples/photos/cat-1.jpg', import.meta.url));

function detached(): Uint8Array {
  const bytes = new Uint8Array(2_000);
  structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
  return bytes;
}

async function settle(pool: ImageEmbeddingPool, input: never): Promise<never> {
  const [result] = await pool.batchEmbedImages([input], { settle: true });
  throw result?.error ?? new Error('it was embedded');
}

async function streamed(pool: ImageEmbeddingPool, input: never): Promise<never> {
  for await (const { error } of pool.embedImages([input])) throw error ?? new Error('it was embedded');
  throw new Error('the stream has ended');
}

const embedded = (kind: string, pool: ImageEmbeddingPool, input: unknown): Promise<unknown> => {
  if (kind === 'batch') return settle(pool, input as never);
  if (kind === 'stream') return streamed(pool, input as never);
  if (kind === 'detailed') return pool.embedImageDetailed(input as never);
  const method = pool[kind as 'embedImage'].bind(pool) as (each: unknown) => Promise<unknown>;
  return method(input);
};

/** What is given, to which method, and the code that it fails with. */
const kinds: [what: string, method: string, make: () => unknown, code: string][] = [
  ...['embedImage', 'batch', 'stream', 'detailed'].flatMap((method): typeof kinds => [
    ['an empty path', method, () => '', 'ERR_IMAGE_NOT_FOUND'],
    ['a path that is not there', method, () => '/no/such/image.jpg', 'ERR_IMAGE_NOT_FOUND'],
    ['a path with a NUL', method, () => 'a\0.jpg', 'ERR_IMAGE_NOT_FOUND'],
    ['a folder', method, () => '/', 'ERR_IMAGE_UNSUPPORTED'],
  ]),
  ...['embedImageBytes', 'batch', 'stream', 'detailed'].flatMap((method): typeof kinds => [
    ['no bytes', method, () => new Uint8Array(), 'ERR_IMAGE_CORRUPT'],
    ['detached bytes', method, detached, 'ERR_IMAGE_CORRUPT'],
    ['a detached buffer', method, () => detached().buffer, 'ERR_IMAGE_CORRUPT'],
    ['a view of a detached buffer', method, () => viewOfDetached(), 'ERR_IMAGE_CORRUPT'],
    ['too many bytes', method, () => new Uint8Array(300_001), 'ERR_IMAGE_TOO_LARGE'],
    ['bytes of nothing', method, () => new Uint8Array(100), 'ERR_IMAGE_UNSUPPORTED'],
  ]),
  ['an empty text', 'embedImageBase64', () => '', 'ERR_IMAGE_CORRUPT'],
  ['white space', 'embedImageBase64', () => ' \n', 'ERR_IMAGE_CORRUPT'],
  ['an empty data URL', 'embedImageBase64', () => 'data:image/png;base64,', 'ERR_IMAGE_CORRUPT'],
  ['no base64', 'embedImageBase64', () => 'héllo', 'ERR_BASE64_INVALID'],
  ['too long a text', 'embedImageBase64', () => 'A'.repeat(500_000), 'ERR_IMAGE_TOO_LARGE'],
  ['an empty URL', 'embedImageUrl', () => '', 'ERR_URL_FORBIDDEN'],
  ['no URL', 'embedImageUrl', () => 'cat', 'ERR_URL_FORBIDDEN'],
  ['a private URL', 'embedImageUrl', () => 'http://127.0.0.1/', 'ERR_URL_FORBIDDEN'],
];

function viewOfDetached(): DataView {
  const buffer = new ArrayBuffer(16);
  const view = new DataView(buffer);
  structuredClone(buffer, { transfer: [buffer] });
  return view;
}

describe.each(['inline', 'thread', 'process'] as const)('an image pool with the host %s', (host) => {
  test(`answers ${kinds.length} kinds of bad input with a code and the caller's fault, and goes on`, async () => {
    const limits = { maxBytes: 300_000 };
    // One failure that counts is enough to open the breaker.
    const breaker = { failures: 1, failureRate: 1e-9 };
    await using pool = createImageEmbeddingPool({ host, workers: 1, limits, breaker, timeoutMs: 100_000 });
    await pool.warm();
    const before = pool.stats();
    for (const [what, method, make, code] of kinds) {
      const all = await Promise.all(
        Array.from({ length: 5 }, () => embedded(method, pool, make()).catch((error: unknown) => error)),
      );
      for (const error of all)
        expect([what, method, error]).toEqual([what, method, expect.objectContaining({ code, fault: 'caller' })]);
      expect([what, method, pool.health().models.default?.breaker]).toEqual([what, method, 'closed']);
    }
    const seen = [];
    for await (const { index, error } of pool.embedImages([cat, '', detached(), cat])) {
      seen.push([index, (error as { code?: string } | undefined)?.code]);
    }
    expect(seen).toEqual([
      [0, undefined],
      [1, 'ERR_IMAGE_NOT_FOUND'],
      [2, 'ERR_IMAGE_CORRUPT'],
      [3, undefined],
    ]);
    const failure = await pool.batchEmbedImages([cat, '', detached()]).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(BatchError);
    expect(failure).toMatchObject({ fault: 'caller', indexes: [1, 2], cause: { code: 'ERR_IMAGE_NOT_FOUND' } });
    const stats = pool.stats();
    expect(stats).toMatchObject({ pending: 0, expired: 0, models: { default: { breakerRejections: 0 } } });
    expect(stats.accepted).toBe(stats.succeeded + stats.failed + stats.cancelled);
    expect(stats.accepted).toBeGreaterThan(before.accepted);
    expect((await pool.embedImage(cat)).length).toBe(256);
  });

  test('bytes that are moved elsewhere while their call waits are the caller’s fault, and take no other image along', async () => {
    const breaker = { failures: 1, failureRate: 1e-9 };
    await using pool = createImageEmbeddingPool({ host, workers: { max: 1 }, breaker, timeoutMs: 100_000 });
    const copies = await Promise.all([1, 2, 3].map(async () => new Uint8Array(await readFile(cat))));
    const [one, other, third] = copies as [Uint8Array, Uint8Array, Uint8Array];
    const single = pool.embedImageBytes(one).catch((error: unknown) => error);
    const batch = pool.batchEmbedImages([cat, other, third], { settle: true });
    batch.catch(() => {});
    // No worker is there yet.
    await new Promise((resolve) => setImmediate(resolve));
    for (const { buffer } of [one, other]) structuredClone(buffer, { transfer: [buffer as ArrayBuffer] });
    expect(await single).toMatchObject({ code: 'ERR_IMAGE_CORRUPT', fault: 'caller' });
    const [first, moved, last] = await batch;
    expect([first?.error, last?.error]).toEqual([undefined, undefined]);
    expect(moved?.error).toMatchObject({ code: 'ERR_IMAGE_CORRUPT', fault: 'caller' });
    expect(pool.health().models.default?.breaker).toBe('closed');
  });
});

test('base64 beyond what crosses to a worker at once is too large, whatever the limits say', async () => {
  await using pool = createImageEmbeddingPool({ limits: { maxBytes: 2 ** 31 - 1 }, workers: { max: 1 } });
  const error = await pool.embedImageBase64('A'.repeat(256_000_004)).catch((each: unknown) => each);
  expect(error).toMatchObject({ code: 'ERR_IMAGE_TOO_LARGE', fault: 'caller' });
  const bytes = await pool.embedImageBytes(new Uint8Array(256_000_001)).catch((each: unknown) => each);
  expect(bytes).toMatchObject({ code: 'ERR_IMAGE_TOO_LARGE', fault: 'caller' });
  const chunk = new Uint8Array(64_000_001);
  const stream = async function* () {
    for (let turn = 0; turn < 4; turn += 1) yield chunk;
  };
  const read = await pool.embedImageBytes(stream()).catch((each: unknown) => each);
  expect(read).toMatchObject({ code: 'ERR_IMAGE_TOO_LARGE', fault: 'caller' });
  expect(pool.stats()).toMatchObject({ accepted: 0, refused: 0 });
});
