/**
 * Thumbnails of indexed pictures: a child process reads and decodes them. This file is both the caller's side and the worker's model module.
 */
import { readFile } from 'node:fs/promises';
import { createThumbnail } from '../../image-embedding/index.js';
import { encodePath } from '../../image-embedding/internal.js';
import { type ModelOf, operation, spawnWorker, type UnaryOperation } from '../../worker/index.js';
import { packageUrl } from '../../worker/internal.js';

const operations: { readonly makeThumbnail: UnaryOperation<string, Uint8Array> } = {
  makeThumbnail: operation<string, Uint8Array>({ capacity: 256, idempotent: true }),
};

/** The longer side, in pixels. */
const SIZE = 420;
const TIMEOUT_MS = 20_000;
/** So many are kept, about 30 kB each. */
const KEPT = 1_000;

/** Makes thumbnails of files, and keeps the last ones. */
export class ThumbnailMaker {
  readonly #kept = new Map<string, Promise<Uint8Array>>();
  #worker: ReturnType<typeof start> | undefined;

  /**
   * Makes a thumbnail.
   *
   * @param version Tells the file's content from what it was before.
   */
  async make(file: string, version: string): Promise<Uint8Array> {
    const key = `${version} ${file}`;
    const known = this.#kept.get(key);
    this.#kept.delete(key);
    const made = known ?? this.#call(file);
    this.#kept.set(key, made);
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > KEPT && oldest !== undefined) this.#kept.delete(oldest);
    try {
      return await made;
    } catch (error) {
      this.#kept.delete(key);
      throw error;
    }
  }

  #call(file: string): Promise<Uint8Array> {
    this.#worker ??= start();
    const worker = this.#worker;
    return worker.call('makeThumbnail', file, { timeoutMs: TIMEOUT_MS }).catch((error: unknown) => {
      // A worker has one life: the next thumbnail gets another.
      if ((error as { readonly code?: unknown }).code === 'ERR_WORKER_CRASHED' && this.#worker === worker) {
        this.#worker = undefined;
      }
      throw error;
    });
  }

  async close(): Promise<void> {
    await this.#worker?.close({ timeoutMs: 0 });
  }
}

function start() {
  const module = packageUrl('serve/search-page/thumbnail-maker.js');
  return spawnWorker({ host: 'process', operations, module, concurrency: 2 });
}

/** Makes the worker's model. */
export default function createModel(): ModelOf<typeof operations> {
  return {
    makeThumbnail: async (file) =>
      await createThumbnail(await readFile(encodePath(file)), { size: SIZE, restrictLoaders: true }),
  };
}
