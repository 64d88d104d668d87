import { spawnWorker } from '../worker/index.js';
import { thumbnailOperations } from './thumbnail-model.js';

/** Makes small pictures, away from this process. */
export interface ThumbnailMaker {
  /** A small JPEG of an image file. */
  make(file: string): Promise<Uint8Array>;
  /** How many should be under way at once. */
  readonly window: number;
  close(): Promise<void>;
  destroy(reason: Error): Promise<void>;
}

/** Makes a {@link ThumbnailMaker}. */
export type CreateThumbnailMaker = () => Promise<ThumbnailMaker>;

const CONCURRENCY = 2;

/** A thumbnail maker in a child process of its own. */
export const createWorkerThumbnailMaker: CreateThumbnailMaker = async () => {
  const worker = spawnWorker({
    host: 'process',
    operations: thumbnailOperations,
    module: new URL('./thumbnail-model.js', import.meta.url),
    concurrency: CONCURRENCY,
  });
  return {
    window: CONCURRENCY * 2,
    make: (file) => worker.call('makeThumbnail', file),
    close: () => worker.close(),
    destroy: (reason) => worker.destroy(reason),
  };
};
