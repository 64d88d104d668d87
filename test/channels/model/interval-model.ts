import fc from 'fast-check';
import { expect } from 'vitest';
import { interval, SimulatedClock } from '../../../src/channels/index.js';
import { drained } from '../../support/settlement.js';

/** Runs what tokio documents of a late tick against an interval, `runs` times. */
export async function checkIntervals(runs: number): Promise<void> {
  const operation = fc.tuple(
    fc.constantFrom(
      'advance',
      'advance',
      'advance',
      'wait',
      'wait',
      'wait',
      'abort',
      'reset',
      'resetImmediately',
      'resetAfter',
      'resetAt',
    ),
    fc.nat(400),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom('burst' as const, 'delay' as const, 'skip' as const),
      fc.integer({ min: 10, max: 100 }),
      fc.array(operation, { minLength: 15, maxLength: 40 }),
      async (missedTickBehavior, period, steps) => {
        const clock = new SimulatedClock();
        const ticks = interval(period, { clock, missedTickBehavior });
        let next = 0;
        const waits: { readonly controller: AbortController; outcome: number | string | undefined }[] = [];
        const expected: (number | string | undefined)[] = [];
        const take = (now: number): number => {
          const due = next;
          if (now <= due + 5 || missedTickBehavior === 'burst') next = due + period;
          else if (missedTickBehavior === 'delay') next = now + period;
          else next = now + period - ((now - due) % period);
          return due;
        };
        /** The waits that are served while the clock stands where it stands, or moves on to `until`. */
        const serve = (until: number): void => {
          for (let at = expected.indexOf(undefined); at >= 0; at = expected.indexOf(undefined)) {
            const now = Math.max(next, Math.min(clock.now(), until));
            if (now > until) return;
            expected[at] = take(Math.max(now, clock.now()));
          }
        };
        for (const [what, by] of steps) {
          if (what === 'advance') {
            serve(clock.now() + by);
            await clock.advance(by);
          } else if (what === 'wait') {
            const wait: (typeof waits)[number] = { controller: new AbortController(), outcome: undefined };
            waits.push(wait);
            expected.push(undefined);
            ticks.tick({ signal: wait.controller.signal }).then(
              (due) => {
                wait.outcome = due;
              },
              (reason: string) => {
                wait.outcome = reason;
              },
            );
            serve(clock.now());
          } else if (what === 'abort') {
            const at = by % Math.max(1, waits.length);
            if (waits[at] !== undefined && expected[at] === undefined) expected[at] = 'aborted';
            waits[at]?.controller.abort('aborted');
          } else {
            if (what === 'reset') {
              ticks.reset();
              next = clock.now() + period;
            } else if (what === 'resetImmediately') {
              ticks.resetImmediately();
              next = clock.now();
            } else if (what === 'resetAfter') {
              ticks.resetAfter(by);
              next = clock.now() + by;
            } else {
              ticks.resetAt(by * 3);
              next = by * 3;
            }
            serve(clock.now());
            await clock.advance(0);
          }
          await drained();
          expect(waits.map(({ outcome }) => outcome)).toEqual(expected);
        }
        for (const { controller } of waits) controller.abort('over');
        expect(clock.pendingTimers).toBe(0);
      },
    ),
    { numRuns: runs },
  );
}
