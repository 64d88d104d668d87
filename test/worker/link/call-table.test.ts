import { expect, test } from 'vitest';
import { CallTable } from '../../../src/worker/link/call-table.js';

test('CallTable.get() finds every call that was added and not removed, in whatever order they go', () => {
  const table = new CallTable<{ readonly id: number }>();
  const calls = [1, 2, 3, 4].map((id) => ({ id }));
  expect(table.isEmpty).toBe(true);
  for (const order of [
    [0, 1, 2, 3],
    [3, 2, 1, 0],
    [1, 3, 0, 2],
  ]) {
    for (const call of calls) table.add(call);
    const left = new Set(calls);
    for (const index of order) {
      const call = calls[index] as { id: number };
      table.remove(call);
      left.delete(call);
      for (const each of calls) expect(table.get(each.id)).toBe(left.has(each) ? each : undefined);
      expect(table.isEmpty).toBe(left.size === 0);
    }
  }
});

test('CallTable.add() takes another when the first has gone and others are left', () => {
  const table = new CallTable<{ readonly id: number }>();
  const [one, two, three] = [{ id: 1 }, { id: 2 }, { id: 3 }] as const;
  table.add(one);
  table.add(two);
  table.remove(one);
  table.add(three);
  expect([table.get(1), table.get(2), table.get(3)]).toEqual([undefined, two, three]);
  table.remove(two);
  table.remove(three);
  expect(table.isEmpty).toBe(true);
});
