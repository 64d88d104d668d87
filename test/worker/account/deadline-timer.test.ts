import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Clock, SimulatedClock } from '../../../src/core/index.js';
import { type DeadlineEntry, DeadlineTimer, deadlineTimerOf } from '../../../src/worker/account/deadline-timer.js';

function entry(dueAt: number, onDeadline: () => void): DeadlineEntry {
  return { dueAt, isPending: false, onDeadline };
}

test('DeadlineTimer keeps one clock timer for any number of entries', async () => {
  const clock = new SimulatedClock();
  const timer = new DeadlineTimer(clock);
  const fired: number[] = [];
  for (const dueAt of [30, 10, 20, 10]) {
    timer.add(
      entry(dueAt, () => fired.push(clock.now())),
      0,
    );
    expect(clock.pendingTimers).toBe(1);
  }
  await clock.advance(9);
  expect(fired).toEqual([]);
  await clock.advance(1);
  expect(fired).toEqual([10, 10]);
  await clock.advance(100);
  expect(fired).toEqual([10, 10, 20, 30]);
  expect(clock.pendingTimers).toBe(0);
});

test('DeadlineTimer.add() from a callback is served', async () => {
  const clock = new SimulatedClock();
  const timer = new DeadlineTimer(clock);
  const fired: number[] = [];
  const again = (): void => {
    fired.push(clock.now());
    if (fired.length < 3) timer.add(entry(clock.now() + 5, again), clock.now());
  };
  timer.add(entry(5, again), 0);
  await clock.advance(50);
  expect(fired).toEqual([5, 10, 15]);
});

test('DeadlineTimer.trim() stops the clock timer only when nothing waits', () => {
  const clock = new SimulatedClock();
  const timer = new DeadlineTimer(clock);
  const waiting = entry(10, () => {});
  timer.add(waiting, 0);
  timer.trim();
  expect(clock.pendingTimers).toBe(1);
  timer.remove(waiting);
  expect(clock.pendingTimers).toBe(1);
  timer.trim();
  expect(clock.pendingTimers).toBe(0);
});

test('deadlineTimerOf() answers the same timer for the same clock', () => {
  const clock = new SimulatedClock();
  expect(deadlineTimerOf(clock)).toBe(deadlineTimerOf(clock));
  expect(deadlineTimerOf(clock)).not.toBe(deadlineTimerOf(new SimulatedClock()));
});

test('DeadlineTimer fires exactly what was added and not removed, in order and never early', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.oneof(
          fc.record({ kind: fc.constant('add' as const), ms: fc.integer({ min: 0, max: 50 }) }),
          fc.record({ kind: fc.constant('remove' as const), which: fc.nat() }),
          fc.record({ kind: fc.constant('advance' as const), ms: fc.integer({ min: 0, max: 20 }) }),
        ),
        { maxLength: 300 },
      ),
      async (steps) => {
        const clock = new SimulatedClock();
        const timer = new DeadlineTimer(clock);
        const waiting = new Set<DeadlineEntry>();
        let last = 0;
        for (const step of steps) {
          if (step.kind === 'add') {
            const added = entry(clock.now() + step.ms, () => {
              expect(waiting.delete(added)).toBe(true);
              expect(added.dueAt).toBeLessThanOrEqual(clock.now());
              expect(added.dueAt).toBeGreaterThanOrEqual(last);
              last = added.dueAt;
            });
            waiting.add(added);
            timer.add(added, clock.now());
          } else if (step.kind === 'remove') {
            const removed = [...waiting][step.which % Math.max(1, waiting.size)];
            if (removed === undefined) continue;
            waiting.delete(removed);
            timer.remove(removed);
            timer.remove(removed);
          } else {
            await clock.advance(step.ms);
            for (const each of waiting) expect(each.dueAt).toBeGreaterThan(clock.now());
            last = 0;
          }
          expect(timer.size).toBe(waiting.size);
          expect(clock.pendingTimers).toBeLessThanOrEqual(1);
        }
        await clock.advance(1_000);
        expect(waiting.size).toBe(0);
        expect(clock.pendingTimers).toBe(0);
      },
    ),
    { numRuns: 60 },
  );
});

test('DeadlineTimer holds the process while an entry is pending, and only then', () => {
  const isHeld: boolean[] = [];
  const clock: Clock = {
    now: () => 0,
    setTimer: (_callback, _ms, options) => {
      isHeld.push(options?.ref ?? false);
      return { cancel: () => isHeld.push(false), hold: (value) => isHeld.push(value) };
    },
  };
  const timer = new DeadlineTimer(clock);
  const [one, other] = [entry(10, () => {}), entry(20, () => {})];
  timer.add(one, 0);
  timer.add(other, 0);
  expect(isHeld.at(-1)).toBe(true);
  timer.remove(one);
  expect(isHeld.at(-1)).toBe(true);
  timer.remove(other);
  expect(isHeld.at(-1)).toBe(false);
  timer.add(
    entry(30, () => {}),
    0,
  );
  expect(isHeld.at(-1)).toBe(true);
});
