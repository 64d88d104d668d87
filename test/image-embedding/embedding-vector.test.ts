import { describe, expect, test } from 'vitest';
import { normalizeInPlace, similarity } from '../../src/image-embedding/embedding-vector.js';

describe('similarity()', () => {
  test('is the cosine, whatever the lengths of the vectors', () => {
    expect(similarity([1, 0], [5, 0])).toBe(1);
    expect(similarity([1, 0], [0, 3])).toBe(0);
    expect(similarity([1, 1], [-2, -2])).toBeCloseTo(-1, 12);
    expect(similarity(Float32Array.of(1, 2, 3), Float32Array.of(4, 5, 6))).toBeCloseTo(0.974632, 6);
    expect(similarity([0, 0], [1, 0])).toBe(0);
  });

  test('refuses what can not be compared', () => {
    expect(() => similarity([1], [1, 2])).toThrow(RangeError);
    expect(() => similarity(1 as never, [1])).toThrow(TypeError);
  });
});

describe('normalizeInPlace()', () => {
  test('scales to length 1, and leaves zeros alone', () => {
    expect([...normalizeInPlace(Float32Array.of(3, 4))]).toEqual([Math.fround(0.6), Math.fround(0.8)]);
    expect([...normalizeInPlace(Float32Array.of(0, 0))]).toEqual([0, 0]);
  });
});
