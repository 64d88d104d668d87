import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Priority, PriorityQueue, type Queueable } from '../../src/pool/priority.js';

interface Item extends Queueable<Item> {
  readonly name: string;
}
const item = (priority: Priority, name = ''): Item => ({
  priority,
  name,
  previous: undefined,
  next: undefined,
  isQueued: false,
});
const shares = { normal: 0.2, batch: 0.05 };

test('PriorityQueue is first in, first out within a class, the more urgent class first', () => {
  const queue = new PriorityQueue<Item>(shares);
  for (const [priority, name] of [
    ['batch', 'c'],
    ['normal', 'b'],
    ['interactive', 'a1'],
    ['interactive', 'a2'],
  ] as const) {
    queue.push(item(priority, name));
  }
  expect([1, 2, 3, 4, 5].map(() => queue.take()?.name)).toEqual(['a1', 'a2', 'b', 'c', undefined]);
});

test('PriorityQueue leaves the stated shares to the lower classes when all are saturated', () => {
  const queue = new PriorityQueue<Item>(shares);
  const taken = { interactive: 0, normal: 0, batch: 0 };
  for (let turn = 0; turn < 10_000; turn += 1) {
    for (const priority of ['interactive', 'normal', 'batch'] as const) queue.push(item(priority));
    taken[(queue.take() as Item).priority] += 1;
  }
  expect(Math.abs(taken.normal - 2_000)).toBeLessThanOrEqual(2);
  expect(Math.abs(taken.batch - 500)).toBeLessThanOrEqual(2);
});

test('PriorityQueue gives a class that waits alone no credit against a more urgent one', () => {
  const queue = new PriorityQueue<Item>(shares);
  for (let turn = 0; turn < 100; turn += 1) queue.push(item('batch'));
  for (let turn = 0; turn < 50; turn += 1) queue.take();
  for (let turn = 0; turn < 5; turn += 1) queue.push(item('interactive'));
  expect([1, 2, 3, 4, 5].map(() => queue.take()?.priority)).toEqual(Array(5).fill('interactive'));
});

test('PriorityQueue.remove() takes an item out of the middle once', () => {
  const queue = new PriorityQueue<Item>(shares);
  const items = ['a', 'b', 'c'].map((name) => item('normal', name));
  for (const each of items) queue.push(each);
  expect(queue.remove(items[1]!)).toBe(true);
  expect(queue.remove(items[1]!)).toBe(false);
  expect(queue.toArray().map((each) => each.name)).toEqual(['a', 'c']);
  queue.pushFront(item('normal', 'z'));
  expect(queue.size).toBe(3);
  expect(queue.take()?.name).toBe('z');
});

test('PriorityQueue.peek() does not spend the turn of what it shows', () => {
  const queue = new PriorityQueue<Item>({ normal: 0.5, batch: 0 });
  for (let turn = 0; turn < 4; turn += 1)
    for (const priority of ['interactive', 'normal'] as const) queue.push(item(priority));
  const taken: (string | undefined)[] = [];
  while (queue.size > 0) {
    for (let look = 0; look < 5; look += 1) queue.peek();
    const shown = queue.peek();
    const got = queue.take();
    expect(got).toBe(shown);
    taken.push(got?.priority);
  }
  expect(taken.slice(0, 4)).toEqual(['interactive', 'normal', 'interactive', 'normal']);
});

test('PriorityQueue keeps the order of a class over any pushes at either end, removals and takes', () => {
  const step = fc.tuple(fc.constantFrom('push', 'pushFront', 'remove', 'take', 'takeNewest'), fc.nat(9));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const queue = new PriorityQueue<Item>(shares);
      const expected: Item[] = [];
      for (const [what, which] of steps) {
        if (what === 'push' || what === 'pushFront') {
          const made = item('normal', `${expected.length}`);
          queue[what](made);
          if (what === 'push') expected.push(made);
          else expected.unshift(made);
        } else if (what === 'remove') {
          const [removed] = expected.splice(which % Math.max(1, expected.length), 1);
          if (removed !== undefined) expect(queue.remove(removed)).toBe(true);
        } else {
          expect(queue.take(what === 'takeNewest')).toBe(what === 'take' ? expected.shift() : expected.pop());
        }
        expect(queue.toArray()).toEqual(expected);
        expect([queue.size, queue.sizeOf('normal')]).toEqual([expected.length, expected.length]);
      }
    }),
  );
});
