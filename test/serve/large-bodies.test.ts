import { expect, test } from 'vitest';
import { largeBody, postLargeBodies } from './large-bodies.js';
import { serving } from './support/serving.js';

const at = serving({}, { workers: 1, coalesce: false });

test('JSON bodies of 21 MB are answered, never refused for their size, and others are answered between them', async () => {
  await at.server.app.warm();
  const body = await largeBody(21_000_000);
  const { statuses, asked } = await postLargeBodies(at, body, 8);
  expect(Object.values(statuses).reduce((sum, count) => sum + count, 0)).toBe(8);
  expect(Object.keys(statuses).every((status) => status === '200' || status === '429')).toBe(true);
  expect(statuses[200]).toBeGreaterThan(0);
  // Parsed on the loop, the eight would let about one request through for each.
  expect(asked).toBeGreaterThan(16);
});

test('a large body that is no JSON is refused as a small one is', async () => {
  const { status, json } = await at.post('/v1/embeddings', `{"input":"${'a b '.repeat(400_000)}"`);
  expect([status, json.error.code]).toEqual([400, 'invalid_json']);
  const words = await at.post('/v1/embeddings', { input: 'a b '.repeat(1_200_000) });
  expect([words.status, words.json.error.code]).toEqual([413, 'body_too_complex']);
});
