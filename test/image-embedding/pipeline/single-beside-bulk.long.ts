import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { createSingleKinds } from './single-kinds.js';
import { createSlowPool } from './slow-pool.js';

const RUN_MS = 500;
const CALLS = 60;

/** Its multiples, less the whole, never come together. */
const GOLDEN = 0.618_034;

test('ImageEmbeddingPool.batchEmbedImages() with runs of 500 ms holds up a single image by one at most, at whatever moment it comes', async () => {
  const { pool, now, runOf, runsBefore } = createSlowPool(RUN_MS, { limits: { url: { allowPrivateAddresses: true } } });
  const { file, embed, destroy } = await createSingleKinds(pool);
  const stop = new AbortController();
  try {
    for (const call of Object.values(embed)) await call();
    const bulk = (async () => {
      for (;;) await pool.batchEmbedImages(new Array(1_000).fill(file), { signal: stop.signal, timeoutMs: 600_000 });
    })().catch(() => undefined);
    // Real time, because the child's runs take it. After some runs bulk fills every place; if it does not yet, a call waits for less.
    await delay(4 * RUN_MS);
    const singles = [];
    for (let count = 0; count < CALLS; count += 1) {
      // No event to wait for: a call comes at moments spread over the whole of a run, and a little more.
      await delay(1.3 * RUN_MS * ((count * GOLDEN) % 1));
      const called = now();
      const [kind, call] = Object.entries(embed)[count % 5] as [string, () => Promise<Float32Array>];
      const vector = await call();
      const before = runsBefore(vector);
      // Whole runs and the rest of one, its own not counted.
      const shares = before.map(({ begun, ended }) => (ended - Math.max(called, begun)) / (ended - begun));
      const runs = shares.reduce((sum, each) => sum + (each > 0 ? each : 0), 0);
      singles.push({ kind, runs, called, own: runOf(vector), before: before.slice(0, 3) });
    }
    stop.abort();
    await bulk;
    process.stdout.write(`runs waited for: ${singles.map(({ runs }) => runs.toFixed(2)).join(' ')}\n`);
    // A quarter more, for a call that waits in its sender while the machine is busy. One that misses the next batch waits for up to two; a fetch
    // that takes longer than bulk waits for it goes on in the run that follows.
    // Bulk waits for a second at most: what took longer to decode, on a machine that is busy with other things, is no case of this.
    const late = singles.filter(
      ({ kind, runs, called, own }) => runs > (kind === 'url' ? 2.25 : 1.25) && own.begun - called < 1_500,
    );
    expect(late).toEqual([]);
  } finally {
    await pool.destroy();
    await destroy();
  }
}, 600_000);
