/** Image embedding, against transformers.js as its documentation uses it. */
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { env, pipeline } from '@huggingface/transformers';
import sharp from 'sharp';
import { createImageEmbeddingPool, type ImageEmbeddingPool } from '../../../dist/image-embedding/index.js';
import type { Claim } from '../claim.js';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const photo = path.join(root, 'examples', 'photos', 'cat-1.jpg');
env.allowRemoteModels = false;
env.localModelPath = path.join(root, 'models');

async function millrace<T>(act: (pool: ImageEmbeddingPool) => Promise<T>): Promise<T> {
  const pool = createImageEmbeddingPool({ workers: { max: 1 } });
  try {
    return await act(pool);
  } finally {
    await pool.destroy();
  }
}

type Extract = (images: string | string[]) => Promise<unknown>;
async function transformers<T>(act: (extract: Extract) => Promise<T>): Promise<T> {
  const extract = await pipeline('image-feature-extraction', 'mobilenet-v1-0.25', { dtype: 'fp32', device: 'cpu' });
  try {
    return await act(async (images) => await extract(images));
  } finally {
    await extract.dispose();
  }
}

/** Whether a server was asked for a picture. */
async function isFetched(act: (url: string) => Promise<unknown>): Promise<string> {
  let asked = 0;
  const server = createServer((_, response) => {
    asked++;
    response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  await act(`http://127.0.0.1:${(server.address() as AddressInfo).port}/cat.jpg`).catch(() => {});
  server.closeAllConnections();
  server.close();
  return asked > 0 ? 'is fetched' : 'is no file';
}

async function large(act: (file: string) => Promise<unknown>): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'millrace-claims-'));
  try {
    const file = path.join(folder, 'large.png');
    await sharp({ create: { width: 8_000, height: 8_000, channels: 3, background: '#888' } })
      .png()
      .toFile(file);
    return await act(file).then(
      () => 'is decoded',
      () => 'is refused',
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

export const claims: readonly Claim[] = [
  {
    question: 'one broken picture of a batch: the others',
    answers: {
      millrace: () =>
        millrace(async (pool) => {
          const [good] = await pool.batchEmbedImages([photo, import.meta.filename], { settle: true });
          return good?.embedding === undefined ? 'fail with it' : 'are embedded';
        }),
      'transformers.js': () =>
        transformers((extract) =>
          extract([photo, import.meta.filename]).then(
            () => 'are embedded',
            () => 'fail with it',
          ),
        ),
    },
  },
  {
    question: 'a path that looks like a URL',
    answers: {
      millrace: () => millrace((pool) => isFetched((url) => pool.embedImage(url))),
      'transformers.js': () => transformers((extract) => isFetched((url) => extract(url))),
    },
  },
  {
    question: 'a picture of 64 million pixels, by default',
    answers: {
      millrace: () => millrace((pool) => large((file) => pool.embedImage(file))),
      'transformers.js': () => transformers((extract) => large((file) => extract(file))),
    },
  },
];
