import { expect, test } from 'vitest';
import { requireOneOf, requireOptions, requirePositiveInteger } from '../../src/core/index.js';

test('requirePositiveInteger() says the action, what was expected and what came', () => {
  const check = (value: unknown) => () => requirePositiveInteger('Cannot create channel', 'capacity', value);
  expect(check(0)).toThrow(new RangeError('Cannot create channel: capacity must be a positive integer, received 0'));
  for (const bad of [-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]) expect(check(bad)).toThrow(RangeError);
  for (const bad of ['1', null, undefined, {}, [], 1n, () => 1]) expect(check(bad)).toThrow(TypeError);
  expect(check(7)()).toBe(7);
});

test('requireOptions() refuses unknown keys and non-objects', () => {
  expect(() => requireOptions('Cannot wait', { signall: 1 } as object, ['signal' as never])).toThrow(
    new TypeError("Cannot wait: unknown option 'signall', known are signal"),
  );
  expect(() => requireOptions('Cannot wait', null as unknown as object, [])).toThrow(TypeError);
  expect(requireOptions('Cannot wait', undefined, [])).toEqual({});
});

test('requireOneOf() lists what is allowed', () => {
  expect(() => requireOneOf('Cannot open', 'mode', 'x', ['a', 'b'])).toThrow(
    new RangeError("Cannot open: mode must be one of 'a', 'b', received 'x'"),
  );
});
