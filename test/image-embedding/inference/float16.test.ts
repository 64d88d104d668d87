import { describe, expect, test } from 'vitest';
import { fromFloat16, toFloat16 } from '../../../src/image-embedding/inference/tensors.js';

describe('toFloat16()', () => {
  test('gives back every half that is a number', () => {
    const all = Uint16Array.from({ length: 65_536 }, (_, index) => index).filter((half) => (half & 0x7c00) !== 0x7c00);
    const wide = fromFloat16(all);
    expect(Uint16Array.from(wide, toFloat16)).toEqual(all);
  });

  test('rounds to the nearest, ties to even, and overflows to infinity', () => {
    expect(toFloat16(1 + 2 ** -11)).toBe(toFloat16(1));
    expect(toFloat16(1 + 3 * 2 ** -11)).toBe(toFloat16(1 + 2 ** -9));
    expect(toFloat16(65_520)).toBe(0x7c00);
    expect(toFloat16(-1e9)).toBe(0xfc00);
    expect(toFloat16(Number.NaN) & 0x7fff).toBe(0x7e00);
    expect(toFloat16(2 ** -26)).toBe(0);
  });
});
