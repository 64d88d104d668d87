import { expect, test } from 'vitest';
import { defaultRestartPolicy, RestartBudget } from '../../../src/worker/supervision/back-off.js';

test('RestartBudget.take() doubles the delay up to the longest, with jitter over its upper half', () => {
  const policy = { ...defaultRestartPolicy, maxRestarts: 10 };
  const longest = new RestartBudget(policy, () => 1);
  const shortest = new RestartBudget(policy, () => 0);
  const delays = (budget: RestartBudget): unknown[] => Array.from({ length: 8 }, () => budget.take(0)?.delayMs);
  expect(delays(longest)).toEqual([100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
  expect(delays(shortest)).toEqual([50, 100, 200, 400, 800, 1_600, 2_500, 2_500]);
});

test('RestartBudget.take() answers a delay however often it was asked', () => {
  const budget = new RestartBudget({ ...defaultRestartPolicy, maxRestarts: 2_000, backOffMs: 0 });
  const delays = Array.from({ length: 2_000 }, () => budget.take(0)?.delayMs);
  expect(delays.every((delayMs) => delayMs === 0)).toBe(true);
});

test('RestartBudget.take() refuses the sixth in a minute, and allows again as the window slides', () => {
  const budget = new RestartBudget();
  for (let index = 0; index < 5; index++) expect(budget.take(index * 1_000)?.attempt).toBe(index + 1);
  expect(budget.take(59_000)).toBeUndefined();
  expect(budget.take(60_500)?.attempt).toBe(5);
});
