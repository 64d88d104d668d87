/** What the options of a call do, and what becomes of failures, whichever way an image is embedded. */
import crypto from 'node:crypto';
import { getEventListeners } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { writeTestModel } from '../../../scripts/make-test-models.js';
import {
  type BatchError,
  type EmbedImagesOptions,
  type EmbedOptions,
  type ImageEmbeddingPool,
  type ImageEmbeddingPoolOptions,
  readModelFolder,
} from '../../../src/image-embedding/index.js';
import { createSessionPool } from '../pipeline/session-pool.js';
import { createDirectPool } from './direct-pool.js';

const photos = fileURLToPath(new URL('../../../examples/photos/', import.meta.url));
const photo = (name: string) => path.join(photos, `${name}.jpg`);

let below: string;
const open: ImageEmbeddingPool[] = [];

beforeAll(async () => {
  below = await mkdtemp(path.join(os.tmpdir(), 'millrace-calls-'));
});

afterEach(async () => {
  await Promise.all(open.splice(0).map((pool) => pool.destroy()));
});

afterAll(async () => {
  await rm(below, { recursive: true, force: true });
});

function direct(options?: ImageEmbeddingPoolOptions) {
  const made = createDirectPool(options);
  open.push(made.pool);
  return made;
}

async function drained(stream: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of stream);
}

const cat = photo('cat-1');

/** Every way to embed an image. */
const ways: readonly [string, (pool: ImageEmbeddingPool, options: EmbedOptions) => Promise<unknown>][] = [
  ['embedImage', (pool, options) => pool.embedImage(cat, options)],
  ['embedImageUrl', (pool, options) => pool.embedImageUrl('http://127.0.0.1:9/x.jpg', options)],
  ['embedImageBase64', (pool, options) => pool.embedImageBase64('aGk=', options)],
  ['embedImageBytes', (pool, options) => pool.embedImageBytes(new Uint8Array(9), options)],
  ['embedImageDetailed', (pool, options) => pool.embedImageDetailed(cat, options)],
  ['batchEmbedImages', (pool, options) => pool.batchEmbedImages([cat, cat], options)],
  ['batchEmbedImages that settles', (pool, options) => pool.batchEmbedImages([cat, cat], { ...options, settle: true })],
  ['embedImages', async (pool, options) => drained(pool.embedImages([cat, cat], options as EmbedImagesOptions))],
];

describe('A signal of the caller', () => {
  test.each([false, true])(
    'has one listener at most, however many calls it is for (model loaded before: %s)',
    async (isWarm) => {
      const { pool } = direct();
      if (isWarm) await pool.embedImage(cat);
      const warnings: unknown[] = [];
      const onWarning = (warning: Error) => warnings.push(warning.name);
      process.on('warning', onWarning);
      const { signal } = new AbortController();
      const listeners = () => getEventListeners(signal, 'abort').length;
      const calls = Array.from({ length: 60 }, () => pool.embedImage(cat, { signal }));
      const batches = Array.from({ length: 20 }, () => pool.batchEmbedImages([cat, photo('rocket-1')], { signal }));
      const streams = Array.from({ length: 20 }, () => drained(pool.embedImages([cat], { signal })));
      const descriptions = Array.from({ length: 20 }, () => pool.describe(undefined, { signal }));
      const blobs = Array.from({ length: 20 }, () => pool.embedImageBytes(new Blob(['x']), { signal }).catch(() => {}));
      const seen: number[] = [];
      const watching = setInterval(() => seen.push(listeners()), 1);
      await new Promise((resolve) => setImmediate(resolve));
      seen.push(listeners());
      await Promise.all([...calls, ...batches, ...streams, ...descriptions, ...blobs]);
      clearInterval(watching);
      expect(Math.max(...seen)).toBe(1);
      expect(listeners()).toBe(0);
      process.off('warning', onWarning);
      expect(warnings).not.toContain('MaxListenersExceededWarning');
    },
  );

  test('has one listener in the inline host too, where the model itself is given it', async () => {
    const pool = createSessionPool('./slow-session.mjs', { runMs: 0, origin: 0 }, { host: 'inline' });
    open.push(pool);
    await pool.embedImage(cat, { normalize: false });
    const { signal } = new AbortController();
    const calls = Array.from({ length: 40 }, () => pool.embedImage(cat, { signal, normalize: false }));
    const seen: number[] = [];
    const watching = setInterval(() => seen.push(getEventListeners(signal, 'abort').length), 0);
    await Promise.all(calls);
    clearInterval(watching);
    expect(Math.max(...seen)).toBe(1);
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });

  test('of another realm gives a call up', async () => {
    const { pool } = direct();
    const listeners = new Set<() => void>();
    const signal = {
      aborted: false,
      reason: undefined as unknown,
      addEventListener: (_: string, listener: () => void) => void listeners.add(listener),
      removeEventListener: (_: string, listener: () => void) => void listeners.delete(listener),
      throwIfAborted() {
        if (this.aborted) throw this.reason;
      },
    };
    const given = pool.embedImage(cat, { signal: signal as unknown as AbortSignal });
    signal.aborted = true;
    signal.reason = new Error('enough');
    for (const listener of listeners) listener.call(signal);
    await expect(given).rejects.toBe(signal.reason);
  });
});

