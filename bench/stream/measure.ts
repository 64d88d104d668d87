/** Paths through `embedImages`, with workers that answer at once: how fast, and whether the caller's memory stays flat. */
import { createImageEmbeddingPool } from 'millrace/image-embedding';
import { MemoryGovernor } from 'millrace/pool';
import type { PooledWorker } from '../../src/pool/internal.js';
import type { Request } from '../../src/worker/internal.js';

/** What was measured. */
export interface Report {
  readonly paths: number;
  readonly pathsPerSecond: number;
  readonly cpuMicrosPerPath: number;
  /** How much more there was in the last quarter than in the first, by the middle of several looks. */
  readonly heapGrownMb: number;
  readonly residentGrownMb: number;
}

/** Takes so many paths through a stream. */
export async function measure(count: number): Promise<Report> {
  const pool = createImageEmbeddingPool({
    workers: { max: 1 },
    pool: { governor: new MemoryGovernor({ limitBytes: 8e9 }), spawn: answeringWorker } as object,
  });
  const looks: { readonly heap: number; readonly resident: number }[] = [];
  let taken = 0;
  let pausedMs = 0;
  const began = performance.now();
  const cpu = process.cpuUsage();
  for await (const { embedding } of pool.embedImages(paths(count))) {
    if (embedding?.length !== 256) throw new Error('An image had no embedding');
    taken += 1;
    if (taken % (count / 20) !== 0) continue;
    const paused = performance.now();
    await collected();
    const { heapUsed, rss } = process.memoryUsage();
    looks.push({ heap: heapUsed / 1e6, resident: rss / 1e6 });
    pausedMs += performance.now() - paused;
  }
  const ms = performance.now() - began - pausedMs;
  const { user, system } = process.cpuUsage(cpu);
  await pool.close();
  if (taken !== count) throw new Error(`${count} paths gave ${taken} results`);
  // The resident size goes up and down with the collector's moods, so single looks say nothing.
  const grown = (of: 'heap' | 'resident') => middle(looks.slice(-5), of) - middle(looks.slice(0, 5), of);
  return {
    paths: count,
    pathsPerSecond: (count / ms) * 1000,
    cpuMicrosPerPath: (user + system) / count,
    heapGrownMb: grown('heap'),
    residentGrownMb: grown('resident'),
  };
}

/** What a collection frees is given back by another thread, a little later: until then it would count as growth. */
async function collected(): Promise<void> {
  for (let turn = 0; turn < 3; turn += 1) {
    globalThis.gc?.();
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
}

function middle(
  looks: readonly { readonly heap: number; readonly resident: number }[],
  of: 'heap' | 'resident',
): number {
  return looks.map((each) => each[of]).sort((one, other) => one - other)[looks.length >> 1] as number;
}

function* paths(count: number): Generator<string, void, void> {
  for (let index = 0; index < count; index += 1) yield `/images/${index}.jpg`;
}

/** A worker whose model does nothing: all that is left is what the pool and the stream do. */
function answeringWorker(): PooledWorker {
  const vector = new Float32Array(256).fill(0.5);
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
    start(request: Request) {
      request.take();
      queueMicrotask(() => request.send(vector));
    },
    ping: async () => ({}),
    close: async () => undefined,
    destroy: async () => undefined,
  };
  return worker as unknown as PooledWorker;
}
