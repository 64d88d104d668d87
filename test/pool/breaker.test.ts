import { expect, test } from 'vitest';
import { SimulatedClock } from '../../src/core/index.js';
import { type BreakerState, CircuitBreaker } from '../../src/pool/index.js';
import { breakerTransitions } from '../../src/pool/internal.js';

const rules = { failures: 3, windowMs: 1_000, openMs: 5_000, probes: 2 };

function make() {
  const clock = new SimulatedClock();
  const moves: [BreakerState, BreakerState][] = [];
  const breaker = new CircuitBreaker(rules, clock, (from, to) => moves.push([from, to]));
  const fail = () => breaker.admit()?.failure();
  return { clock, moves, breaker, fail };
}

test('CircuitBreaker opens at the configured number of failures within the window', () => {
  const { breaker, fail } = make();
  fail();
  fail();
  expect(breaker.state).toBe('closed');
  fail();
  expect(breaker.state).toBe('open');
  expect(breaker.admit()).toBeUndefined();
  expect(breaker.retryAfterMs).toBe(5_000);
});

test('CircuitBreaker forgets failures that left the rolling window', async () => {
  const { breaker, clock, fail } = make();
  fail();
  fail();
  await clock.advance(1_000);
  fail();
  expect(breaker.state).toBe('closed');
  await clock.advance(999);
  fail();
  fail();
  expect(breaker.state).toBe('open');
});

test('CircuitBreaker does not count neutral ends, nor a ticket twice', () => {
  const { breaker, fail } = make();
  for (let turn = 0; turn < 100; turn += 1) breaker.admit()?.neutral();
  const ticket = breaker.admit();
  ticket?.failure();
  ticket?.failure();
  ticket?.failure();
  expect(breaker.state).toBe('closed');
  fail();
  fail();
  expect(breaker.state).toBe('open');
});

test('CircuitBreaker admits exactly the configured probes when half-open', async () => {
  const { breaker, clock, fail } = make();
  for (let turn = 0; turn < 3; turn += 1) fail();
  await clock.advance(5_000);
  expect(breaker.state).toBe('half-open');
  const first = breaker.admit();
  const second = breaker.admit();
  expect([first, second, breaker.admit(), breaker.admit()].map((ticket) => ticket !== undefined)).toEqual([
    true,
    true,
    false,
    false,
  ]);
  first?.success();
  expect(breaker.admit()).toBeUndefined();
  second?.success();
  expect(breaker.state).toBe('closed');
});

test('CircuitBreaker gives the probe of a neutral end to another call', async () => {
  const { breaker, clock, fail } = make();
  for (let turn = 0; turn < 3; turn += 1) fail();
  await clock.advance(5_000);
  breaker.admit()?.neutral();
  expect([breaker.admit(), breaker.admit(), breaker.admit()].filter((ticket) => ticket !== undefined)).toHaveLength(2);
});

test('CircuitBreaker opens again when a probe fails', async () => {
  const { breaker, clock, moves, fail } = make();
  for (let turn = 0; turn < 3; turn += 1) fail();
  await clock.advance(5_000);
  const [won, lost] = [breaker.admit(), breaker.admit()];
  won?.success();
  lost?.failure();
  expect(breaker.state).toBe('open');
  await clock.advance(4_999);
  expect(breaker.state).toBe('open');
  await clock.advance(1);
  expect(breaker.state).toBe('half-open');
  for (const [from, to] of moves) expect(breakerTransitions[from]).toContain(to);
});

test('CircuitBreaker ignores what was admitted before it opened', async () => {
  const { breaker, clock, fail } = make();
  const stragglers = [breaker.admit(), breaker.admit()];
  for (let turn = 0; turn < 3; turn += 1) fail();
  await clock.advance(5_000);
  expect(breaker.state).toBe('half-open');
  stragglers[0]?.failure();
  stragglers[1]?.success();
  expect(breaker.state).toBe('half-open');
});

test('CircuitBreaker refuses rules that make no sense', () => {
  const rules = { failures: 3, windowMs: 1_000, openMs: 500, probes: 2 };
  const make = (changes: object) => () => new CircuitBreaker({ ...rules, ...changes }, new SimulatedClock());
  expect(make({ failures: 0 })).toThrow('Cannot create circuit breaker: failures must be a positive integer');
  expect(make({ probes: 1.5 })).toThrow(RangeError);
  expect(make({ openMs: undefined })).toThrow(TypeError);
  expect(make({ probe: 1 })).toThrow("unknown option 'probe'");
  expect(() => new CircuitBreaker(rules, undefined as never)).toThrow('clock.now must be a function');
});

test('CircuitBreaker weighs failures against the calls that ended within the window', async () => {
  const { breaker, clock, fail } = make();
  for (let turn = 0; turn < 2_755; turn += 1) breaker.admit()?.success();
  for (let turn = 0; turn < 5; turn += 1) fail();
  expect(breaker.state).toBe('closed');
  // The successes leave the window; failures as many as there are others remain.
  await clock.advance(1_000);
  breaker.admit()?.success();
  breaker.admit()?.success();
  fail();
  fail();
  expect(breaker.state).toBe('closed');
  fail();
  expect(breaker.state).toBe('open');
});

test('CircuitBreaker leaves neutral ends out of the share, and opens at the share that it was given', () => {
  const clock = new SimulatedClock();
  const strict = new CircuitBreaker({ ...rules, failureRate: 0.1 }, clock);
  for (let turn = 0; turn < 27; turn += 1) strict.admit()?.success();
  for (let turn = 0; turn < 100; turn += 1) strict.admit()?.neutral();
  strict.admit()?.failure();
  strict.admit()?.failure();
  expect(strict.state).toBe('closed');
  strict.admit()?.failure();
  expect(strict.state).toBe('open');
});

test('CircuitBreaker refuses a share that no calls or all calls reach', () => {
  const make = (failureRate: unknown) => () =>
    new CircuitBreaker({ ...rules, failureRate: failureRate as number }, new SimulatedClock());
  expect(make(0)).toThrow('failureRate must be above 0, received 0');
  expect(make(1.1)).toThrow('failureRate must be a number from 0 to 1, received 1.1');
  expect(make('half')).toThrow(TypeError);
  expect(make(1)).not.toThrow();
});
