import { describe, expect, test } from 'vitest';
import { expectExactLedger, load } from './overload.js';
import { photo, serving } from './support/serving.js';

const LIMIT = 16;
const SECOND = 1_000;
/** So many times two seconds of each. */
const ROUNDS = 30;

describe('three times the load that a server can answer, for a minute', () => {
  const served = serving({ maxUnderWay: LIMIT }, { workers: 1, coalesce: false });

  test('costs no goodput, no memory, and no answer but 200 and 429', async () => {
    const picture = await photo('cat-1');
    await load(served, 3 * LIMIT, 10 * SECOND, picture);
    globalThis.gc?.();
    const before = process.memoryUsage().rss;
    const statuses: Record<number, number> = {};
    const rates = { alone: 0, overloaded: 0 };
    // In turn, so that what else the machine does meets both.
    for (let round = 0; round < ROUNDS; round++) {
      rates.alone += (await load(served, LIMIT, 2 * SECOND, picture)).perSecond / ROUNDS;
      const overloaded = await load(served, 3 * LIMIT, 2 * SECOND, picture);
      rates.overloaded += overloaded.perSecond / ROUNDS;
      for (const [status, count] of Object.entries(overloaded.statuses)) {
        statuses[Number(status)] = (statuses[Number(status)] ?? 0) + count;
      }
    }
    globalThis.gc?.();
    const grown = process.memoryUsage().rss - before;
    console.log({ ...rates, statuses, grownMb: grown / 1e6 });
    expect(Object.keys(statuses)).toEqual(['200', '429']);
    expect(rates.overloaded).toBeGreaterThan(0.95 * rates.alone);
    expect(grown).toBeLessThan(30e6);
    await expectExactLedger(served);
  });
});
