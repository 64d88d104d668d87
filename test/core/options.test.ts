import { expect, test } from 'vitest';
import {
  fillOptions,
  group,
  nonNegativeIntegerUpTo,
  oneOf,
  type OptionTable,
  option,
  required,
  requireBoolean,
  requireFunction,
  requireMilliseconds,
  requirePositiveInteger,
  requireString,
  workingSignal,
} from '../../src/core/index.js';

interface RetryOptions {
  readonly times?: number | undefined;
  readonly pauseMs?: number | undefined;
}

interface JobOptions {
  readonly name?: string | undefined;
  readonly size?: number | undefined;
  readonly mode?: 'fast' | 'exact' | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly run: () => void;
  readonly retry?: RetryOptions | undefined;
}

const JOB_OPTIONS = {
  name: option(requireString),
  size: option(requirePositiveInteger, 16),
  mode: option(oneOf(['fast', 'exact']), 'fast'),
  signal: option(workingSignal),
  run: required(requireFunction<() => void>),
  retry: group({
    times: option(nonNegativeIntegerUpTo(10), 1),
    pauseMs: option(requireMilliseconds, 500),
  } satisfies OptionTable<RetryOptions>),
} satisfies OptionTable<JobOptions>;

const run = (): void => {};
const fillJob = (options: unknown) => fillOptions('Cannot start job', options as JobOptions, JOB_OPTIONS);

test('fillOptions() fills the defaults, those of groups included, into a frozen record', () => {
  const filled = fillJob({ run, size: undefined });
  expect(filled).toEqual({
    name: undefined,
    size: 16,
    mode: 'fast',
    signal: undefined,
    run,
    retry: { times: 1, pauseMs: 500 },
  });
  expect(Object.isFrozen(filled) && Object.isFrozen(filled.retry)).toBe(true);
  const mode: 'fast' | 'exact' = filled.mode;
  const name: string | undefined = filled.name;
  expect([mode, name]).toEqual(['fast', undefined]);
});

test('fillOptions() keeps what is given, and no tie to the object', () => {
  const given = { run, size: 2, retry: { times: 0 } };
  const filled = fillJob(given);
  given.size = 3;
  given.retry.times = 4;
  expect(filled).toMatchObject({ size: 2, retry: { times: 0, pauseMs: 500 } });
});

test('fillOptions() reads each option once', () => {
  let reads = 0;
  const filled = fillJob({
    run,
    get size() {
      return ++reads;
    },
  });
  expect([filled.size, reads]).toEqual([1, 1]);
});

test('fillOptions() refuses unknown keys and names the known ones', () => {
  expect(() => fillJob({ run, sise: 1 })).toThrow(
    new TypeError("Cannot start job: unknown option 'sise', known are name, size, mode, signal, run, retry"),
  );
  expect(() => fillJob({ run, retry: { time: 1 } })).toThrow(
    new TypeError("Cannot start job: retry: unknown option 'time', known are times, pauseMs"),
  );
});

test('fillOptions() says which option is wrong, in groups by its path', () => {
  for (const [options, error] of [
    [null, new TypeError('Cannot start job: options must be an object, received null')],
    [{ run: 1 }, new TypeError('Cannot start job: run must be a function, received 1')],
    [{}, new TypeError('Cannot start job: run must be a function, received undefined')],
    [undefined, new TypeError('Cannot start job: run must be a function, received undefined')],
    [{ run, size: null }, new TypeError('Cannot start job: size must be a positive integer, received null')],
    [{ run, mode: 'x' }, new RangeError("Cannot start job: mode must be one of 'fast', 'exact', received 'x'")],
    [
      { run, signal: {} },
      new TypeError('Cannot start job: signal must be an AbortSignal, received an instance of Object'),
    ],
    [{ run, retry: 3 }, new TypeError('Cannot start job: retry must be an object, received 3')],
    [
      { run, retry: { times: 11 } },
      new RangeError('Cannot start job: retry.times must be a non-negative integer up to 10, received 11'),
    ],
  ] as const) {
    expect(() => fillJob(options)).toThrow(error);
  }
});

test('an option table has exactly the keys and types of its interface', () => {
  const times = option(requirePositiveInteger);
  const pauseMs = option(requireMilliseconds);
  // @ts-expect-error: pauseMs is missing
  const missing: OptionTable<RetryOptions> = { times };
  // @ts-expect-error: pause is none of its keys
  const strange: OptionTable<RetryOptions> = { times, pauseMs, pause: pauseMs };
  // @ts-expect-error: times is a number
  const mistyped: OptionTable<RetryOptions> = { times: option(requireBoolean), pauseMs };
  expect([missing, strange, mistyped]).toHaveLength(3);
});
