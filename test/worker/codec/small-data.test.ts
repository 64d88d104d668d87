import { expect, test } from 'vitest';
import { isSmallData } from '../../../src/worker/codec/payload.js';
import { makeEmptyModule } from '../empty-module.js';

const nested = (levels: number): unknown => (levels === 0 ? 1 : { inner: nested(levels - 1) });

test.each([
  [7, true],
  ['x'.repeat(100_000), true],
  [undefined, true],
  [new Float32Array(1_000_000), true],
  [{ label: 'cat', score: 0.5, box: [1, 2, 3, 4], pixels: new Uint8Array(9) }, true],
  [nested(3), true],
  [nested(4), false],
  [Array.from({ length: 200 }, () => 1), true],
  [Array.from({ length: 300 }, () => 1), false],
  [Array.from({ length: 20 }, () => Array.from({ length: 20 }, () => 1)), false],
  [Object.assign([1], { extra: 1 }), false],
  [new Map(), false],
  [new (class Own {})(), false],
  [makeEmptyModule(), false],
  [Object.create(null), true],
])('isSmallData() of %o is %s', (value, expected) => {
  expect(isSmallData(value)).toBe(expected);
});

test('isSmallData() of what throws when it is looked at is false', () => {
  const trapped = new Proxy(
    {},
    {
      ownKeys: () => {
        throw new Error('trap');
      },
    },
  );
  expect(isSmallData(trapped)).toBe(false);
  expect(
    isSmallData({
      get bad(): never {
        throw new Error('no');
      },
    }),
  ).toBe(false);
});

test('isSmallData() of a ring ends', () => {
  const ring: { self?: unknown } = {};
  ring.self = ring;
  expect(isSmallData(ring)).toBe(false);
});
