import { expect, test } from 'vitest';
import { TimeTally } from '../../../src/image-embedding/pipeline/worker-model.js';

test('TimeTally counts durations by inclusive bounds, and names those without an end', () => {
  const tally = new TimeTally();
  for (const ms of [0, 1, 1.01, 9, 10, 10.5]) tally.observe(ms);
  tally.observe(30_000, 4);
  expect(tally.counts()).toEqual({ 1: 2, 2: 1, 10: 2, 20: 1, Infinity: 4 });
});
