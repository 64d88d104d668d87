import { afterEach, expect, test, vi } from 'vitest';
import { requireFacadeOptions } from '../../../src/image-embedding/facade/pool-options.js';
import { availableCores } from '../../../src/pool/index.js';

afterEach(() => vi.unstubAllEnvs());

test('planProcessStart() gives a worker a thread beyond its share of the cores, and never more than Node would', () => {
  vi.stubEnv('UV_THREADPOOL_SIZE', undefined);
  const cores = availableCores();
  const threads = (workers: number) => Number(requireFacadeOptions({ workers }).start.env?.UV_THREADPOOL_SIZE);
  expect(threads(cores)).toBe(2);
  expect(threads(2 * cores)).toBe(2);
  expect(threads(1)).toBe(Math.min(4, cores + 1));
});

test('planProcessStart() passes on what is set already, in the environment or by the options', () => {
  vi.stubEnv('UV_THREADPOOL_SIZE', '7');
  vi.stubEnv('MILLRACE_TEST', 'here');
  expect(requireFacadeOptions({}).start.env).toMatchObject({ UV_THREADPOOL_SIZE: '7', MILLRACE_TEST: 'here' });
  const { env } = requireFacadeOptions({ env: { UV_THREADPOOL_SIZE: '9' } }).start;
  expect(env).toEqual({ UV_THREADPOOL_SIZE: '9' });
});

test('planProcessStart() replaces the flags of workers by those that are given', () => {
  expect(requireFacadeOptions({}).start.execArgv).toContain('--single-threaded-gc');
  expect(requireFacadeOptions({ execArgv: ['--no-warnings'] }).start.execArgv).toEqual(['--no-warnings']);
});

test.each([['x'], [['a']], [null], [5]])('planProcessStart() leaves %j to be refused as an environment', (env) => {
  expect(requireFacadeOptions({ env: env as never }).start.env).toBe(env);
});
