import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { loadValueCodec } from '../../../src/remote/internal.js';
import { BadInputError, registerErrorClass, RemoteError } from '../../../src/worker/index.js';

const codec = await loadValueCodec();

function roundTrip(value: unknown): unknown {
  return codec.decode(codec.encode(value));
}

const buffer = new ArrayBuffer(24);
new Uint8Array(buffer).set([0, 1, 2, 127, 128, 255, 7, 8, 9]);

describe('ValueCodec', () => {
  test.each<[string, unknown]>([
    ['undefined', undefined],
    ['null', null],
    ['-0', -0],
    ['NaN', Number.NaN],
    ['Infinity', -Infinity],
    ['the largest safe integer', Number.MAX_SAFE_INTEGER],
    ['a number above it', 2 ** 60],
    ['a negative integer', -(2 ** 40)],
    ['a fraction', 0.1],
    ['a BigInt', -123456789012345678901234567890n],
    ['an empty text', ''],
    ['a text', 'ümlaut \u{1f600} \u0000'],
    ['a long text', 'x'.repeat(70_000)],
    ['an array with undefined', [1, null, undefined, [undefined]]],
    ['an object', { a: { b: undefined, c: [{}] }, '': 1 }],
    ['a Date', new Date(-123.5 * 86_400_000)],
    ['an invalid Date', new Date(Number.NaN)],
    ['a RegExp', /a+b/giu],
    [
      'a Map',
      new Map<unknown, unknown>([
        ['a', new Date(0)],
        [{ k: 1 }, undefined],
        [undefined, new Map()],
      ]),
    ],
    ['a Set', new Set([1, undefined, new Set(['x']), -0.5])],
    ['an ArrayBuffer', buffer],
    ['a DataView', new DataView(buffer, 3, 5)],
    ['a Uint8Array', new Uint8Array(buffer, 2, 7)],
    ['an empty Uint8Array', new Uint8Array(0)],
    ['a large Uint8Array', new Uint8Array(100_000).fill(3)],
    ['a Float32Array', new Float32Array([1, -2.5, Number.NaN])],
    ['a Float64Array in a list', [new Float64Array([Math.PI]), new Float64Array(0)]],
    ['a BigInt64Array', new BigInt64Array([-1n, 2n ** 62n])],
    ['others', { a: new Int8Array(buffer), b: new Uint8ClampedArray(buffer), c: new Uint16Array(buffer, 2, 3) }],
    ['more', [new Int16Array(buffer), new Int32Array(buffer), new Uint32Array(buffer), new BigUint64Array(buffer)]],
  ])('encode() and decode() carry %s', (_name, value) => {
    expect(roundTrip(value)).toStrictEqual(value);
    expect(roundTrip({ inside: [value] })).toStrictEqual({ inside: [value] });
  });

  test('decode() gives typed arrays and small byte arrays memory of their own', () => {
    const bytes = codec.encode([new Uint8Array([1, 2, 3]), new Float32Array([1]), { deep: new Uint8Array([9]) }]);
    const [small, floats, { deep }] = codec.decode(bytes) as [Uint8Array, Float32Array, { deep: Uint8Array }];
    expect([small.buffer.byteLength, floats.buffer.byteLength, deep.buffer.byteLength]).toEqual([3, 4, 1]);
    bytes.fill(0);
    expect([small, floats, deep]).toEqual([new Uint8Array([1, 2, 3]), new Float32Array([1]), new Uint8Array([9])]);
  });

  test('encode() leaves the value as it was', () => {
    const value = { a: undefined, list: [1, undefined, -0] };
    codec.encode(value);
    expect(value).toStrictEqual({ a: undefined, list: [1, undefined, -0] });
  });

  test('encode() sends instances of classes and boxed values as data, as structured clone does', () => {
    class Point {
      x = 1;
      readonly #y = 2;
      get y(): number {
        return this.#y;
      }
    }
    expect(roundTrip([new Point(), Object('boxed'), Buffer.from('abc')])).toStrictEqual([
      { x: 1 },
      'boxed',
      new Uint8Array([97, 98, 99]),
    ]);
  });

  test('encode() carries errors: class, message, code, cause and properties, but no stack', () => {
    const cause = new RangeError('the cause');
    const error = Object.assign(new BadInputError('no good', { cause }), { width: -1 });
    const read = roundTrip({ error }) as { error: BadInputError & { width: number } };
    expect(read.error).toBeInstanceOf(BadInputError);
    expect(read.error).toMatchObject({ message: 'no good', code: 'ERR_BAD_INPUT', fault: 'caller', width: -1 });
    expect(read.error.cause).toBeInstanceOf(RangeError);
    expect(read.error.stack).not.toContain('.ts');
    expect(read.error.stack).toContain('no good');
  });

  test('encode() caps what an error carries, and keeps its code', () => {
    const error = Object.assign(new Error('m'.repeat(20_000)), { big: 'x'.repeat(5_000), code: 'E_CODE', small: 1 });
    const read = roundTrip(error) as typeof error;
    expect(read).toMatchObject({ code: 'E_CODE', small: 1 });
    expect(read.big).toBeUndefined();
    expect(read.message.length).toBeLessThan(8_300);
  });

  test('decode() makes no error of a class that is not registered', () => {
    class OfThatMachine extends Error {}
    expect(roundTrip(new OfThatMachine('x'))).not.toBeInstanceOf(OfThatMachine);
    registerErrorClass(OfThatMachine);
    expect(roundTrip(new OfThatMachine('x'))).toBeInstanceOf(OfThatMachine);
    expect(RemoteError.prototype).toBeInstanceOf(Error);
  });

  const ring: { self?: unknown } = {};
  ring.self = ring;
  let deep: unknown = 1;
  for (let level = 0; level < 100; level += 1) deep = [deep];
  test.each<[string, unknown]>([
    ['a function', () => {}],
    ['a symbol', { a: Symbol('x') }],
    ['a promise', Promise.resolve()],
    ['a blob', new Blob(['x'])],
    ['a stream', new ReadableStream()],
    ['shared memory', new Uint8Array(new SharedArrayBuffer(4))],
    ['an object that holds itself', ring],
    ['what nests too deeply', deep],
    ['an array of holes', new Array(100_000_000)],
    ['too long a BigInt', 10n ** 5_000n],
    ['a property that would change a prototype', JSON.parse('{"__proto__": {"a": 1}}')],
  ])('encode() refuses %s', (_name, value) => {
    expect(() => codec.encode(value)).toThrow(expect.objectContaining({ name: 'DataCloneError', fault: 'caller' }));
    expect(roundTrip('still works')).toBe('still works');
  });

  test('encode() writes nothing that decode() refuses', () => {
    const value = fc.anything({ withBigInt: true, withDate: true, withMap: true, withSet: true, withTypedArray: true });
    fc.assert(
      fc.property(value, (each) => {
        let bytes: Uint8Array;
        try {
          bytes = codec.encode(each);
        } catch (error) {
          expect(error).toMatchObject({ name: 'DataCloneError' });
          return;
        }
        expect(codec.encode(codec.decode(bytes))).toEqual(bytes);
      }),
      { numRuns: 500 },
    );
  });

  test('decode() answers bytes of any kind with a value or a RemoteProtocolError', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        try {
          codec.decode(bytes);
        } catch (error) {
          expect(error).toMatchObject({ code: 'ERR_REMOTE_PROTOCOL' });
        }
      }),
      { numRuns: 2_000 },
    );
  });

  test.each<[string, number[]]>([
    ['a list that says it has 4 billion items', [0xdd, 0xff, 0xff, 0xff, 0xff]],
    ['a map that says so', [0xdf, 0xff, 0xff, 0xff, 0xff, 0xc0]],
    ['a text that is cut off', [0xdb, 0xff, 0xff, 0xff, 0xff, 0x61]],
    ['65 levels', [...new Array(66).fill(0x91), 0xc0]],
    ['levels inside of extensions', [0xc7, 2, 3, 0x91, 0xc1]],
    ['an extension that goes on beyond its end', [0xd5, 3, 0xc0, 0xc0]],
    ['a prototype', [0x81, 0xa9, ...Buffer.from('__proto__'), 0xc0]],
    ['an error that is none', [0xd4, 5, 0x80]],
    ['a typed array of one and a half elements', [0xc7, 6, 22, 1, 2, 3, 4, 5, 6]],
    ['an unknown extension', [0xd4, 99, 0]],
    ['two values', [0xc0, 0xc0]],
    ['nothing', []],
  ])('decode() refuses %s', (_name, bytes) => {
    expect(() => codec.decode(Uint8Array.from(bytes))).toThrow(
      expect.objectContaining({ code: 'ERR_REMOTE_PROTOCOL' }),
    );
  });

  test('decode() refuses a message of a million tiny objects before it makes one', () => {
    const bytes = new Uint8Array(2_000_005).fill(0x80);
    bytes.set([0xdd, 0x00, 0x1e, 0x84, 0x80]);
    expect(() => codec.decode(bytes)).toThrow(/more than 1000000 values/);
  });
});
