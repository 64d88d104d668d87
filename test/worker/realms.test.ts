/** What comes from another realm, as from a `vm` context, an iframe or a test runner, is what it is. */
import { runInNewContext } from 'node:vm';
import { afterEach, describe, expect, test } from 'vitest';
import { byteSizeOf } from '../../src/worker/codec/payload.js';
import { findTransferable } from '../../src/worker/codec/payload.js';
import { operation, registerErrorClass, spawnWorker, type WorkerHandle } from '../../src/worker/index.js';

const elsewhere = <T>(code: string, globals: object = {}): T => runInNewContext(code, { ...globals }) as T;

const operations = {
  fail: operation<string, never>(),
  sum: operation<unknown, number>({ capacity: { items: 8, bytes: 1_000_000 } }),
  keys: operation<unknown, string[]>({ capacity: { items: 8, bytes: 1_000_000 } }),
  later: operation<number, number>(),
};

const open: WorkerHandle<typeof operations>[] = [];

afterEach(async () => {
  await Promise.all(open.splice(0).map((worker) => worker.close()));
});

describe.each(['inline', 'thread', 'process'] as const)('A worker in the %s host', (host) => {
  const spawn = () => {
    const worker = spawnWorker({ operations, host, module: new URL('./fixtures/realms-model.mjs', import.meta.url) });
    open.push(worker);
    return worker;
  };

  test('answers with errors of another realm as errors, with code and cause', async () => {
    const worker = spawn();
    const code = `Object.assign(new RangeError('far', { cause: new TypeError('off') }), { code: 'E_FAR' })`;
    const error = (await worker.call('fail', code).catch((reason: unknown) => reason)) as Error & { code?: string };
    expect({ name: error.name, message: error.message, code: error.code }).toEqual({
      name: 'RangeError',
      message: 'far',
      code: 'E_FAR',
    });
    expect(error.cause).toMatchObject({ name: 'TypeError', message: 'off' });
    const exception = await worker.call('fail', `new DOMException('enough', 'AbortError')`).catch((reason) => reason);
    expect(exception).toMatchObject({ name: 'AbortError', message: 'enough' });
  });

  test('takes bytes, buffers and collections of another realm', async () => {
    const worker = spawn();
    for (const code of [
      'Uint8Array.of(1, 2, 3)',
      'Uint8Array.of(1, 2, 3).buffer',
      'new DataView(Uint8Array.of(1, 2, 3).buffer)',
      'new Uint8Array(Uint8Array.of(9, 1, 2, 3, 9).buffer, 1, 3)',
    ]) {
      expect(await worker.call('sum', elsewhere(code))).toBe(6);
    }
    expect(await worker.call('keys', elsewhere('({ a: 1, b: { c: 2 } })'))).toEqual(['a', 'b']);
    expect(await worker.call('later', 7)).toBe(7);
  });

  test('is started by a URL of another realm, and takes a signal of one', async () => {
    const { href, protocol } = new URL('./fixtures/realms-model.mjs', import.meta.url);
    const module = elsewhere<URL>('({ href, protocol, toString() { return href; } })', { href, protocol });
    const worker = spawnWorker({ operations, host, module });
    open.push(worker);
    const options = elsewhere<{ timeoutMs: number }>('({ timeoutMs: 20_000 })');
    expect(await worker.call('later', 7, options)).toBe(7);
  });
});

describe('byteSizeOf()', () => {
  test.each([
    ['new Uint8Array(1_000)', 1_000],
    ['new ArrayBuffer(1_000)', 1_000],
    ['new SharedArrayBuffer(1_000)', 1_000],
    ['new Map([["a", new Uint8Array(1_000)]])', 1_000],
    ['new Set([new ArrayBuffer(1_000)])', 1_000],
    ['[new ArrayBuffer(500), { deep: new ArrayBuffer(500) }]', 1_000],
  ])('counts %s of another realm', (code, least) => {
    const size = byteSizeOf(elsewhere(code));
    expect(size).toBeGreaterThanOrEqual(least);
    expect(size).toBeLessThan(least + 200);
  });
});

test('findTransferable() finds buffers of another realm', () => {
  expect(findTransferable(elsewhere('new ArrayBuffer(100_000)'))).toHaveLength(1);
  expect(findTransferable(elsewhere('new Uint8Array(100_000)'))).toHaveLength(1);
  expect(findTransferable(elsewhere('new Uint8Array(new SharedArrayBuffer(100_000))'))).toBeUndefined();
});

test('registerErrorClass() takes classes that are made after the Error of another realm, and nothing else', () => {
  registerErrorClass(elsewhere('(class FarError extends Error {})'));
  registerErrorClass(elsewhere('(class FurtherError extends TypeError {})'));
  for (const value of [class Nothing {}, elsewhere('(class Nothing {})'), {}, null, 'Error', () => {}]) {
    expect(() => registerErrorClass(value as never)).toThrow(TypeError);
  }
});
