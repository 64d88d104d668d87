import { expect, test } from 'vitest';
import { type Comparison, checked, type Runs, summarise } from '../../bench/harness/compare.js';

const spec = { name: 's', n: 10, sum: (n: number) => (n * (n - 1)) / 2 };
const comparison: Comparison = {
  title: 't',
  scenarios: [spec],
  contenders: {},
  ours: ['ours'],
  notPeers: ['floor'],
};
const run = (ms: number, n = 10) => ({ ms, cpuMs: ms * 2, count: n, sum: 45, n });

test('checked() fails a contender that has lost or invented a message', () => {
  expect(checked(run(1), spec, 10).error).toBeUndefined();
  expect(checked({ ...run(1), count: 9 }, spec, 10).error).toBe('count is 9, not 10');
  expect(checked({ ...run(1), sum: 44 }, spec, 10).error).toBe('sum is 44, not 45');
});

test('summarise() takes the ratio round by round, to the best of the peers', () => {
  const runs: Runs = new Map([
    ['ours', [run(1), run(10), run(2)]],
    ['slow peer', [run(9), run(90), run(18)]],
    ['best peer', [run(2), run(20), run(4)]],
    ['floor', [run(0.5), run(5), run(1)]],
    ['broken', [{ ...run(0), error: 'lost' }]],
  ]);
  const results = new Map(summarise(runs, 10, comparison, false).map((result) => [result.contender, result]));
  expect(results.get('ours')?.ratio).toBe(2);
  expect(results.get('best peer')?.ratio).toBe(1);
  expect(results.get('floor')?.ratio).toBe(4);
  expect(results.get('broken')?.error).toBe('lost');
  expect(results.get('ours')?.rate).toBeCloseTo(0.005);
  expect(results.get('ours')?.cpuNs).toBeCloseTo(400_000);
});

test('summarise() compares by message, where contenders moved different numbers', () => {
  const runs: Runs = new Map([
    ['ours', [run(1)]],
    ['slow peer', [run(1, 5)]],
  ]);
  const [ours, slow] = summarise(runs, 10, comparison, false);
  expect(ours?.ratio).toBe(2);
  expect(ours?.n).toBeUndefined();
  expect(slow?.n).toBe(5);
  expect(slow?.rate).toBeCloseTo(0.005);
});
