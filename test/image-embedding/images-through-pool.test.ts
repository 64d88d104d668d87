import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isMillraceError } from '../../src/core/index.js';
import { ImageCorruptError } from '../../src/image-embedding/image-errors.js';
import { createImageEmbeddingPool, type ImageEmbeddingPool, similarity } from '../../src/image-embedding/index.js';
import { sendDamaged } from './damaged-through-pool.js';

const photos = fileURLToPath(new URL('../../examples/photos/', import.meta.url));
let pool: ImageEmbeddingPool;
let exact: ImageEmbeddingPool;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'millrace-images-'));
  pool = createImageEmbeddingPool({ workers: 1, limits: { url: { allowPrivateAddresses: true } } });
  exact = createImageEmbeddingPool({ workers: 1, preprocess: 'exact' });
});

afterAll(async () => {
  await pool?.close();
  await exact?.close();
  await rm(folder, { recursive: true, force: true });
});

async function failure(promise: Promise<unknown>): Promise<{ code: string; fault: string; error: unknown }> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!isMillraceError(error)) throw new Error(`expected a Millrace error, received ${String(error)}`);
  return { code: error.code, fault: error.fault, error };
}

describe('ImageEmbeddingPool with a process of its own', { timeout: 180_000 }, () => {
  it('embeds fast and exact preprocessing alike', async () => {
    for (const name of (await readdir(photos)).filter((each) => each.endsWith('.jpg'))) {
      const [a, b] = await Promise.all([pool.embedImage(photos + name), exact.embedImage(photos + name)]);
      expect({ name, ok: similarity(a, b) >= 0.999 }).toEqual({ name, ok: true });
    }
  });

  it('embeds two encodings of one picture nearly alike', async () => {
    for (const name of ['cat-1', 'coffee-1', 'rocket-1', 'raccoon-2', 'stairs']) {
      const image = sharp(await readFile(`${photos}${name}.jpg`)).resize(400);
      const png = await pool.embedImageBytes(await image.clone().png().toBuffer());
      for (const [format, bytes] of Object.entries({
        jpeg: await image.clone().jpeg({ quality: 90 }).toBuffer(),
        webp: await image.clone().webp({ quality: 90 }).toBuffer(),
        avif: await image.clone().avif({ quality: 80, effort: 1 }).toBuffer(),
        tiff: await image.clone().tiff({ compression: 'lzw' }).toBuffer(),
      })) {
        const found = similarity(png, await pool.embedImageBytes(bytes));
        expect({ name, format, found, ok: found >= 0.98 }).toMatchObject({ ok: true });
      }
    }
  });

  it('takes damage as far as its limits say', async () => {
    const whole = await readFile(`${photos}cat-1.jpg`);
    const cut = whole.subarray(0, Math.floor(whole.length * 0.9));
    await expect(pool.embedImageBytes(cut)).rejects.toBeInstanceOf(ImageCorruptError);
    const lenient = createImageEmbeddingPool({ workers: 1, limits: { failOn: 'none' } });
    try {
      expect(similarity(await lenient.embedImageBytes(cut), await pool.embedImageBytes(whole))).toBeGreaterThan(0.7);
    } finally {
      await lenient.close();
    }
  });

  it('brings each failure to the caller with its class, code and fault', async () => {
    const text = path.join(folder, 'text.jpg');
    const cut = path.join(folder, 'cut.jpg');
    const empty = path.join(folder, 'empty.jpg');
    await writeFile(text, 'This is no photograph.');
    await writeFile(cut, (await readFile(`${photos}cat-1.jpg`)).subarray(0, 9000));
    await writeFile(empty, '');
    const server = createServer((_request, response) => void response.writeHead(404).end());
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const strict = createImageEmbeddingPool({ workers: 1, limits: { roots: [photos] } });
    const table: readonly (readonly [string, () => Promise<unknown>, string, string])[] = [
      ['missing', () => pool.embedImage(path.join(folder, 'missing.jpg')), 'ERR_IMAGE_NOT_FOUND', 'caller'],
      ['folder', () => pool.embedImage(folder), 'ERR_IMAGE_UNSUPPORTED', 'caller'],
      ['empty', () => pool.embedImage(empty), 'ERR_IMAGE_CORRUPT', 'caller'],
      ['text', () => pool.embedImage(text), 'ERR_IMAGE_UNSUPPORTED', 'caller'],
      ['cut', () => pool.embedImage(cut), 'ERR_IMAGE_CORRUPT', 'caller'],
      ['URL as a path', () => pool.embedImage(`http://127.0.0.1:${port}/`), 'ERR_IMAGE_NOT_FOUND', 'caller'],
      ['outside', () => strict.embedImage(text), 'ERR_IMAGE_FORBIDDEN', 'caller'],
      ['base64', () => pool.embedImageBase64('not base64!'), 'ERR_BASE64_INVALID', 'caller'],
      ['path as a URL', () => pool.embedImageUrl(text), 'ERR_URL_FORBIDDEN', 'caller'],
      ['private', () => strict.embedImageUrl(`http://127.0.0.1:${port}/`), 'ERR_URL_FORBIDDEN', 'caller'],
      ['404', () => pool.embedImageUrl(`http://127.0.0.1:${port}/`), 'ERR_URL_FETCH', 'system'],
      ['unreachable', () => pool.embedImageUrl('http://127.0.0.1:8/'), 'ERR_URL_FETCH', 'system'],
    ];
    try {
      for (const [name, call, code, fault] of table) {
        const found = await failure(call());
        expect([name, found.code, found.fault]).toEqual([name, code, fault]);
      }
      expect((await failure(pool.embedImage(cut))).error).toBeInstanceOf(ImageCorruptError);
      await expect(pool.embedImage(cut)).rejects.toThrow(/jpeg data is damaged or incomplete/);
      expect((await pool.embedImage(`${photos}cat-1.jpg`)).length).toBe(256);
    } finally {
      await strict.close();
      server.close();
    }
  });

  it('answers every damaged image with an embedding or a coded error', async () => {
    const outcomes = await sendDamaged(220, 11);
    expect([...outcomes.values()].reduce((sum, each) => sum + each, 0)).toBe(220);
    expect(outcomes.get('embedding')).toBeGreaterThan(20);
  });
});

it('serves everything else while a host lets one URL after the other run out of time', async () => {
  // Takes connections and says nothing.
  const silent = createTcpServer((socket) => socket.on('error', () => {})).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const { port } = silent.address() as AddressInfo;
  const urls = (name: string) => Array.from({ length: 8 }, (_, index) => `http://127.0.0.1:${port}/${name}-${index}`);
  const own = createImageEmbeddingPool({
    workers: 1,
    timeoutMs: 1_000,
    limits: { url: { allowPrivateAddresses: true } },
  });
  try {
    const photo = path.join(photos, 'cat-1.jpg');
    await own.embedImage(photo, { timeoutMs: 20_000 });
    const codes = await Promise.all(
      urls('one').map((url) => own.embedImageUrl(url).catch((error: { code: string }) => error.code)),
    );
    for await (const { error } of own.embedImages(urls('stream').map((url) => new URL(url))))
      codes.push(isMillraceError(error) ? error.code : 'none');
    expect(new Set(codes)).toEqual(new Set(['ERR_DEADLINE_EXCEEDED']));
    expect(await own.embedImage(photo, { timeoutMs: 20_000 })).toHaveLength(256);
  } finally {
    await own.destroy(new Error('done'));
    silent.close();
  }
}, 30_000);
