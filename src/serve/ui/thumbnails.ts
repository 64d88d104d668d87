/**
 * The dashboard's thumbnails: a child process decodes the pictures, which are not trusted. This file is both the caller's side and the worker's model
 * module.
 */
import { createThumbnail } from '../../image-embedding/index.js';
import { type ModelOf, operation, spawnWorker, type UnaryOperation } from '../../worker/index.js';
import { packageUrl } from '../../worker/internal.js';

const operations: { readonly makeThumbnail: UnaryOperation<Uint8Array, Uint8Array> } = {
  makeThumbnail: operation<Uint8Array, Uint8Array>({ capacity: 4 }),
};

/** The longer side, in pixels. */
const SIZE = 64;
const TIMEOUT_MS = 2_000;

/** Makes thumbnails. */
export interface Thumbnails {
  /** A thumbnail as a data URL; undefined where there are others to make first, or the picture has none. */
  make(bytes: Uint8Array): Promise<string | undefined>;
  close(): Promise<void>;
}

/** Starts a child process that makes thumbnails. */
export function startThumbnails(): Thumbnails {
  const module = packageUrl('serve/ui/thumbnails.js');
  const worker = spawnWorker({ host: 'process', operations, module, concurrency: 1 });
  return {
    async make(bytes) {
      try {
        const jpeg = await worker.tryCall('makeThumbnail', bytes, { timeoutMs: TIMEOUT_MS });
        return `data:image/jpeg;base64,${Buffer.from(jpeg).toString('base64')}`;
      } catch {
        return undefined;
      }
    },
    close: () => worker.close({ timeoutMs: 0 }),
  };
}

/** Makes the worker's model. */
export default function createModel(): ModelOf<typeof operations> {
  return { makeThumbnail: (bytes) => createThumbnail(bytes, { size: SIZE, restrictLoaders: true }) };
}
