/** The demo's thumbnails: a child process decodes the photographs. This file is both the caller's side and the worker's model module. */
import { readFile } from 'node:fs/promises';
import { createThumbnail } from '../../image-embedding/index.js';
import { type ModelOf, operation, spawnWorker, type UnaryOperation } from '../../worker/index.js';
import type { CreateThumbnailMaker } from './context.js';

const operations: { readonly makeThumbnail: UnaryOperation<string, Uint8Array> } = {
  makeThumbnail: operation<string, Uint8Array>({ capacity: 8, idempotent: true }),
};

const CONCURRENCY = 2;

/** Starts a thumbnail maker in a child process. */
export const createWorkerThumbnailMaker: CreateThumbnailMaker = async () => {
  const worker = spawnWorker({
    host: 'process',
    operations,
    module: new URL(import.meta.url),
    concurrency: CONCURRENCY,
  });
  return {
    window: CONCURRENCY * 2,
    make: (file) => worker.call('makeThumbnail', file),
    close: () => worker.close(),
    destroy: (reason) => worker.destroy(reason),
  };
};

/** Makes the worker's model. */
export default function createModel(): ModelOf<typeof operations> {
  return { makeThumbnail: async (file) => await createThumbnail(await readFile(file), { restrictLoaders: true }) };
}
