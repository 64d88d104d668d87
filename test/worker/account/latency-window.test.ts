import fc from 'fast-check';
import { expect, test } from 'vitest';
import { LatencyWindow } from '../../../src/worker/account/ledger.js';

test('LatencyWindow.summarise() of nothing is all zero', () => {
  expect(new LatencyWindow().summarise(0)).toEqual({ count: 0, p50: 0, p95: 0, p99: 0 });
});

test('LatencyWindow.summarise() gives nearest-rank percentiles', () => {
  const window = new LatencyWindow();
  for (let ms = 100; ms >= 1; ms--) window.record(ms, 0);
  expect(window.summarise(0)).toEqual({ count: 100, p50: 50, p95: 95, p99: 99 });
});

test('LatencyWindow.summarise() forgets what is older than the window', () => {
  const window = new LatencyWindow(1_000);
  window.record(900, 0);
  window.record(1, 500);
  expect(window.summarise(1_000).count).toBe(2);
  expect(window.summarise(1_001)).toEqual({ count: 1, p50: 1, p95: 1, p99: 1 });
  expect(window.summarise(5_000).count).toBe(0);
});

test('LatencyWindow keeps the last samples', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 1_000 }), { maxLength: 40 }),
      fc.integer({ min: 1, max: 9 }),
      (latencies, size) => {
        const window = new LatencyWindow(1_000, size);
        for (const ms of latencies) window.record(ms, 0);
        const kept = latencies.slice(-size).sort((a, b) => a - b);
        const rank = (share: number): number => kept[Math.ceil(share * kept.length) - 1] ?? 0;
        expect(window.summarise(0)).toEqual({ count: kept.length, p50: rank(0.5), p95: rank(0.95), p99: rank(0.99) });
      },
    ),
  );
});
