import { expect, expectTypeOf, test } from 'vitest';
import { byteSizeOf } from '../../src/worker/codec/payload.js';
import {
  createWorkerChannels,
  type InputOf,
  type ModelOf,
  type OutputOf,
  operation,
  type ReplyStream,
} from '../../src/worker/index.js';

test('operation() fills in what is not given', () => {
  const declared = operation<string, number>();
  expect(declared).toMatchObject({
    kind: 'unary',
    idempotent: false,
    capacity: { items: 64, bytes: Number.POSITIVE_INFINITY },
  });
  expect(Object.isFrozen(declared)).toBe(true);
  expect(operation({ capacity: 3 }).capacity.items).toBe(3);
  expect(operation({ capacity: { items: 3, bytes: 10 } }).capacity).toEqual({ items: 3, bytes: 10 });
  expect(operation({ capacity: { bytes: 10 } }).capacity).toEqual({ items: 64, bytes: 10 });
  expect(operation.stream()).toMatchObject({ kind: 'stream', chunkCapacity: 16 });
});

test('operation() refuses options that make no sense', () => {
  expect(() => operation({ capacity: 0 })).toThrow(RangeError);
  expect(() => operation({ capacity: '4' as unknown as number })).toThrow(TypeError);
  expect(() => operation({ capacity: { items: 1, bytes: -1 } })).toThrow(RangeError);
  expect(() => operation({ idempotent: 1 as unknown as boolean })).toThrow(TypeError);
  expect(() => operation({ waitsForOthers: true as never })).toThrow(/waitsForOthers must be a function/);
  expect(() => operation({ size: 1 } as object)).toThrow(/unknown option 'size'/);
  expect(() => operation({ chunkCapacity: 1 } as object)).toThrow(/unknown option/);
  expect(() => operation.stream({ chunkCapacity: 0 })).toThrow(RangeError);
  expect(() => operation({ capacity: 2 ** 30 })).toThrow(/must be a positive integer up to 1073741823/);
  expect(() => operation.stream({ chunkCapacity: 2 ** 30 })).toThrow(/must be a positive integer up to 1073741823/);
});

test('createWorkerChannels() refuses operations that no model can have', () => {
  const work = operation<number, number>();
  expect(() => createWorkerChannels({})).toThrow(TypeError);
  expect(() => createWorkerChannels({ dispose: work })).toThrow(/can't be named 'dispose'/);
  expect(() => createWorkerChannels({ 1: work })).toThrow(/can't be named '1'/);
  expect(() => createWorkerChannels({ work: {} } as never)).toThrow(/must be made by operation/);
  expect(() => createWorkerChannels({ work }, { name: 'w' } as object)).toThrow(/unknown option 'name'/);
  expect(() => createWorkerChannels({ work }, { clock: {} as never })).toThrow(/clock.now must be a function/);
});

test('byteSizeOf() looks into maps and sets', () => {
  const text = 'x'.repeat(1_000);
  expect(byteSizeOf(new Map([[text, { text }]]))).toBeGreaterThanOrEqual(4_000);
  expect(byteSizeOf(new Set([text, new Uint8Array(500)]))).toBeGreaterThanOrEqual(2_500);
});

test('byteSizeOf() counts buffers, typed arrays and strings', () => {
  expect(byteSizeOf(new Float32Array(100))).toBe(400);
  expect(byteSizeOf(new Uint8Array(100).subarray(10, 20))).toBe(10);
  expect(byteSizeOf('abcd')).toBe(8);
  expect(byteSizeOf(new ArrayBuffer(12))).toBe(12);
  expect(byteSizeOf({ image: new Uint8Array(1_000), name: 'x' })).toBeGreaterThan(1_000);
  expect(byteSizeOf([new Uint8Array(500), new Uint8Array(500)])).toBeGreaterThan(1_000);
  const loop: { self?: unknown } = {};
  loop.self = loop;
  expect(byteSizeOf(loop)).toBeLessThan(200);
});

test('types flow from the operations to the model and the handle', () => {
  const operations = {
    embed: operation<string, Float32Array>(),
    describe: operation.stream<{ image: string }, string>(),
  };
  expectTypeOf<InputOf<(typeof operations)['embed']>>().toEqualTypeOf<string>();
  expectTypeOf<OutputOf<(typeof operations)['embed']>>().toEqualTypeOf<Float32Array>();
  expectTypeOf<InputOf<(typeof operations)['describe']>>().toEqualTypeOf<{ image: string }>();
  type Model = ModelOf<typeof operations>;
  expectTypeOf<ReturnType<Model['describe']>>().toEqualTypeOf<AsyncIterable<string>>();
  expectTypeOf<ReturnType<Model['embed']>>().toEqualTypeOf<Promise<Float32Array> | Float32Array>();
  const { handle } = createWorkerChannels(operations);
  const types = () => {
    expectTypeOf(handle.call('embed', 'a.png')).toEqualTypeOf<Promise<Float32Array>>();
    expectTypeOf(handle.call('describe', { image: 'a' })).toEqualTypeOf<ReplyStream<string>>();
    expectTypeOf(handle.senders.embed.call('a')).toEqualTypeOf<Promise<Float32Array>>();
    // @ts-expect-error the input must be a string
    void handle.call('embed', 1);
    // @ts-expect-error there is no such operation
    void handle.call('paint', 'a');
  };
  expect(types).toBeTypeOf('function');
});

test('byteSizeOf() does not walk the holes of a sparse array, and counts what is there', () => {
  const sparse = Object.assign([] as unknown[], { length: 100_000_000 });
  sparse[50_000_000] = 'x'.repeat(1_000);
  sparse[99_999_999] = new Uint8Array(500);
  const before = performance.now();
  expect(byteSizeOf([sparse, sparse])).toBeGreaterThanOrEqual(5_000);
  expect(byteSizeOf(sparse)).toBeLessThan(3_000);
  // The walk took seconds.
  expect(performance.now() - before).toBeLessThan(1_000);
  // One that is full, or full of undefined, counts each.
  expect(byteSizeOf(new Array(20_000).fill(undefined))).toBeGreaterThanOrEqual(160_000);
  const holed = Array.from({ length: 60_000 }, (_, index) => index);
  for (let index = 0; index < 40_000; index += 1) delete holed[index];
  expect(byteSizeOf(holed)).toBe(16 + 20_000 * 8);
});
