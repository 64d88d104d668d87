/** Names that every object has, wherever a user may choose one. */
import { describe, expect, test, vi } from 'vitest';
import { mpsc, select } from '../../../src/channels/index.js';
import { createPool, type ModelOptions } from '../../../src/pool/index.js';
import { type Operations, operation, registerErrorClass, spawnWorker } from '../../../src/worker/index.js';

// On a machine that has other things to do, a process takes seconds to start.
vi.setConfig({ testTimeout: 120_000 });

const everyObjectHas = Object.getOwnPropertyNames(Object.prototype);
const ofFunctions = ['call', 'apply', 'bind', 'name', 'length', 'prototype'];
const ofLoops = ['#kill', '#shutdown', '#down', '#ping', '#slot', 'shutdown', 'slot', 'idle', 'operation echo'];
const names = [...everyObjectHas, ...ofFunctions, ...ofLoops];
/** Refused by name, since a model or a promise has a use of its own for them. */
const reserved = ['constructor', '__proto__', 'then'];
const operationNames = names.filter((name) => !reserved.includes(name));

const operationsOf = (some: readonly string[]): Operations =>
  Object.fromEntries(some.map((name) => [name, operation<string, string>({ idempotent: true })]));

const module = new URL('../fixtures/named-model.mjs', import.meta.url);

describe.each(['inline', 'thread', 'process'] as const)('in the host %s', (host) => {
  test('an operation answers with its own method, whatever its name, and two inputs are two calls', async () => {
    await using pool = createPool();
    const model = pool.register('m', {
      operations: operationsOf(operationNames),
      host,
      module,
      options: { names: operationNames },
      maxWorkers: 1,
      timeoutMs: 100_000,
    });
    for (const name of operationNames) {
      const answers = await Promise.all([1, 2].map((input) => model.call(name, input as never)));
      expect(answers).toEqual([`${name} of 1`, `${name} of 2`]);
    }
    expect(pool.stats()).toMatchObject({ accepted: 2 * operationNames.length, coalesced: 0, failed: 0 });
  });

  test('a worker that is called past its concurrency tells operations from the arms of its loop', async () => {
    const handle = spawnWorker({
      operations: operationsOf(operationNames),
      host,
      module,
      options: { names: operationNames },
    });
    const calls = operationNames.map((name) => handle.call(name, 'it' as never));
    expect(await Promise.all(calls)).toEqual(operationNames.map((name) => `${name} of it`));
    expect(handle.state.current).not.toBe('dead');
    await handle.close();
  });

  test('a model that lacks a method which every object has is refused', async () => {
    for (const name of ['toString', 'valueOf', 'hasOwnProperty']) {
      const handle = spawnWorker({ operations: operationsOf([name]), host, module, options: { names: ['other'] } });
      await expect(handle.call(name, 1 as never)).rejects.toMatchObject({ code: 'ERR_MODEL_CONTRACT' });
      await handle.destroy();
    }
  });
});

test.each(reserved)('an operation can not be named %s', (name) => {
  const operations = operationsOf([name]);
  expect(() => spawnWorker({ operations, host: 'inline', model: {} as never })).toThrow(`can't be named '${name}'`);
  const pool = createPool();
  expect(() => pool.register('m', { operations, load: () => ({}) as never })).toThrow(`can't be named '${name}'`);
});

const echo: ModelOptions<{ echo: ReturnType<typeof operation<unknown, unknown>> }> = {
  operations: { echo: operation<unknown, unknown>() },
  load: () => ({ echo: (input: unknown) => input }),
};

test.each([...names, 'then'])('a model can be registered, called and looked at under the key %s', async (key) => {
  await using pool = createPool();
  expect(pool.has(key)).toBe(false);
  await expect(pool.call(key, 'echo', 1)).rejects.toMatchObject({ code: 'ERR_MODEL_UNKNOWN' });
  await expect(pool.evict(key)).rejects.toMatchObject({ code: 'ERR_MODEL_UNKNOWN' });
  expect(await pool.unregister(key)).toBe(false);
  const model = pool.register(key, echo);
  expect(await model.call('echo', 1)).toBe(1);
  expect(await pool.call(key, 'echo', 2)).toBe(2);
  expect(Object.keys(pool.stats().models)).toEqual([key]);
  expect(Object.entries(pool.health().models)).toEqual([[key, expect.objectContaining({ status: 'healthy' })]]);
  expect(await pool.metrics()).toContain(
    `millrace_pool_requests_settled_total{pool="pool",model="${key}",operation="echo",outcome="succeeded"} 2`,
  );
  await expect(pool.call(key, 'toString', 1)).rejects.toMatchObject({ code: 'ERR_UNKNOWN_OPERATION' });
  expect(await pool.unregister(key)).toBe(true);
});

test('no name is a known option or a key of coalescing because every object has it', () => {
  const pool = createPool();
  for (const name of everyObjectHas) {
    const options = Object.defineProperty({ ...echo }, name, { value: 1, enumerable: true });
    expect(() => pool.register('m', options as never)).toThrow(`unknown option '${name}'`);
    const coalesce = Object.defineProperty({}, name, { value: String, enumerable: true });
    expect(() => pool.register('m', { ...echo, coalesce })).toThrow(`unknown option '${name}'`);
  }
});

test.each(names)('an arm of a select can be named %s', async (name) => {
  const [tx, rx] = mpsc.channel<number>(1);
  await tx.send(7);
  const arms = Object.defineProperty({}, name, { value: rx, enumerable: true }) as { [name: string]: typeof rx };
  expect(await select(arms)).toEqual({ arm: name, value: 7 });
});

test.each(['toString', 'constructor', '__proto__'])(
  'an error of a class that is named %s crosses with its name',
  async (name) => {
    const Named = { [name]: class extends Error {} }[name] ?? class extends Error {};
    Object.defineProperty(Named, 'name', { value: name });
    registerErrorClass(Named);
    await using handle = spawnWorker({
      operations: { fail: operation<string, never>() },
      host: 'thread',
      module: new URL(
        `data:text/javascript,export default () => ({ fail(name) { const C = class extends Error {}; Object.defineProperty(C, 'name', { value: name }); throw Object.assign(new C('no'), { hasOwnProperty: 'own' }); } })`,
      ),
    });
    const error = await handle.call('fail', name).catch((each: unknown) => each);
    expect(error).toBeInstanceOf(Named);
    expect(error).toMatchObject({ message: 'no', hasOwnProperty: 'own' });
  },
);
