import { describe, expect, test } from 'vitest';
import { expectExactLedger, load } from './overload.js';
import { photo, serving } from './support/serving.js';

const LIMIT = 16;
const SECOND = 1_000;

describe('three times the load that a server can answer, for a minute', () => {
  const served = serving({ maxUnderWay: LIMIT }, { workers: 1, coalesce: false });

  test('costs no goodput, no memory, and no answer but 200 and 429', async () => {
    const picture = await photo('cat-1');
    await load(served, LIMIT, 5 * SECOND, picture);
    const alone = await load(served, LIMIT, 15 * SECOND, picture);
    const early = await load(served, 3 * LIMIT, 10 * SECOND, picture);
    globalThis.gc?.();
    const before = process.memoryUsage().rss;
    const { statuses, perSecond } = await load(served, 3 * LIMIT, 60 * SECOND, picture);
    globalThis.gc?.();
    const grown = process.memoryUsage().rss - before;
    console.log({
      alone: alone.perSecond,
      early: early.perSecond,
      overloaded: perSecond,
      statuses,
      grownMb: grown / 1e6,
    });
    expect(Object.keys(statuses)).toEqual(['200', '429']);
    expect(perSecond).toBeGreaterThan(0.95 * alone.perSecond);
    expect(grown).toBeLessThan(30e6);
    await expectExactLedger(served);
  });
});
