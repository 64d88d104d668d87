import { getEventListeners, once } from 'node:events';
import { cp, mkdir, mkdtemp, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { Readable } from 'node:stream';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { runInNewContext } from 'node:vm';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { writeTestModel } from '../../../scripts/make-test-models.js';
import {
  type BatchInput,
  createImageEmbeddingPool,
  type ImageEmbeddingPool,
  type ImageInput,
  type StreamResult,
  similarity,
} from '../../../src/image-embedding/index.js';
import { createDirectPool } from './direct-pool.js';

const photos = fileURLToPath(new URL('../../../examples/photos/', import.meta.url));
const photo = (name: string) => path.join(photos, `${name}.jpg`);
const home = process.cwd();

/** Two folders, each with another picture of the same name, and one with a name of its own. */
let one: string;
let other: string;
let below: string;
let cat: Buffer;
let shared: ImageEmbeddingPool;
let catVector: Float32Array;
let rocketVector: Float32Array;

beforeAll(async () => {
  below = await realpath(await mkdtemp(path.join(os.tmpdir(), 'millrace-input-')));
  one = path.join(below, 'one');
  other = path.join(below, 'other');
  await Promise.all([mkdir(one), mkdir(other)]);
  await cp(photo('cat-1'), path.join(one, 'x.jpg'));
  await cp(photo('rocket-1'), path.join(other, 'x.jpg'));
  await cp(photo('rocket-1'), path.join(other, 'only-here.jpg'));
  cat = await readFile(photo('cat-1'));
  shared = createDirectPool().pool;
  catVector = await shared.embedImage(photo('cat-1'));
  rocketVector = await shared.embedImage(photo('rocket-1'));
});

afterEach(() => process.chdir(home));

afterAll(async () => {
  await shared.close();
  await rm(below, { recursive: true, force: true });
});

const isCat = (vector: Float32Array) => similarity(vector, catVector) > 0.9999;
const isRocket = (vector: Float32Array) => similarity(vector, rocketVector) > 0.9999;

async function results<Input extends ImageInput>(stream: AsyncIterable<StreamResult<Input>>) {
  const all: StreamResult<Input>[] = [];
  for await (const each of stream) all.push(each);
  return all;
}

describe('A relative path', () => {
  test('is meant from where the caller is at the time of the call, though the worker was started elsewhere', async () => {
    await using pool = createImageEmbeddingPool({ workers: 1 });
    process.chdir(one);
    expect(isCat(await pool.embedImage('x.jpg'))).toBe(true);
    process.chdir(other);
    expect(isRocket(await pool.embedImage('x.jpg'))).toBe(true);
    expect(isRocket(await pool.embedImage('./only-here.jpg'))).toBe(true);
    expect(isCat(await pool.embedImage('../one/x.jpg'))).toBe(true);
    expect(isRocket((await pool.embedImageDetailed('x.jpg')).embedding)).toBe(true);
    expect((await pool.batchEmbedImages(['x.jpg', '../one/x.jpg'])).map(isRocket)).toEqual([true, false]);
    expect(isRocket(await pool.embedImage('x.jpg', { priority: 'batch' }))).toBe(true);
  }, 60_000);

  test('is that of the call when the caller goes elsewhere while it is under way', async () => {
    const { pool } = createDirectPool({ maxBatch: 1 });
    process.chdir(one);
    const single = pool.embedImage('x.jpg');
    const batch = pool.batchEmbedImages(new Array(20).fill('x.jpg'));
    const stream = pool.embedImages(new Array(20).fill('x.jpg'));
    const folder = pool.embedImages('.');
    process.chdir(other);
    // The same text, and not the same picture.
    const twin = pool.embedImage('x.jpg');
    expect(isCat(await single)).toBe(true);
    expect(isRocket(await twin)).toBe(true);
    expect((await batch).every(isCat)).toBe(true);
    const streamed = await results(stream);
    expect(streamed.map(({ embedding }) => isCat(embedding as Float32Array))).toEqual(new Array(20).fill(true));
    expect(streamed[0]?.input).toBe('x.jpg');
    expect((await results(folder)).map(({ input }) => input)).toEqual([path.join(one, 'x.jpg')]);
    await pool.close();
  });

  test('of a root or of a model is meant from where the pool was made', async () => {
    process.chdir(below);
    await writeTestModel('tiny-vit', below);
    const { pool } = createDirectPool({ model: './tiny-vit', limits: { roots: ['one'] } });
    process.chdir(other);
    expect(await pool.embedImage('../one/x.jpg')).toHaveLength(32);
    await expect(pool.embedImage('x.jpg')).rejects.toMatchObject({ code: 'ERR_IMAGE_FORBIDDEN' });
    await pool.close();
  });
});

describe('A file: URL', () => {
  test('is a path where paths are taken, and never fetched or opened where URLs are', async () => {
    const url = pathToFileURL(path.join(one, 'x.jpg'));
    expect(isCat(await shared.embedImage(url))).toBe(true);
    expect((await shared.batchEmbedImages([url as unknown as string])).map(isCat)).toEqual([true]);
    await expect(shared.embedImage(new URL('https://example.org/x.jpg'))).rejects.toThrow(
      /file: URL, received a URL of https:/,
    );
    await expect(shared.embedImageUrl(url)).rejects.toMatchObject({ code: 'ERR_URL_FORBIDDEN', fault: 'caller' });
    const [streamed] = await results(shared.embedImages([url]));
    expect(streamed?.error).toMatchObject({ code: 'ERR_URL_FORBIDDEN' });
  });
});

const webStream = (chunks: readonly unknown[], onCancel: (reason: unknown) => void = () => {}) => {
  const left = [...chunks];
  return new ReadableStream<Uint8Array>({
    pull: (controller) => {
      if (left.length === 0) controller.close();
      else controller.enqueue(left.shift() as Uint8Array);
    },
    cancel: onCancel,
  });
};

async function* inPieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array, void, void> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

/** Every kind of thing that a user may hold an encoded image in. */
const kinds: readonly [string, (bytes: Uint8Array) => unknown][] = [
  ['a Uint8Array', (bytes) => Uint8Array.from(bytes)],
  ['a Buffer', (bytes) => Buffer.from(bytes)],
  ['a part of a larger buffer', (bytes) => Buffer.concat([Buffer.alloc(9), bytes, Buffer.alloc(5)]).subarray(9, -5)],
  ['an ArrayBuffer', (bytes) => Uint8Array.from(bytes).buffer],
  [
    'a SharedArrayBuffer',
    (bytes) => {
      const memory = new Uint8Array(new SharedArrayBuffer(bytes.length));
      memory.set(bytes);
      return memory.buffer;
    },
  ],
  [
    'a view of a SharedArrayBuffer',
    (bytes) => {
      const memory = new Uint8Array(new SharedArrayBuffer(bytes.length));
      memory.set(bytes);
      return memory;
    },
  ],
  ['a DataView', (bytes) => new DataView(Uint8Array.from(bytes).buffer)],
  ['a Uint8ClampedArray', (bytes) => Uint8ClampedArray.from(bytes)],
  ['a Uint8Array of another realm', (bytes) => runInNewContext('Uint8Array.from(bytes)', { bytes: [...bytes] })],
  [
    'an ArrayBuffer of another realm',
    (bytes) => runInNewContext('Uint8Array.from(bytes).buffer', { bytes: [...bytes] }),
  ],
  [
    'a DataView of another realm',
    (bytes) => runInNewContext('new DataView(Uint8Array.from(bytes).buffer)', { bytes: [...bytes] }),
  ],
  [
    'a SharedArrayBuffer of another realm',
    (bytes) =>
      runInNewContext('const m = new Uint8Array(new SharedArrayBuffer(bytes.length)); m.set(bytes); m.buffer', {
        bytes: [...bytes],
      }),
  ],
  ['a Blob', (bytes) => new Blob([Uint8Array.from(bytes)])],
  ['a File', (bytes) => new File([Uint8Array.from(bytes)], 'cat.jpg', { type: 'text/plain' })],
  ['a Response', (bytes) => new Response(Uint8Array.from(bytes))],
  ['a Request', (bytes) => new Request('http://localhost/', { method: 'POST', body: Uint8Array.from(bytes) })],
  ['a stream of the web', (bytes) => webStream([bytes.subarray(0, 1000), bytes.subarray(1000)])],
  ['a byte stream of the web', (bytes) => new Blob([Uint8Array.from(bytes)]).stream()],
  ['a stream of Node', (bytes) => Readable.from(inPieces(bytes, 4096), { objectMode: false })],
  ['an async generator', (bytes) => inPieces(bytes, 4096)],
];

describe('Bytes', () => {
  test.each(kinds)('come as %s, alone, in a batch and in a stream', async (_, make) => {
    const bytes = () => make(cat) as Uint8Array;
    expect(isCat(await shared.embedImageBytes(bytes()))).toBe(true);
    expect(isCat((await shared.embedImageDetailed(bytes())).embedding)).toBe(true);
    const [first, second] = await shared.batchEmbedImages([bytes(), photo('rocket-1')] as BatchInput[]);
    expect([isCat(first as Float32Array), isRocket(second as Float32Array)]).toEqual([true, true]);
    const [streamed] = await results(shared.embedImages([bytes()]));
    expect(isCat(streamed?.embedding as Float32Array)).toBe(true);
  });

  test('come in arrays, iterables and options of another realm', async () => {
    const elsewhere = <T>(code: string) => runInNewContext(code, { one: photo('cat-1'), cat: [...cat] }) as T;
    const options = elsewhere<object>('({ normalize: true })');
    const batch = await shared.batchEmbedImages(elsewhere<string[]>('[one, Uint8Array.from(cat)]'), options);
    expect(batch.map(isCat)).toEqual([true, true]);
    for (const code of [
      '[one]',
      'new Set([one])',
      '(function* () { yield one; })()',
      '(async function* () { yield one; })()',
    ]) {
      const [streamed] = await results(shared.embedImages(elsewhere<Iterable<string>>(code), options));
      expect(isCat(streamed?.embedding as Float32Array)).toBe(true);
    }
    const stream = elsewhere<AsyncIterable<Uint8Array>>('(async function* () { yield Uint8Array.from(cat); })()');
    expect(isCat(await shared.embedImageBytes(stream))).toBe(true);
    const url = elsewhere<URL>(`({ href: 'https://example.org/', protocol: 'https:' })`);
    await expect(shared.embedImage(url)).rejects.toThrow(/received a URL of https:/);
  });

  test('reach a worker in another process, in whatever they come', async () => {
    await using pool = createImageEmbeddingPool({ workers: 1 });
    const vectors = await Promise.all(kinds.map(([, make]) => pool.embedImageBytes(make(cat) as Uint8Array)));
    expect(vectors.map(isCat)).toEqual(new Array(kinds.length).fill(true));
    const batch = await pool.batchEmbedImages(kinds.map(([, make]) => make(cat) as Uint8Array));
    expect(batch.map(isCat)).toEqual(new Array(kinds.length).fill(true));
  }, 60_000);

  test.each([
    ['a number', 7],
    ['null', null],
    ['an array of numbers', [255, 216, 255]],
    ['a plain object', { length: 3 }],
    ['a promise', Promise.resolve(new Uint8Array(3))],
  ])('are not %s, and the message says which class came', async (_, value) => {
    const refused = await shared.embedImageBytes(value as never).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(TypeError);
    expect((refused as Error).message).toMatch(/received (7|null|an array of 3|an instance of (Object|Promise))$/);
  });

  test('from a stream are read up to the cap and no further, and the source is cancelled', async () => {
    const { pool } = createDirectPool({ limits: { maxBytes: 10_000 } });
    let pulled = 0;
    let cancelled: unknown;
    const endless = new ReadableStream<Uint8Array>({
      pull: (controller) => {
        pulled += 1;
        controller.enqueue(new Uint8Array(1_000));
      },
      cancel: (reason) => {
        cancelled = reason;
      },
    });
    const tooLarge = { code: 'ERR_IMAGE_TOO_LARGE', fault: 'caller' };
    await expect(pool.embedImageBytes(endless)).rejects.toMatchObject(tooLarge);
    expect(pulled).toBeLessThan(15);
    expect(cancelled).toMatchObject(tooLarge);

    const readable = Readable.from(inPieces(new Uint8Array(1e6), 1_000), { objectMode: false });
    await expect(pool.embedImageBytes(readable)).rejects.toMatchObject(tooLarge);
    await expect.poll(() => readable.destroyed).toBe(true);

    let isReturned = false;
    const generator = (async function* () {
      try {
        for (;;) yield new Uint8Array(1_000);
      } finally {
        isReturned = true;
      }
    })();
    await expect(pool.embedImageBytes(generator)).rejects.toMatchObject(tooLarge);
    await expect.poll(() => isReturned).toBe(true);

    for (const make of [
      () => new Blob([new Uint8Array(10_001)]),
      () => new Response(new Uint8Array(10_001)),
      () => new ArrayBuffer(10_001),
      // It says less than it holds.
      () => ({ size: 5, arrayBuffer: async () => new ArrayBuffer(10_001) }),
    ]) {
      await expect(pool.embedImageBytes(make())).rejects.toMatchObject(tooLarge);
      const [settled] = await pool.batchEmbedImages([make()], { settle: true });
      expect(settled?.error).toMatchObject(tooLarge);
    }
    expect(pool.stats().failed).toBe(0);
    await pool.close();
  });

  test('from a source that fails are an image that could not be read, with the cause', async () => {
    const cause = new Error('the wire is cut');
    const failing = () =>
      new ReadableStream<Uint8Array>({
        pull: (controller) => controller.error(cause),
      });
    const readable = () =>
      new Readable({
        read() {
          this.destroy(cause);
        },
      });
    for (const make of [failing, readable, () => new Response(failing())]) {
      await expect(shared.embedImageBytes(make())).rejects.toMatchObject({ code: 'ERR_IMAGE_READ', cause });
    }
    const [bad, good] = await shared.batchEmbedImages([failing(), photo('cat-1')], { settle: true });
    expect(bad?.error).toMatchObject({ code: 'ERR_IMAGE_READ', cause });
    expect(isCat(good?.embedding as Float32Array)).toBe(true);
    await expect(shared.batchEmbedImages([failing()])).rejects.toMatchObject({
      code: 'ERR_BATCH_FAILED',
      fault: 'system',
    });
  });

  test('of a response are those of a success, which nobody has read', async () => {
    await expect(shared.embedImageBytes(new Response('gone', { status: 410 }))).rejects.toMatchObject({
      code: 'ERR_URL_FETCH',
    });
    const used = new Response(Uint8Array.from(cat));
    await used.arrayBuffer();
    await expect(shared.embedImageBytes(used)).rejects.toBeInstanceOf(TypeError);
    const locked = webStream([cat]);
    locked.getReader();
    await expect(shared.embedImageBytes(locked)).rejects.toBeInstanceOf(TypeError);
    await expect(shared.embedImageBytes(webStream(['text']))).rejects.toThrow(
      /a stream must yield bytes, received 'text'/,
    );
    const server = createServer(async (request, response) => {
      if (request.method === 'POST') response.end(String(isCat(await shared.embedImageBytes(request))));
      else response.end(cat);
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    expect(isCat(await shared.embedImageBytes(await fetch(url)))).toBe(true);
    // What is uploaded goes on as it comes.
    expect(await (await fetch(url, { method: 'POST', body: Uint8Array.from(cat) })).text()).toBe('true');
    server.close();
  });

  test('that come too slowly are given up by the signal and by the deadline, and their source is cancelled', async () => {
    const reasons: unknown[] = [];
    const never = () => new ReadableStream<Uint8Array>({ cancel: (reason) => void reasons.push(reason) });
    const controller = new AbortController();
    const given = shared.embedImageBytes(never(), { signal: controller.signal });
    const batch = shared.batchEmbedImages([never()], { signal: controller.signal });
    for (const each of [given, batch]) each.catch(() => {});
    const reason = new Error('enough');
    await expect.poll(() => getEventListeners(controller.signal, 'abort').length).toBeGreaterThan(0);
    controller.abort(reason);
    await expect(given).rejects.toBe(reason);
    await expect(batch).rejects.toBe(reason);
    await expect(shared.embedImageBytes(never(), { timeoutMs: 50 })).rejects.toMatchObject({
      code: 'ERR_DEADLINE_EXCEEDED',
    });
    await expect.poll(() => reasons.length).toBe(3);
    expect(reasons.slice(0, 2)).toEqual([reason, reason]);
  });
});

describe('A source', () => {
  const source = () => {
    const seen = { isCancelled: false };
    const stream = new ReadableStream<Uint8Array>({
      cancel: () => {
        seen.isCancelled = true;
      },
    });
    return { seen, stream };
  };

  test('that is not going to be read is cancelled: of a call that is refused, and of a batch that is given up', async () => {
    const { pool } = createDirectPool({ maxBatch: 1 });
    const refused = [source(), source(), source()] as const;
    const model = path.join(below, 'no-model');
    await expect(pool.embedImageBytes(refused[0].stream, { dimensions: 3 })).rejects.toBeInstanceOf(RangeError);
    await expect(pool.embedImageBytes(new Response(refused[1].stream), { model })).rejects.toThrow();
    await expect(pool.embedImageDetailed(refused[2].stream, { model })).rejects.toThrow();
    expect(refused.map(({ seen }) => seen.isCancelled)).toEqual([true, true, true]);

    const batch = Array.from({ length: 40 }, source);
    const readable = Readable.from(inPieces(cat, 4096), { objectMode: false });
    const controller = new AbortController();
    const given = pool.batchEmbedImages([...batch.map(({ stream }) => stream), readable], {
      signal: controller.signal,
    });
    given.catch(() => {});
    await expect.poll(() => getEventListeners(controller.signal, 'abort').length).toBeGreaterThan(0);
    controller.abort(new Error('enough'));
    await expect(given).rejects.toThrow('enough');
    await expect.poll(() => batch.map(({ seen }, i) => (seen.isCancelled ? -1 : i)).filter((i) => i >= 0)).toEqual([]);
    await expect.poll(() => readable.destroyed).toBe(true);
    await pool.close();
  });
});

describe('A batch', () => {
  test('of any size is made ready chunk by chunk', async () => {
    const { pool } = createDirectPool();
    await pool.embedImage(photo('cat-1'));
    const paths = new Array<string>(200_000).fill('no/such/image.jpg');
    let reads = 0;
    // What is read of the array as its turn comes.
    const counted = paths.map((each, index) =>
      index % 1_000 === 0
        ? {
            get size() {
              reads += 1;
              return 1;
            },
            arrayBuffer: async () => new ArrayBuffer(1),
          }
        : each,
    );
    const controller = new AbortController();
    const given = pool.batchEmbedImages(counted as BatchInput[], { signal: controller.signal });
    given.catch(() => {});
    await new Promise((resolve) => setImmediate(resolve));
    expect(reads).toBeLessThan(20);
    controller.abort(new Error('enough'));
    await expect(given).rejects.toThrow('enough');
    await pool.close();
  });
});

describe('A buffer', () => {
  test('that is given several times at once is run once, and one that is filled again meanwhile is another image', async () => {
    const { pool, calls } = createDirectPool();
    const rocket = await readFile(photo('rocket-1'));
    const memory = new Uint8Array(Math.max(cat.length, rocket.length));
    await pool.embedImage(photo('clock'));
    calls.length = 0;
    memory.set(cat);
    const size = Math.max(cat.length, rocket.length);
    const twins = [1, 2, 3].map(() => pool.embedImageBytes(memory.subarray(0, size)));
    expect((await Promise.all(twins)).every(isCat)).toBe(true);
    expect(calls).toHaveLength(1);
    expect(pool.stats().coalesced).toBe(2);
    await using apart = createImageEmbeddingPool({ workers: 1 });
    await apart.embedImage(photo('clock'));
    const first = apart.embedImageBytes(memory.subarray(0, size));
    // It has been copied when the loop has turned.
    await new Promise((resolve) => setImmediate(resolve));
    memory.set(rocket);
    const second = apart.embedImageBytes(memory.subarray(0, size));
    expect([isCat(await first), isRocket(await second)]).toEqual([true, true]);
    await pool.close();
  }, 60_000);
});

describe('A file that changes', () => {
  test('is read again by the next call', async () => {
    const file = path.join(below, 'changing.jpg');
    await writeFile(file, cat);
    expect(isCat(await shared.embedImage(file))).toBe(true);
    await cp(photo('rocket-1'), file);
    expect(isRocket(await shared.embedImage(file))).toBe(true);
  });
});
