import { expect, test } from 'vitest';
import { requireFacadeOptions } from '../../../src/image-embedding/facade/pool-options.js';
import { availableCores } from '../../../src/pool/index.js';

test('planProcessStart() gives a worker a thread beyond its share of the cores, and never more than Node would', () => {
  const cores = availableCores();
  const threads = (workers: number) => requireFacadeOptions({ workers }).start.threadPoolSize;
  expect(threads(cores)).toBe(2);
  expect(threads(2 * cores)).toBe(2);
  expect(threads(1)).toBe(Math.min(4, cores + 1));
});

test('planProcessStart() passes an environment on as it is, and none where none is given: it is read as a worker starts', () => {
  expect(requireFacadeOptions({}).start).not.toHaveProperty('env');
  const env = { UV_THREADPOOL_SIZE: '9' };
  expect(requireFacadeOptions({ env }).start.env).toEqual(env);
});

test('planProcessStart() replaces the flags of workers by those that are given', () => {
  expect(requireFacadeOptions({}).start.execArgv).toContain('--single-threaded-gc');
  expect(requireFacadeOptions({ execArgv: ['--no-warnings'] }).start.execArgv).toEqual(['--no-warnings']);
});
