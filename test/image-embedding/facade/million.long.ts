import { expect, test } from 'vitest';
import { measure } from '../../../bench/stream/measure.js';

test('ImageEmbeddingPool.embedImages() takes a million paths in constant memory', async () => {
  const { paths, pathsPerSecond, heapGrownMb, residentGrownMb } = await measure(1_000_000);
  process.stdout.write(
    `${pathsPerSecond.toFixed(0)} paths a second, heap ${heapGrownMb.toFixed(1)} MB more, resident ${residentGrownMb.toFixed(1)} MB\n`,
  );
  expect(paths).toBe(1_000_000);
  expect(heapGrownMb).toBeLessThan(2);
  expect(residentGrownMb).toBeLessThan(20);
});
