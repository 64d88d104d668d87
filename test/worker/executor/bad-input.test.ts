import { execFile } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { isMillraceError } from '../../../src/core/index.js';
import { spawnWorker } from '../../../src/worker/index.js';
import { spawnTestWorker, type TestHandle, testOperations } from './spawn-test-worker.js';

const folder = mkdtempSync(path.join(tmpdir(), 'millrace-'));
const open: TestHandle[] = [];

function moduleOf(name: string, source: string): URL {
  const file = path.join(folder, name);
  writeFileSync(file, source);
  return pathToFileURL(file);
}

function spawn(options: Parameters<typeof spawnTestWorker>[0]): TestHandle {
  const handle = spawnTestWorker(options);
  open.push(handle);
  return handle;
}

async function errorOf(
  promise: Promise<unknown>,
): Promise<Error & { code?: string; cause?: Error & { code?: string } }> {
  return promise.then(
    () => expect.unreachable(),
    (error) => error,
  );
}

afterEach(async () => {
  for (const handle of open.splice(0)) await handle.destroy();
});

for (const host of ['inline', 'thread', 'process'] as const) {
  describe(`spawnWorker() in host ${host}`, () => {
    test('rejects with WorkerLoadError when the module does not exist, and fails at once', async () => {
      const handle = spawn({ host, module: pathToFileURL(path.join(folder, 'absent.mjs')) });
      const error = await errorOf(handle.call('echo', 1));
      expect(isMillraceError(error, 'ERR_WORKER_LOAD')).toBe(true);
      expect(error.cause?.code).toBe('ERR_MODULE_NOT_FOUND');
      await handle.state.waitFor('failed');
    });

    test('rejects with ModelContractError when the module exports nothing', async () => {
      const handle = spawn({ host, module: moduleOf('nothing.mjs', 'export {};') });
      const error = await errorOf(handle.call('echo', 1));
      expect(error.code).toBe('ERR_MODEL_CONTRACT');
      expect(error.message).toContain('no exports');
    });

    test.each([
      ['its function', 'module.exports = (o) => make(o);'],
      ['createModel', 'exports.createModel = (o) => make(o);'],
      ['a default, compiled from an ES module', 'exports.__esModule = true; exports.default = (o) => make(o);'],
    ])('loads a CommonJS module that exports %s', async (_, source) => {
      const model =
        'const make = () => new Proxy({}, { get: (_, name) => name === "echo" ? (x) => x : name in names ? () => {} : undefined });';
      const names = `const names = ${JSON.stringify(testOperations, ['kind', ...Object.keys(testOperations)])};`;
      const handle = spawn({ host, module: moduleOf(`${_.length}-${host}.cjs`, `${names}${model}${source}`) });
      expect(await handle.call('echo', 1)).toBe(1);
    });

    test('rejects with ModelContractError when the model lacks a method', async () => {
      const handle = spawn({ host, options: { lacksMethod: true } });
      expect(await errorOf(handle.call('echo', 1))).toMatchObject({ code: 'ERR_MODEL_CONTRACT' });
    });

    test('rejects with WorkerLoadError and the cause when the factory or the warmup throws', async () => {
      const error = await errorOf(spawn({ host, options: { throwsAtLoad: true } }).call('echo', 1));
      expect(error).toMatchObject({ code: 'ERR_WORKER_LOAD', cause: { code: 'ERR_WEIGHTS' } });
      expect(error.cause).toBeInstanceOf(RangeError);
      expect(await errorOf(spawn({ host, options: { warmupThrows: true } }).call('echo', 1))).toMatchObject({
        code: 'ERR_WORKER_LOAD',
        cause: { message: 'cold' },
      });
    });

    test('rejects with WorkerLoadError within the load timeout when the loader never returns', async () => {
      const handle = spawn({ host, options: { hangsAtLoad: true }, loadTimeoutMs: 300 });
      const error = await errorOf(handle.call('echo', 1));
      expect(error.code).toBe('ERR_WORKER_LOAD');
      expect(error.message).toContain('within 300 ms');
      await handle.state.waitFor('failed');
    });

    test('rejects with UnknownOperationError', async () => {
      const handle = spawn({ host });
      expect(await errorOf(handle.call('nope' as 'echo', 1))).toMatchObject({ code: 'ERR_UNKNOWN_OPERATION' });
    });
  });
}

for (const host of ['thread', 'process'] as const) {
  describe(`spawnWorker() in host ${host}`, () => {
    test('rejects with WorkerLoadError when the model exits at load', async () => {
      const handle = spawn({ host, options: { exitsAtLoad: 7 } });
      const error = await errorOf(handle.call('echo', 1));
      expect(error).toMatchObject({ code: 'ERR_WORKER_LOAD', cause: { code: 'ERR_WORKER_CRASHED', exitCode: 7 } });
      await handle.state.waitFor('failed');
    });

    test('says what to do about TypeScript that Node can not run', async () => {
      const handle = spawn({ host, module: moduleOf('model.ts', 'export enum A { B }\nexport default () => ({});') });
      const error = await errorOf(handle.call('echo', 1));
      expect(error.code).toBe('ERR_WORKER_LOAD');
      expect(error.message).toContain('compile it');
    });

    test('rejects with WorkerLoadError when the options of the model cannot be cloned', async () => {
      const error = await errorOf(spawn({ host, options: { fn: () => {} } }).call('echo', 1));
      expect(error).toMatchObject({ code: 'ERR_WORKER_LOAD', cause: { name: expect.any(String) } });
    });

    test('rejects only the call whose input or result cannot be cloned', async () => {
      const handle = spawn({ host, concurrency: 4 });
      const others = Promise.all([1, 2, 3].map((each) => handle.call('echo', each)));
      const bad = errorOf(handle.call('echo', { fn: () => {} }));
      const worse = errorOf(handle.call('uncloneable', undefined));
      for (const error of [await bad, await worse]) {
        expect(error).toBeInstanceOf(DOMException);
        expect(error).toMatchObject({
          name: 'DataCloneError',
          message: expect.stringContaining('could not be cloned'),
        });
      }
      expect(await others).toEqual([1, 2, 3]);
      expect(handle.state.current).toMatch(/ready|processing/);
    });
  });
}

