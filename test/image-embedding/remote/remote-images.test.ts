import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  createImageEmbeddingPool,
  createRemoteImageEmbeddingPool,
  type ImageEmbeddingPool,
  type RemoteImageEmbeddingPool,
  serveImageEmbeddingPool,
} from '../../../src/image-embedding/index.js';
import { type ServedPool, SimulatedBus } from '../../../src/remote/index.js';

const photo = path.resolve('examples/photos/cat-1.jpg');
const other = path.resolve('examples/photos/cat-2.jpg');
const network = new SimulatedBus();
let local: ImageEmbeddingPool;
let host: ServedPool;
let remote: RemoteImageEmbeddingPool;

beforeAll(async () => {
  local = createImageEmbeddingPool({ workers: { max: 1 } });
  host = await serveImageEmbeddingPool(local, { bus: network.connect(), service: 'images', name: 'one' });
  remote = createRemoteImageEmbeddingPool({ bus: network.connect(), service: 'images' });
});
afterAll(async () => {
  await remote.close();
  await host.close();
  await local.close();
});

test('every way in gives the embedding of the local pool, bit for bit', async () => {
  const expected = await local.embedImage(photo);
  const bytes = await readFile(photo);
  expect(await remote.embedImage(photo)).toEqual(expected);
  expect(await remote.embedImage(path.relative(process.cwd(), photo))).toEqual(expected);
  expect(await remote.embedImageBytes(bytes)).toEqual(expected);
  expect(await remote.embedImageBytes(new Blob([bytes]))).toEqual(expected);
  expect(await remote.embedImageBase64(bytes.toString('base64'))).toEqual(expected);
  expect(await remote.embedImage(photo, { priority: 'batch' })).toEqual(expected);
  const { embedding, info } = await remote.embedImageDetailed(photo);
  expect(embedding).toEqual(expected);
  expect(info).toMatchObject({ worker: 'one', attempts: 1 });
  const [first, second] = await remote.batchEmbedImages([photo, other]);
  expect(first).toEqual(expected);
  expect(second).toEqual(await local.embedImage(other));
  for await (const { index, embedding: each } of remote.embedImages([photo, bytes])) {
    expect([index, each]).toEqual([index, expected]);
  }
  expect(remote.similarity(expected, expected)).toBeCloseTo(1);
});

test('the model is described by a host', async () => {
  expect(await remote.describe()).toEqual(await local.describe());
  expect(await remote.embeddingDimension()).toBe(256);
  expect(await remote.supportedDimensions()).toEqual(await local.supportedDimensions());
});

test('paths are opened in the process of the caller alone', async () => {
  await expect(remote.embedImage('no-such-file.jpg')).rejects.toMatchObject({ code: 'ERR_IMAGE_NOT_FOUND' });
  const accepted = host.stats().accepted;
  const rooted = createRemoteImageEmbeddingPool({
    bus: network.connect(),
    service: 'images',
    limits: { roots: [path.resolve('examples/photos')] },
  });
  await expect(rooted.embedImage(path.resolve('package.json'))).rejects.toMatchObject({ code: 'ERR_IMAGE_FORBIDDEN' });
  expect(host.stats().accepted).toBe(accepted);
  expect((await rooted.embedImage(photo)).length).toBe(256);
  await rooted.close();
  for (const operation of ['embedImage', 'batchEmbedImages']) {
    expect(() => host.call(operation, photo)).toThrow(expect.objectContaining({ code: 'ERR_NOT_SERVED' }));
  }
});

test('errors of images and of the model keep their class and code', async () => {
  const bad = new Uint8Array([1, 2, 3, 4]);
  const [here, there] = await Promise.all(
    [local, remote].map((pool) => pool.embedImageBytes(bad).catch((error: unknown) => error as Error)),
  );
  expect(there).toBeInstanceOf((here as Error).constructor);
  expect(there).toMatchObject({ code: (here as { code?: string }).code, message: (here as Error).message });
  await expect(remote.embedImage(photo, { model: 'other' })).rejects.toThrow(/must be left out/);
  await expect(remote.embedImageBytes(new Uint8Array(33_000_000))).rejects.toMatchObject({
    code: 'ERR_IMAGE_TOO_LARGE',
  });
  const settled = await remote.batchEmbedImages([photo, bad], { settle: true });
  expect(settled.map(({ error }) => error === undefined)).toEqual([true, false]);
});

test('a host that fetches nothing for callers says so', async () => {
  const quiet = await serveImageEmbeddingPool(local, { bus: network.connect(), service: 'quiet', fetchesUrls: false });
  const caller = createRemoteImageEmbeddingPool({ bus: network.connect(), service: 'quiet' });
  await expect(caller.embedImageUrl('http://127.0.0.1:9/x.jpg')).rejects.toMatchObject({ code: 'ERR_NOT_SERVED' });
  await expect(remote.embedImageUrl('http://127.0.0.1:9/x.jpg')).rejects.toMatchObject({ code: 'ERR_URL_FORBIDDEN' });
  await caller.close();
  await quiet.close();
});