describe('dimensions that a model can not be cut to', () => {
  test.each(ways)('are refused by %s before anything is read or run, as the caller’s fault', async (_, embed) => {
    const spec = await readModelFolder(await writeTestModel('tiny-clip', below));
    const { pool, calls } = direct({ model: { ...spec, dimensions: [16, 8] } });
    const refused = await embed(pool, { dimensions: 12 }).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(RangeError);
    expect(refused).toMatchObject({ fault: 'caller' });
    expect((refused as Error).message).toMatch(/dimensions must be one of 24, 16, 8, received 12$/);
    expect(calls.map(({ operation }) => operation).filter((each) => each !== 'describe')).toEqual([]);
    expect(pool.stats().failed).toBe(0);
    await expect(embed(pool, { dimensions: 25 })).rejects.toBeInstanceOf(RangeError);
  });

  test('end a stream, and are asked of no model where none are given', async () => {
    const { pool, calls } = direct();
    let asked = 0;
    const source = (function* () {
      asked += 1;
      yield cat;
    })();
    await expect(drained(pool.embedImages(source, { dimensions: 100 }))).rejects.toBeInstanceOf(RangeError);
    expect(asked).toBe(0);
    await pool.embedImage(cat);
    expect(calls.filter(({ operation }) => operation === 'describe')).toHaveLength(1);
  });
});

describe('traceparent', () => {
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

  test.each(ways)('goes with the request of %s', async (_, embed) => {
    const { pool, traces } = direct();
    await embed(pool, { traceparent }).catch(() => {});
    expect(traces.length).toBeGreaterThan(0);
    expect(new Set(traces)).toEqual(new Set([traceparent]));
    traces.length = 0;
    await embed(pool, {}).catch(() => {});
    expect(new Set(traces)).toEqual(new Set([undefined]));
    const refused = await embed(pool, { traceparent: 7 as never }).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(TypeError);
  });
});

describe('.batchEmbedImages()', () => {
  test('fails an image with the error that a call with it alone fails with, cause and all', async () => {
    const damaged = path.join(below, 'damaged.jpg');
    await writeFile(damaged, Buffer.concat([Buffer.from([0xff, 0xd8, 0xff, 0xe0]), Buffer.alloc(2_000)]));
    for (const host of ['inline', 'process'] as const) {
      const pool = createSessionPool('./slow-session.mjs', { runMs: 0, origin: 0 }, { host });
      open.push(pool);
      for (const file of [damaged, path.join(below, 'nowhere.jpg')]) {
        const alone = (await pool.embedImage(file).catch((error: unknown) => error)) as Error & Record<string, unknown>;
        const [{ error } = { error: undefined }] = await pool.batchEmbedImages([file, cat], { settle: true });
        const inBatch = error as Error & Record<string, unknown>;
        expect(inBatch.cause).toBeInstanceOf(Error);
        for (const key of ['name', 'message', 'code', 'fault', 'constructor']) expect(inBatch[key]).toEqual(alone[key]);
        const causes = [inBatch.cause, alone.cause] as (Error & Record<string, unknown>)[];
        for (const key of ['name', 'message', 'code']) expect(causes[0]?.[key]).toEqual(causes[1]?.[key]);
      }
    }
  }, 30_000);

  test('keeps code, fault and cause of a class that only the worker knows, and of causes of causes', async () => {
    const torn = path.join(below, 'torn.jpg');
    for (const host of ['inline', 'process'] as const) {
      const pool = createSessionPool('./torn-session.mjs', {}, { host });
      open.push(pool);
      const [{ error } = { error: undefined }, good] = await pool.batchEmbedImages([torn, cat], { settle: true });
      expect(error).toMatchObject({ message: 'torn', code: 'E_TAPE', fault: 'system', reel: 7 });
      expect(error?.cause).toBeInstanceOf(TypeError);
      expect((error?.cause as Error | undefined)?.cause).toMatchObject({ message: 'dust', code: 'E_DUST' });
      expect(good?.embedding).toHaveLength(1);
    }
  }, 30_000);

  test.each([
    ['an empty path', ''],
    ['a number', 7],
    ['null', null],
    ['a path with a NUL', 'a\0b'],
  ])('calls %s the caller’s fault', async (_, input) => {
    const { pool } = direct();
    const failed = (await pool.batchEmbedImages([cat, input as string]).catch((error: unknown) => error)) as BatchError;
    expect(failed).toMatchObject({ code: 'ERR_BATCH_FAILED', fault: 'caller', indexes: [1] });
    expect(failed.failures[0]?.input).toBe(input);
    const stream = [];
    for await (const each of pool.embedImages([cat, input as string])) stream.push(each);
    expect(stream.map(({ error }) => error === undefined)).toEqual([true, false]);
  });

  test('embeds what the array held when it was called', async () => {
    const { pool } = direct({ maxBatch: 1 });
    const inputs = [cat, cat, cat];
    const batch = pool.batchEmbedImages(inputs);
    inputs.fill('/no/such/image.jpg');
    expect(await batch).toHaveLength(3);
  });
});

