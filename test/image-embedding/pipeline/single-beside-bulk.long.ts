import { expect, test } from 'vitest';
import { callBesideBulk } from './single-beside-bulk.js';

test('ImageEmbeddingPool.batchEmbedImages() with runs of 500 ms holds up a single image by one at most', async () => {
  const singles = await callBesideBulk(500, 60);
  // As in the quick test.
  const late = singles.filter(({ kind, runs, waitedMs }) => runs > (kind === 'url' ? 2.25 : 1.25) && waitedMs < 1_500);
  process.stdout.write(`runs waited for: ${singles.map(({ runs }) => runs.toFixed(2)).join(' ')}\n`);
  expect(late).toEqual([]);
}, 600_000);
