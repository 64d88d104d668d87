import { expect, test } from 'vitest';
import { largeBody, postLargeBodies } from './large-bodies.js';
import { serving } from './support/serving.js';

const at = serving({}, { workers: 1, coalesce: false });
const MS = 30_000;

test('the loop stays free while eight clients post JSON of 21 MB for half a minute', async () => {
  await at.server.app.warm();
  const body = await largeBody(21_000_000);
  const { statuses, healthMs, loop } = await postLargeBodies(at, body, 8, MS);
  const p99 = healthMs[Math.floor(healthMs.length * 0.99)] ?? Number.POSITIVE_INFINITY;
  console.log({ statuses, asked: healthMs.length, healthP99Ms: p99, loop });
  expect(Object.keys(statuses).every((status) => status === '200' || status === '429')).toBe(true);
  // The clients are in this process, too, and send what the server receives.
  expect(loop.p99Ms).toBeLessThan(40);
  expect(p99).toBeLessThan(100);
});
