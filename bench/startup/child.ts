/** Measures one start, and prints it in ms. */
import type { ImageEmbeddingPoolOptions } from 'millrace/image-embedding';
import { createImageEmbeddingPool, prepareModel, readModelFolder } from 'millrace/image-embedding';

/** What to measure. */
export interface StartupOrder {
  readonly what: 'cold' | 'cold-spare' | 'load' | 'worker' | 'memory';
  readonly folder: string;
  readonly prepare: boolean;
  readonly dist: string;
  readonly images: readonly string[];
}

type Inference = typeof import('../../src/image-embedding/inference/session.js');

const order = JSON.parse(process.argv[2] as string) as StartupOrder;
const { what, folder, prepare, images } = order;
const options: ImageEmbeddingPoolOptions = { model: folder, prepare: prepare ? 'auto' : 'off', timeoutMs: 600_000 };

process.stdout.write(String(await measure()));
if (what === 'memory') setInterval(() => {}, 60_000);
else process.exit(0);

async function measure(): Promise<number> {
  switch (what) {
    case 'cold':
      return cold(options);
    case 'cold-spare':
      return cold({ ...options, spareHosts: 1 }, 1_000);
    case 'load':
      return load();
    case 'worker': {
      const pool = createImageEmbeddingPool({ ...options, workers: { max: 1 } });
      const began = performance.now();
      await pool.warm();
      return performance.now() - began;
    }
    case 'memory': {
      const pool = createImageEmbeddingPool({ ...options, workers: 2 });
      for (let round = 0; round < 4; round++) await Promise.all(images.map((image) => pool.embedImage(image)));
      return 0;
    }
  }
}

/** From a call to its answer, the pool being new, or having had time to fork a spare host. */
async function cold(given: ImageEmbeddingPoolOptions, waitMs: number = 0): Promise<number> {
  const pool = createImageEmbeddingPool(given);
  await new Promise((resolve) => setTimeout(resolve, waitMs));
  const began = performance.now();
  await pool.embedImage(images[0] as string);
  return performance.now() - began;
}

/** The model alone, the runtime being loaded. */
async function load(): Promise<number> {
  const { EmbeddingSession } = (await import(
    new URL('image-embedding/inference/session.js', order.dist).href
  )) as Inference;
  await import('onnxruntime-node');
  const spec = await readModelFolder(folder);
  const prepared = prepare ? (await prepareModel(folder)).folder : undefined;
  const began = performance.now();
  await EmbeddingSession.load(spec, {}, prepared);
  return performance.now() - began;
}
