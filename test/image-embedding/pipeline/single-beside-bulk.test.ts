import { expect, test } from 'vitest';
import { callBesideBulk } from './single-beside-bulk.js';

const RUN_MS = 120;

test('ImageEmbeddingPool.batchEmbedImages() of 1,000 images holds up a single one by one inference batch at most, whenever it comes', async () => {
  const singles = await callBesideBulk(RUN_MS, 20);
  // A quarter more, for a call that waits in its sender while the machine is busy. One that misses the next batch waits for up to two.
  for (const { runs } of singles) expect(runs).toBeLessThan(1.25);
}, 60_000);
