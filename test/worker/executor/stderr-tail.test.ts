import { expect, test } from 'vitest';
import { StderrTail } from '../../../src/worker/executor/host-exit.js';

test('StderrTail.lines() joins pieces and keeps the last lines, an unfinished one too', () => {
  const tail = new StderrTail(2, 10);
  tail.push('one\ntw');
  tail.push('o\r\nthree\nunfi');
  expect(tail.lines()).toEqual(['three', 'unfi']);
  tail.push(`${'x'.repeat(1_000)}\n`);
  expect(tail.lines().at(-1)).toHaveLength(10);
});

test('StderrTail.lines() begins with the line that tells of memory that has run out, however long the stack behind it', () => {
  const words = 'FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory';
  const frames = Array.from({ length: 40 }, (_, index) => `${String(index + 1).padStart(2)}: 0xb8 node::Abort()`);
  const tail = new StderrTail(3);
  tail.push(`before\n${words}\n----- Native stack trace -----\n\n${frames.join('\n')}\n`);
  expect(tail.lines()).toEqual([words, ...frames.slice(-2)]);
  // They were somebody else's: whoever wrote them is dead.
  tail.push('and on\n');
  expect(tail.lines()).toEqual([...frames.slice(-2), 'and on']);
});
