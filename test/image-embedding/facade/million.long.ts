import { expect, test } from 'vitest';
import { createImageEmbeddingPool } from '../../../src/image-embedding/index.js';
import { MemoryGovernor, type PooledWorker } from '../../../src/pool/index.js';

const COUNT = 1_000_000;
const vector = new Float32Array(256).fill(0.5);

/** A worker that answers at once. */
function answeringWorker(): PooledWorker {
  const status = { state: 'ready', enteredAt: 0 } as const;
  const worker = {
    id: 'at-once',
    state: {
      current: 'ready',
      borrow: () => status,
      waitFor: (wanted: string | readonly string[] | ((each: typeof status) => boolean)) =>
        (typeof wanted === 'function' ? wanted(status) : [wanted].flat().includes('ready'))
          ? Promise.resolve(status)
          : new Promise(() => undefined),
    },
    call: async () => vector,
    stats: () => ({ inFlight: 0, queued: 0 }),
    ping: async () => ({}),
    close: async () => undefined,
    destroy: async () => undefined,
  };
  return worker as unknown as PooledWorker;
}

function middle(samples: readonly { readonly heap: number; readonly rss: number }[], of: 'heap' | 'rss'): number {
  return samples.map((each) => each[of]).sort((one, other) => one - other)[samples.length >> 1] as number;
}

function* paths(): Generator<string, void, void> {
  for (let index = 0; index < COUNT; index += 1) yield `/images/${index}.jpg`;
}

test('ImageEmbeddingPool.embedImages() takes a million paths in constant memory', async () => {
  const pool = createImageEmbeddingPool({
    workers: { max: 1 },
    pool: { governor: new MemoryGovernor({ limitBytes: 8e9 }), spawn: answeringWorker },
  });
  const samples: { readonly heap: number; readonly rss: number }[] = [];
  let count = 0;
  const started = performance.now();
  for await (const { embedding } of pool.embedImages(paths())) {
    count += embedding?.length === 256 ? 1 : 0;
    if (count % 50_000 !== 0) continue;
    globalThis.gc?.();
    const { heapUsed, rss } = process.memoryUsage();
    samples.push({ heap: heapUsed / 1e6, rss: rss / 1e6 });
  }
  const perSecond = Math.round((COUNT / (performance.now() - started)) * 1000);
  // The resident size goes up and down with the collector's moods: the middle of the last quarter is held against that of the first.
  const grown = (of: 'heap' | 'rss') => middle(samples.slice(-5), of) - middle(samples.slice(0, 5), of);
  const [heap, rss] = [grown('heap'), grown('rss')];
  process.stdout.write(`${perSecond} paths a second, heap ${heap.toFixed(1)} MB more, resident ${rss.toFixed(1)} MB\n`);
  expect(count).toBe(COUNT);
  expect(heap).toBeLessThan(2);
  expect(rss).toBeLessThan(20);
  await pool.close();
});
