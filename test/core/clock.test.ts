import { expect, test } from 'vitest';
import { SimulatedClock, systemClock } from '../../src/core/index.js';

test('SimulatedClock.advance() fires due timers in order of time, then of creation', async () => {
  const clock = new SimulatedClock();
  const fired: string[] = [];
  clock.setTimer(() => fired.push('late'), 20);
  clock.setTimer(() => fired.push('first'), 10);
  clock.setTimer(() => fired.push('second'), 10);
  await clock.advance(9);
  expect(fired).toEqual([]);
  await clock.advance(1);
  expect(fired).toEqual(['first', 'second']);
  await clock.advance(100);
  expect(fired).toEqual(['first', 'second', 'late']);
  expect(clock.now()).toBe(110);
  expect(clock.pendingTimers).toBe(0);
});

test('SimulatedClock.advance() fires a timer that a firing started, when it falls due within the span', async () => {
  const clock = new SimulatedClock();
  const at: number[] = [];
  const again = () => {
    at.push(clock.now());
    if (at.length < 5) clock.setTimer(again, 10);
  };
  clock.setTimer(again, 10);
  await clock.advance(35);
  expect(at).toEqual([10, 20, 30]);
});

test('SimulatedClock timers that were cancelled do not fire', async () => {
  const clock = new SimulatedClock();
  let fired = 0;
  const timer = clock.setTimer(() => fired++, 10);
  timer.cancel();
  timer.cancel();
  await clock.advance(100);
  expect(fired).toBe(0);
});

test('systemClock.setTimer() never fires before its time', async () => {
  const start = systemClock.now();
  await new Promise<void>((resolve) => systemClock.setTimer(resolve, 12.5, { ref: true }));
  expect(systemClock.now() - start).toBeGreaterThanOrEqual(12.5);
});

test('systemClock.setTimer() takes a delay longer than a host timer does', async () => {
  let fired = false;
  const timer = systemClock.setTimer(() => {
    fired = true;
  }, 2 ** 33);
  await new Promise<void>((resolve) => systemClock.setTimer(resolve, 20, { ref: true }));
  timer.cancel();
  expect(fired).toBe(false);
});
