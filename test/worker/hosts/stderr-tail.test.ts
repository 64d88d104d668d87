import { expect, test } from 'vitest';
import { StderrTail } from '../../../src/worker/hosts/stderr-tail.js';

test('StderrTail.lines() joins pieces and keeps the last lines, an unfinished one too', () => {
  const tail = new StderrTail(2, 10);
  tail.push('one\ntw');
  tail.push('o\r\nthree\nunfi');
  expect(tail.lines()).toEqual(['three', 'unfi']);
  tail.push(`${'x'.repeat(1_000)}\n`);
  expect(tail.lines().at(-1)).toHaveLength(10);
});
