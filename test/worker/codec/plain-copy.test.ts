import { expect, test } from 'vitest';
import { plainCopy } from '../../../src/worker/codec/payload.js';
import { makeEmptyModule } from '../empty-module.js';

function nested(levels: number): unknown {
  let value: unknown = 1;
  for (let level = 0; level < levels; level++) value = { value };
  return value;
}

test('plainCopy() copies data', () => {
  const value = { list: [1, 'two', new Date(3)], map: new Map([[{ a: 1 }, new Set([2])]]), bytes: new Uint8Array([1]) };
  const copy = plainCopy(value);
  expect(copy).toEqual(value);
  expect(copy).not.toBe(value);
  const ring: { self?: unknown } = {};
  ring.self = ring;
  expect(plainCopy(ring)).toEqual(ring);
});

test('plainCopy() describes what can not cross to every host', () => {
  const module = makeEmptyModule();
  for (const value of [() => 1, Symbol('s'), new SharedArrayBuffer(8), module, { module }, Promise.resolve()]) {
    expect(plainCopy(value)).toBeTypeOf('string');
  }
  for (const levels of [17, 1_000, 100_000]) expect(plainCopy(nested(levels))).toBeTypeOf('string');
  expect(plainCopy(nested(16))).toEqual(nested(16));
  expect(plainCopy(new Map([[1, nested(16)]]))).toBeTypeOf('string');
});

test('plainCopy() never throws', () => {
  const fail = (): never => {
    throw new Error('trap');
  };
  const bare = Object.create(null, { bad: { get: fail, enumerable: true } });
  expect(plainCopy(bare)).toBeUndefined();
  expect(plainCopy(new Proxy({}, { get: fail, ownKeys: fail }))).toBeUndefined();
});
