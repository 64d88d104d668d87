/** This pool, with a worker per core. */
import { createImageEmbeddingPool } from 'millrace/image-embedding';
import type { Contenders } from '../contender.js';

export const contenders: Contenders = {
  async pool({ folder, cores, pool: options }) {
    const pool = createImageEmbeddingPool({ model: folder, workers: cores, timeoutMs: 600_000, ...options });
    await pool.warm();
    return {
      lanes: pool.window,
      batch: 1,
      embed: async ([path]) => [await pool.embedImage(path as string)],
      close: () => pool.close(),
    };
  },
};
