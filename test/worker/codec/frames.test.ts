import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeFrame, FrameReader } from '../../../src/worker/codec/frames.js';
import { makeEmptyModule } from '../empty-module.js';

/** What comes out of a reader that is given some bytes in pieces. */
function read(pieces: readonly Buffer[]): { values: unknown[]; unreadable: number } {
  const result = { values: [] as unknown[], unreadable: 0 };
  const reader = new FrameReader(
    (value) => void result.values.push(value),
    () => void result.unreadable++,
  );
  for (const piece of pieces) reader.push(piece);
  return result;
}

function bytesOf(values: readonly unknown[]): Buffer {
  return Buffer.concat(values.flatMap((value) => encodeFrame(value)));
}

/** The bytes in pieces of the given sizes, round and round. */
function cut(bytes: Buffer, sizes: readonly number[]): Buffer[] {
  const pieces: Buffer[] = [];
  for (let at = 0, turn = 0; at < bytes.length; turn++) {
    const end = Math.min(bytes.length, at + (sizes[turn % sizes.length] as number));
    // A copy, as a socket's memory is filled again with what comes next.
    pieces.push(Buffer.from(bytes.subarray(at, end)));
    at = end;
  }
  return pieces;
}

const emptyModule = makeEmptyModule();

describe('FrameReader', () => {
  test('FrameReader.push() gives back what encodeFrame() was given, however the bytes are cut', () => {
    const large = Float32Array.from({ length: 5_000 }, (_, n) => n / 3);
    const values = [
      7,
      undefined,
      'text',
      { a: [1, { b: null }], when: new Date(3), map: new Map([[1, new Set(['x'])]]) },
      large,
      { one: large, two: Buffer.alloc(20_000, 9), small: new Uint16Array([1, 2, 3]) },
      [],
    ];
    const bytes = bytesOf(values);
    for (const sizes of [[1], [2, 3, 5], [7], [8], [9], [4_096], [65_536], [bytes.length]]) {
      expect(read(cut(bytes, sizes))).toEqual({ values, unreadable: 0 });
    }
  });

  test('FrameReader.push() finds its way in any data and any pieces', () => {
    const view = fc.oneof(
      fc.uint8Array({ maxLength: 40 }),
      fc.float64Array({ maxLength: 10 }),
      fc.integer({ min: 16_380, max: 16_390 }).map((size) => new Uint8Array(size).fill(size)),
    );
    const value = fc.oneof(
      fc.anything({ withBigInt: true, withDate: true, withMap: true, withSet: true }),
      view,
      fc.array(view),
    );
    fc.assert(
      fc.property(
        fc.array(value, { maxLength: 4 }),
        fc.array(fc.integer({ min: 20, max: 20_000 }), { minLength: 1, maxLength: 5 }),
        (values, sizes) => {
          const copies = values.map((each) => structuredClone(each));
          // Faster than an assertion, which looks at large views one number at a time.
          expect(isDeepStrictEqual(read(cut(bytesOf(values), sizes)).values, copies)).toBe(true);
        },
      ),
      { numRuns: 100 },
    );
  });

  test('FrameReader.push() gives every view its class and memory of its own', () => {
    const memory = Uint8Array.from({ length: 32 }, (_, n) => n).buffer;
    const views = [
      new Int8Array(memory, 8, 8),
      new Uint8Array(memory, 3, 5),
      new Uint8ClampedArray(memory, 1, 2),
      new Int16Array(memory, 2, 4),
      new Uint16Array(memory, 2, 4),
      new Int32Array(memory, 4, 4),
      new Uint32Array(memory, 4, 4),
      new Float32Array(memory, 4, 4),
      new Float64Array(memory, 8, 2),
      new BigInt64Array(memory, 8, 2),
      new BigUint64Array(memory, 8, 2),
      new DataView(memory, 5, 6),
      Buffer.from(memory, 2, 7),
      new Float64Array(0),
      new Float32Array(4_096),
    ];
    const [copies] = read([bytesOf([views])]).values as [ArrayBufferView[]];
    expect(copies).toEqual(views);
    for (const [index, copy] of copies.entries()) {
      expect(copy.constructor).toBe(views[index]?.constructor);
      expect([copy.byteOffset, copy.buffer.byteLength]).toEqual([0, views[index]?.byteLength]);
    }
  });

  test('FrameReader.received() resolves once a frame that has come in part is delivered', async () => {
    const values: unknown[] = [];
    const reader = new FrameReader(
      (value) => values.push(value),
      () => {},
    );
    const frame = Buffer.concat(encodeFrame({ image: new Uint8Array(100_000) }));
    expect(reader.received()).toBeUndefined();
    for (const end of [4, 20, 60_000]) {
      reader.push(frame.subarray(0, end));
      const received = reader.received();
      expect(received).toBeInstanceOf(Promise);
      reader.push(frame.subarray(end));
      await received;
      expect(reader.received()).toBeUndefined();
    }
    expect(values).toHaveLength(3);
  });

  test('FrameReader.received() resolves when the rest of a frame never comes', async () => {
    for (const stop of [
      (reader: FrameReader) => reader.end(),
      (reader: FrameReader) => void reader.push(Buffer.alloc(99)),
    ]) {
      const reader = new FrameReader(
        () => {},
        () => {},
      );
      reader.push(Buffer.concat(encodeFrame('millrace')).subarray(0, 5));
      const received = reader.received();
      stop(reader);
      await received;
      expect(reader.received()).toBeUndefined();
    }
  });

  test('FrameReader.push() counts an array of a class of its own as what it extends', () => {
    class Vector extends Float32Array {}
    const [copy] = read([bytesOf([Vector.of(1, 2)])]).values as [Float32Array];
    expect(copy.constructor).toBe(Float32Array);
    expect([...copy]).toEqual([1, 2]);
  });

  test('FrameReader.push() passes over a frame that can not be read, and reads those around it', () => {
    // V8 writes nothing for a module, and does not say so.
    const bytes = bytesOf([1, { module: emptyModule, more: new Float32Array(9_000) }, 2, emptyModule, 3]);
    for (const sizes of [[1], [100], [bytes.length]]) {
      expect(read(cut(bytes, sizes))).toEqual({ values: [1, 2, 3], unreadable: 2 });
    }
  });

  test.each([
    ['text', Buffer.from('warning: somebody prints here')],
    ['a frame of another kind', Buffer.alloc(64, 1)],
    ['too many segments', Buffer.from('016d726c00000000ffffffff', 'hex')],
    ['more bytes than there can be', Buffer.from('016d726cffffffff00000000', 'hex')],
  ])('FrameReader.push() says that nothing can be read any more when it meets %s', (_, garbage) => {
    for (const size of [1, 5, 1_000]) {
      const values: unknown[] = [];
      const reader = new FrameReader(
        (value) => values.push(value),
        () => expect.unreachable(),
      );
      const results = cut(Buffer.concat([bytesOf([1]), garbage, bytesOf([2])]), [size]).map((piece) =>
        reader.push(piece),
      );
      expect(values).toEqual([1]);
      // What is merely long is waited for.
      expect(results.at(-1)).toBe(garbage.readUInt32LE(4) === 0xffff_ffff && garbage.readUInt32LE(8) === 0);
    }
  });

  test('FrameReader.push() goes on after a receiver that throws, whose error is nobody else’s', async () => {
    const seen: unknown[] = [];
    const thrown = new Promise((resolve) => {
      const listeners = process.listeners('uncaughtException');
      process.removeAllListeners('uncaughtException');
      process.once('uncaughtException', (error) => {
        for (const each of listeners) process.on('uncaughtException', each);
        resolve(error);
      });
    });
    const reader = new FrameReader(
      (value) => {
        seen.push(value);
        if (value === 1) throw new RangeError('not mine');
      },
      () => {},
    );
    reader.push(bytesOf([1, 2]));
    expect(seen).toEqual([1, 2]);
    expect(await thrown).toBeInstanceOf(RangeError);
  });
});

describe('encodeFrame()', () => {
  test('encodeFrame() takes the bytes of a view as they are at the time', () => {
    const view = new Uint8Array(20_000).fill(1);
    const pieces = encodeFrame(view);
    view.fill(2);
    expect(read([Buffer.concat(pieces)]).values).toEqual([new Uint8Array(20_000).fill(1)]);
  });

  test.each([
    ['a function', () => {}],
    ['a symbol', Symbol('s')],
    ['shared memory', new SharedArrayBuffer(8)],
    ['a port', new MessageChannel().port1],
    ['a promise', Promise.resolve()],
  ])('encodeFrame() refuses %s by a DataCloneError', (_, value) => {
    for (const each of [value, { nested: [value] }]) {
      expect(() => encodeFrame(each)).toThrow(expect.objectContaining({ name: 'DataCloneError' }));
    }
  });
});
