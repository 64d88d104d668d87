import fc from 'fast-check';
import { expect, test } from 'vitest';
import { NameSet } from '../../src/cli/input/name-set.js';

test('NameSet.add() answers as a set of strings would', () => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.string({ maxLength: 2 }), fc.constantFrom('', 'a', '\uDCE9', '\uDCE8'))),
      (names) => {
        const set = new NameSet();
        const model = new Set<string>();
        for (const name of names) {
          expect(set.add(name)).toBe(!model.has(name));
          model.add(name);
        }
      },
    ),
  );
});

test('NameSet.add() knows a hundred thousand names', () => {
  const set = new NameSet();
  for (let index = 0; index < 100_000; index++)
    if (!set.add(`photos/${index}.jpg`)) throw new Error(`${index} was new`);
  for (let index = 0; index < 100_000; index++)
    if (set.add(`photos/${index}.jpg`)) throw new Error(`${index} was there`);
  expect(set.add('photos')).toBe(true);
});
