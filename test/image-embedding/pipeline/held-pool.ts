import { mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { ImageEmbeddingPool, ImageEmbeddingPoolOptions } from '../../../src/image-embedding/index.js';
import { createSessionPool } from './session-pool.js';

/** A pool whose model's runs end when they are told to: what happens during one takes no clock to tell. */
export interface HeldPool {
  readonly pool: ImageEmbeddingPool;
  /** Has the run under way, or else the next, last until {@link step} or {@link release}; resolves to its number once it is inside the model. */
  hold(): Promise<number>;
  /** Ends run `number` and holds the next; resolves to that one's number. */
  step(number: number): Promise<number>;
  /** Holds no run any more. */
  release(): Promise<void>;
  /** The run that an image was in, and how many images that had; embeddings must be asked for with `normalize: false`. */
  runOf(embedding: Float32Array): { readonly number: number; readonly images: number };
  destroy(): Promise<void>;
}

export async function createHeldPool(options: ImageEmbeddingPoolOptions = {}): Promise<HeldPool> {
  const folder = await mkdtemp(path.join(tmpdir(), 'millrace-held-'));
  const pool = createSessionPool('./held-session.mjs', { folder }, options);
  const holding = path.join(folder, 'holding');
  const holdAfter = async (last: number): Promise<number> => {
    await writeFile(path.join(folder, 'free.new'), String(last));
    await rename(path.join(folder, 'free.new'), path.join(folder, 'free'));
    for (;;) {
      const number = Number(await readFile(holding, 'utf8').catch(() => '0'));
      if (number > last) return number;
      await delay(1);
    }
  };
  return {
    pool,
    hold: async () => {
      await rm(holding, { force: true });
      return holdAfter(0);
    },
    step: holdAfter,
    release: () => rm(path.join(folder, 'free'), { force: true }),
    runOf: ([number, images]) => ({ number: number as number, images: images as number }),
    destroy: async () => {
      await pool.destroy();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
