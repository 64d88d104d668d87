import { deserialize, serialize } from 'node:v8';
import { describe, expect, test } from 'vitest';
import { isMillraceError, MillraceError } from '../../../src/core/index.js';
import { decodeError, type EncodedError, encodeError } from '../../../src/worker/codec/error-codec.js';
import { registerErrorClass } from '../../../src/worker/codec/error-registry.js';
import { DeadlineExceededError, WorkerCrashedError } from '../../../src/worker/index.js';

/** What a child process's serialisation does to it. */
function cross(error: unknown): unknown {
  return decodeError(deserialize(serialize(encodeError(error))) as EncodedError);
}

describe('the error codec', () => {
  test('keeps class, message, stack, cause and properties of a built-in error', () => {
    const error = Object.assign(new TypeError('no', { cause: new RangeError('why') }), { code: 'ERR_NO', size: 3 });
    const copy = cross(error) as TypeError & { code: string; size: number };
    expect(copy).toBeInstanceOf(TypeError);
    expect(copy).toMatchObject({ message: 'no', code: 'ERR_NO', size: 3 });
    expect(copy.stack).toBe(error.stack);
    expect(copy.cause).toBeInstanceOf(RangeError);
    expect(Object.keys(copy)).toEqual(['code', 'size']);
  });

  test('keeps a Millrace error what it is', () => {
    const copy = cross(new WorkerCrashedError('gone', { exitCode: 3, stderr: 'bye', cause: new Error('x') }));
    expect(copy).toBeInstanceOf(WorkerCrashedError);
    expect(isMillraceError(copy, 'ERR_WORKER_CRASHED')).toBe(true);
    expect(copy).toMatchObject({ exitCode: 3, signal: null, stderr: 'bye', fault: 'model' });
    expect(cross(new DeadlineExceededError('late', 5))).toBeInstanceOf(DeadlineExceededError);
  });

  test('gives an error of an unknown class its nearest known ancestor', () => {
    class PaperJamError extends RangeError {
      readonly tray = 2;
    }
    const error = new PaperJamError('jam');
    error.name = 'PaperJamError';
    expect(cross(error)).toBeInstanceOf(RangeError);
    expect(cross(error)).toMatchObject({ name: 'PaperJamError', tray: 2 });
    registerErrorClass(PaperJamError);
    expect(cross(error)).toBeInstanceOf(PaperJamError);
  });

  test('keeps a Millrace error of an unknown class a Millrace error with its code', () => {
    class FarError extends MillraceError {
      readonly code = 'ERR_FAR';
    }
    const copy = cross(new FarError('far'));
    expect(isMillraceError(copy, 'ERR_FAR' as never)).toBe(true);
    expect(copy).toMatchObject({ name: 'FarError', message: 'far' });
  });

  test('keeps abort reasons, aggregates and what is no error', () => {
    const abort = cross(new DOMException('stop', 'AbortError')) as DOMException;
    expect(abort).toBeInstanceOf(DOMException);
    expect(abort.name).toBe('AbortError');
    const aggregate = cross(new AggregateError([new TypeError('a'), 'b'], 'all')) as AggregateError;
    expect(aggregate.errors[0]).toBeInstanceOf(TypeError);
    expect(aggregate.errors[1]).toBe('b');
    for (const value of ['text', 7, null, undefined, { a: 1 }]) expect(cross(value)).toEqual(value);
  });

  test('survives what cannot be cloned, rings of causes and getters that throw', () => {
    const error = Object.assign(new Error('odd'), { fn: () => 1, when: new Date(0) });
    error.cause = error;
    Object.defineProperty(error, 'bad', {
      enumerable: true,
      get: () => {
        throw new Error('no');
      },
    });
    const copy = cross(error) as Error & { when: Date };
    expect(copy.message).toBe('odd');
    expect(copy.when).toEqual(new Date(0));
    expect(cross(() => 1)).toBeTypeOf('string');
  });

  test('keeps code and fault wherever a class has them, and errors that an error holds', () => {
    class Judged extends Error {
      get fault() {
        return 'caller';
      }
      get code() {
        return 'ERR_JUDGED';
      }
    }
    expect(cross(new Judged('no'))).toMatchObject({ code: 'ERR_JUDGED', fault: 'caller' });
    const hidden = Object.defineProperty(new Error('no'), 'fault', { value: 'caller' });
    expect(cross(hidden)).toMatchObject({ fault: 'caller' });
    const exception = Object.assign(new DOMException('no', 'DataError'), {
      fault: 'caller',
      cause: new TypeError('why'),
    });
    expect(cross(exception)).toMatchObject({ name: 'DataError', fault: 'caller', cause: { message: 'why' } });
    const holding = Object.assign(new Error('all'), {
      original: new RangeError('one'),
      errors: [new TypeError('two'), 3],
    });
    const copy = cross(holding) as typeof holding;
    expect(copy.original).toBeInstanceOf(RangeError);
    expect(copy.errors).toEqual([new TypeError('two'), 3]);
    const ring = Object.assign(new Error('ring'), { self: undefined as unknown, again: undefined as unknown });
    ring.self = ring;
    ring.again = ring;
    expect(cross(ring)).toMatchObject({ message: 'ring', self: { message: 'ring' } });
  });
});