describe("The caller's event loop", () => {
  test.each(['process', 'thread', 'inline'] as const)(
    'hashes nothing, whatever is embedded: in the %s host',
    async (host) => {
      const pool = createSessionPool('./slow-session.mjs', { runMs: 0, origin: 0 }, { host, coalesce: true });
      open.push(pool);
      await pool.embedImage(cat);
      const bytes = await readFile(cat);
      const real = crypto.createHash;
      let hashed = 0;
      crypto.createHash = ((...args: Parameters<typeof real>) => {
        hashed += 1;
        return real(...args);
      }) as typeof real;
      syncBuiltinESMExports();
      try {
        const text = bytes.toString('base64');
        await Promise.all([
          pool.embedImage(cat),
          pool.embedImageBytes(bytes),
          pool.embedImageBytes(Uint8Array.from(bytes)),
          pool.embedImageBytes(bytes, { priority: 'batch' }),
          pool.embedImageBase64(text),
          pool.embedImageBase64(text, { priority: 'batch' }),
          pool.batchEmbedImages([cat, bytes]),
          drained(pool.embedImages([cat, bytes])),
        ]);
      } finally {
        crypto.createHash = real;
        syncBuiltinESMExports();
      }
      expect(hashed).toBe(0);
    },
  );
});

describe('wait: false', () => {
  test('refuses a call at once while its queue is full, and takes it otherwise', async () => {
    const pool = createSessionPool('./slow-session.mjs', { runMs: 60, origin: 0 }, { maxBatch: 1, capacity: 1 });
    open.push(pool);
    expect(await pool.embedImage(cat, { wait: false, normalize: false })).toHaveLength(16);
    const waiting = Array.from({ length: 12 }, () => pool.embedImage(cat, { normalize: false }));
    await new Promise((resolve) => setImmediate(resolve));
    await expect(pool.embedImage(cat, { wait: false })).rejects.toMatchObject({ code: 'ERR_POOL_OVERLOADED' });
    expect(await Promise.all(waiting)).toHaveLength(12);
    await expect(pool.embedImage(cat, { wait: 1 as never })).rejects.toBeInstanceOf(TypeError);
    await expect(pool.batchEmbedImages([cat], { wait: false } as never)).rejects.toThrow("unknown option 'wait'");
  }, 30_000);
});

describe('.embedImageDetailed()', () => {
  test('tells of the worker and the times, for a path, a URL and bytes', async () => {
    const { pool } = direct();
    const { embedding, info } = await pool.embedImageDetailed(cat, { normalize: false });
    expect(embedding).toHaveLength(256);
    expect(info).toMatchObject({ worker: 'direct', attempts: 1, coalesced: false });
    expect(info.queuedMs).toBeGreaterThanOrEqual(0);
    expect(info.serviceMs).toBeGreaterThan(0);
    const all = await Promise.all([pool.embedImageDetailed(cat), pool.embedImageDetailed(cat, { priority: 'normal' })]);
    expect(all.map((each) => each.info.coalesced)).toEqual([false, true]);
    await expect(pool.embedImageDetailed(new URL('http://127.0.0.1:9/x.jpg'))).rejects.toMatchObject({
      code: 'ERR_URL_FORBIDDEN',
    });
    await expect(pool.embedImageDetailed(new Blob(['no image']))).rejects.toMatchObject({
      code: 'ERR_IMAGE_UNSUPPORTED',
    });
  });
});

describe('.evict()', () => {
  test('ends the idle workers of one model, and the next call starts one', async () => {
    const vit = await writeTestModel('tiny-vit', below);
    const { pool } = direct({ models: { vit } });
    expect(await pool.evict()).toBe(0);
    await Promise.all([pool.embedImage(cat), pool.embedImage(cat, { model: 'vit' })]);
    expect(await pool.evict('vit')).toBe(1);
    expect(pool.stats().models).toMatchObject({ vit: { workers: 0 }, default: { workers: 1 } });
    expect(await pool.embedImage(cat, { model: 'vit' })).toHaveLength(32);
    expect(await pool.evict(vit)).toBe(0);
    await expect(pool.evict(7 as never)).rejects.toBeInstanceOf(TypeError);
  });
});
