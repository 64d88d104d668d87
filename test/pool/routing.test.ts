import { expect, test } from 'vitest';
import { leastLoaded, powerOfTwoChoices, type RoutingCandidate, roundRobin } from '../../src/pool/index.js';

const candidates = (...costs: number[]): RoutingCandidate[] =>
  costs.map((pending, index) => ({ id: `w${index}`, pending, window: 100 }));

test('powerOfTwoChoices() takes the less loaded of two different candidates', () => {
  const list = candidates(5, 1, 9);
  for (let first = 0; first < 3; first += 1) {
    for (let second = 0; second < 2; second += 1) {
      const draws = [(first + 0.5) / 3, (second + 0.5) / 2];
      const chosen = powerOfTwoChoices(() => draws.shift() as number)(list);
      const others = list.filter((each) => each !== list[first]);
      expect(chosen.pending).toBeLessThanOrEqual((list[first] as RoutingCandidate).pending);
      expect([list[first], ...others]).toContain(chosen);
    }
  }
  const counts = [0, 0, 0];
  const route = powerOfTwoChoices();
  for (let turn = 0; turn < 3_000; turn += 1) counts[list.indexOf(route(list))]! += 1;
  expect(counts[2]).toBe(0);
  expect(counts[1]).toBeGreaterThan(1_800);
});

test('powerOfTwoChoices() takes of two idle candidates the one that worked last', () => {
  const [never, before, last, busy] = candidates(0, 0, 0, 1).map((each, index) => ({
    ...each,
    idleSince: [undefined, 100, 200, undefined][index],
  }));
  const route = powerOfTwoChoices();
  for (let turn = 0; turn < 50; turn += 1) {
    expect(route([before!, last!])).toBe(last);
    expect(route([last!, before!])).toBe(last);
    expect(route([never!, before!])).toBe(before);
    expect(route([last!, busy!])).toBe(last);
    expect(route([busy!, never!])).toBe(never);
  }
});

test('powerOfTwoChoices() takes the only candidate', () => {
  const [only] = candidates(3);
  expect(powerOfTwoChoices()([only!])).toBe(only);
});

test('leastLoaded() takes the candidate with the least pending cost, the first of equals', () => {
  const list = candidates(4, 2, 2, 7);
  expect(leastLoaded()(list)).toBe(list[1]);
});

test('roundRobin() takes each in turn and goes on when one has no room', () => {
  const list = candidates(0, 0, 0);
  const route = roundRobin();
  expect([1, 2, 3, 4].map(() => route(list).id)).toEqual(['w0', 'w1', 'w2', 'w0']);
  expect(route([list[0]!, list[2]!]).id).toBe('w2');
  expect(route(list).id).toBe('w0');
});
