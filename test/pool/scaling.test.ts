import { expect, test } from 'vitest';
import { decideScaling, type ScalingRules, type ScalingSnapshot } from '../../src/pool/model/scaling.js';

const rules: ScalingRules = { minWorkers: 0, maxWorkers: 4, scaleUpAfterMs: 100, idleTimeoutMs: 1_050 };
const base: ScalingSnapshot = {
  now: 10_000,
  queued: 0,
  starting: 0,
  missing: 0,
  workers: [],
  saturatedSince: undefined,
  lastGrowthAt: Number.NEGATIVE_INFINITY,
  notBefore: Number.NEGATIVE_INFINITY,
};
const decide = (snapshot: Partial<ScalingSnapshot>, more: Partial<ScalingRules> = {}) => {
  const { evict, ...decision } = decideScaling({ ...rules, ...more }, { ...base, ...snapshot });
  return { ...decision, evict: evict.map(({ id }) => id) };
};
const busy = (id: string) => ({ id, idleSince: undefined });
const idle = (id: string, idleSince: number) => ({ id, idleSince });
const nothing = { start: 0, evict: [], recheckAt: undefined };

test('decideScaling() does nothing for a model nobody calls', () => {
  expect(decide({})).toEqual(nothing);
});

test('decideScaling() starts one worker for the first request, and no second while that one starts', () => {
  expect(decide({ queued: 50 }).start).toBe(1);
  expect(decide({ queued: 50, starting: 1, saturatedSince: 0 })).toEqual(nothing);
});

test('decideScaling() keeps minWorkers', () => {
  expect(decide({}, { minWorkers: 3 }).start).toBe(3);
  expect(decide({ workers: [busy('a')], starting: 1 }, { minWorkers: 3 }).start).toBe(1);
});

test('decideScaling() grows by one once all have been busy for longer than the threshold', () => {
  const workers = [busy('a'), busy('b')];
  expect(decide({ queued: 1, workers, saturatedSince: 9_950 })).toEqual({ start: 0, evict: [], recheckAt: 10_050 });
  expect(decide({ queued: 1, workers, saturatedSince: 9_900 }).start).toBe(1);
  expect(decide({ queued: 0, workers, saturatedSince: undefined })).toEqual(nothing);
});

test('decideScaling() counts anew after a worker has come', () => {
  const grown = decide({ queued: 9, workers: [busy('a')], saturatedSince: 0, lastGrowthAt: 9_970 });
  expect(grown).toEqual({ start: 0, evict: [], recheckAt: 10_070 });
});

test('decideScaling() never exceeds maxWorkers', () => {
  const workers = ['a', 'b', 'c', 'd'].map(busy);
  expect(decide({ queued: 99, workers, saturatedSince: 0 })).toEqual(nothing);
});

test('decideScaling() waits for the back-off to end', () => {
  expect(decide({ queued: 1, notBefore: 12_000 })).toEqual({ start: 0, evict: [], recheckAt: 12_000 });
  expect(decide({ queued: 1, notBefore: 10_000 }).start).toBe(1);
});

test('decideScaling() evicts the least recently used first, after the idle timeout, down to minWorkers', () => {
  const workers = [idle('new', 8_940), idle('old', 8_000), idle('older', 7_000)];
  expect(decide({ workers })).toEqual({ start: 0, evict: ['older', 'old', 'new'], recheckAt: undefined });
  expect(decide({ workers }, { minWorkers: 2 }).evict).toEqual(['older']);
  expect(decide({ workers: [idle('a', 8_951)] })).toEqual({ start: 0, evict: [], recheckAt: 10_001 });
});

test('decideScaling() evicts nobody while anything waits, and never a busy worker', () => {
  expect(decide({ queued: 1, workers: [idle('a', 0)] }).evict).toEqual([]);
  expect(decide({ workers: [busy('a'), idle('b', 0)] }).evict).toEqual(['b']);
});

test('decideScaling() does not thrash when load sits at the edge', () => {
  // One request too many for one worker, half of the time, in turns of 80 ms: never long enough to grow, never idle for long enough to shrink.
  let changes = 0;
  for (let now = 0; now < 60_000; now += 80) {
    const full = (now / 80) % 2 === 0;
    const decision = decide({
      now,
      queued: full ? 1 : 0,
      workers: [full ? busy('a') : idle('a', now)],
      saturatedSince: full ? now : undefined,
    });
    changes += decision.start + decision.evict.length;
  }
  expect(changes).toBe(0);
});

test('decideScaling() replaces what crashed at once where something waits, up to maxWorkers, and as starts may be made', () => {
  expect(decide({ workers: [busy('a')], missing: 2 })).toEqual(nothing);
  expect(decide({ workers: [busy('a')], queued: 1, missing: 2 }).start).toBe(2);
  expect(decide({ workers: [busy('a')], queued: 1, starting: 2, missing: 2 }).start).toBe(1);
  expect(decide({ queued: 1, missing: 2, notBefore: 11_000 })).toEqual({ start: 0, evict: [], recheckAt: 11_000 });
});
