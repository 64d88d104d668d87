import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const CASES = 195;
const folder = fileURLToPath(new URL('../../', import.meta.url));

/** The case numbers with which the names of tests, and of groups of tests, begin. */
function numbersIn(text: string): number[] {
  const numbers: number[] = [];
  const names = /\b(?:it|test|describe)(?:\.each\b[\s\S]*?\))?\(\s*([`'"])((?:\d{1,3}\.? )+)/g;
  for (const [, , lead = ''] of text.matchAll(names)) {
    for (const number of lead.match(/\d+/g) ?? []) numbers.push(Number(number));
  }
  return numbers;
}

test('every case of the conformance list has a test that carries its number', () => {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => /\.ts$/.test(name));
  const tested = new Set(files.flatMap((name) => numbersIn(readFileSync(path.join(folder, name), 'utf8'))));
  const missing = Array.from({ length: CASES }, (_, at) => at + 1).filter((number) => !tested.has(number));
  expect(missing).toEqual([]);
  expect(Math.max(...tested)).toBe(CASES);
});

test('the numbers of tests are read from their names alone', () => {
  expect(numbersIn("it('12. 13. a name', f); test(`7 another`); describe('194. group', f); it('x 5. y');")).toEqual([
    12, 13, 7, 194,
  ]);
  expect(numbersIn("it.each([[1, 2]] as const)('3. each %s', f); it.each(\n  kinds,\n)('44 on lines', f);")).toEqual([
    3, 44,
  ]);
});