for (const host of ['thread', 'process'] as const) {
  test(`spawnWorker() in host ${host} shows all that was printed before it was closed`, async () => {
    const handle = spawn({ host, stdio: 'inherit' });
    let shown = 0;
    const write = vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
      shown += text.length;
      return true;
    });
    try {
      await handle.call('print', 8_000_000);
      await handle.close();
    } finally {
      write.mockRestore();
    }
    expect(shown).toBe(8_000_000);
  });
}

test('spawnWorker() in host thread shows what was printed also when whoever is shown it is slow', async () => {
  const handle = spawn({ host: 'thread', stdio: 'inherit' });
  let shown = 0;
  const write = vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    shown += text.length;
    setTimeout(() => process.stderr.emit('drain'), 5);
    return false;
  });
  try {
    await Promise.all(Array.from({ length: 20 }, () => handle.call('print', 500)));
    await handle.close();
  } finally {
    write.mockRestore();
  }
  expect(shown).toBe(10_000);
});

// Not for threads: the loaders of that time leave worker threads alone.
describe('spawnWorker() in host process', () => {
  test('names the folder that it can not be started in', async () => {
    const handle = spawn({ host: 'process', cwd: path.join(folder, 'absent') });
    const error = await errorOf(handle.call('echo', 1));
    expect(error.code).toBe('ERR_WORKER_LOAD');
    expect(error.message).toContain(path.join(folder, 'absent'));
  });

  test.runIf(process.platform !== 'win32')(
    'says that there are too many files, and goes on once there are fewer',
    async () => {
      const fixture = fileURLToPath(new URL('../../fixtures/worker/too-many-files.mjs', import.meta.url));
      const command = `ulimit -n 300; exec '${process.execPath}' '${fixture}'`;
      const { stdout } = await promisify(execFile)('/bin/sh', ['-c', command], { timeout: 60_000 });
      const { first, second, spare } = JSON.parse(stdout);
      expect(first).toMatch(/^ERR_WORKER_LOAD .* could not be started .*EMFILE/);
      expect({ second, spare }).toEqual({ second: 2, spare: false });
    },
  );

  test('runs a TypeScript model module with a loader that was asked for', async () => {
    const source =
      'enum Step { One = 1 }\nexport default () => new Proxy({}, { get: (_, name) => name === "then" || name === "warmup" || name === "dispose" || name === "health" ? undefined : async (n: number): Promise<number> => n + Step.One });';
    const loader = import.meta.resolve('tsx');
    const handle = spawn({ host: 'process', module: moduleOf('loaded.ts', source), execArgv: ['--import', loader] });
    expect(await handle.call('echo', 1)).toBe(2);
  });
});

describe('spawnWorker()', () => {
  test('refuses options that make no sense, before any effect', () => {
    const module = 'file:///model.js';
    expect(() => spawnTestWorker({ module: './model.js' })).toThrow('module must be a URL');
    expect(() => spawnTestWorker({ host: 'cloud' as never })).toThrow(
      "host must be one of 'inline', 'thread', 'process'",
    );
    expect(() => spawnTestWorker({ module, concurrency: 0 })).toThrow(RangeError);
    expect(() => spawnTestWorker({ module, memoryMb: 3 } as never)).toThrow("unknown option 'memoryMb'");
    expect(() => spawnTestWorker({ module, model: {} as never })).toThrow('exactly one of');
    expect(() => spawnTestWorker({ module, env: 5 as never })).toThrow('env must be an object, received 5');
    expect(() => spawnTestWorker({ module, env: { A: 1 } as never })).toThrow('env.A must be a string, received 1');
    expect(() => spawnTestWorker({ module, execArgv: '--expose-gc' as never })).toThrow('execArgv must be an array');
    expect(() => spawnTestWorker({ module, execArgv: [5] as never })).toThrow('execArgv[0] must be a string');
    expect(() => spawnTestWorker({ module, threadPoolSize: 0 })).toThrow('threadPoolSize must be');
    expect(() => spawnTestWorker({ module, transfer: { inputs: 'yes' as never } })).toThrow('transfer.inputs must be');
    expect(() => spawnTestWorker({ module, clock: {} as never })).toThrow('clock.now must be a function');
    expect(() => spawnWorker({ operations: {}, module })).toThrow(TypeError);
    expect(() => spawnWorker(undefined as never)).toThrow(TypeError);
  });
});
