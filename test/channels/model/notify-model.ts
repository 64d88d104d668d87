import fc from 'fast-check';
import { expect } from 'vitest';
import { Notify } from '../../../src/channels/index.js';

/** Runs the model against the real thing, `runs` times. */
export async function checkNotify(runs: number): Promise<void> {
  const operation = fc.oneof(
    fc.constant({ type: 'wait' } as const),
    fc.constant({ type: 'one' } as const),
    fc.constant({ type: 'last' } as const),
    fc.constant({ type: 'all' } as const),
    fc.record({ type: fc.constant('abort' as const), who: fc.nat(6) }),
    fc.record({ type: fc.constant('hops' as const), who: fc.nat(3) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { maxLength: 60 }), async (steps) => {
      const notify = new Notify();
      let permit = false;
      let queue: number[] = [];
      const expected: string[] = [];
      const controllers: AbortController[] = [];
      const results: Promise<string>[] = [];
      const wake = (id: number | undefined): void => {
        if (id === undefined) permit = true;
        else expected[id] = 'notified';
      };
      for (const step of steps) {
        if (step.type === 'wait') {
          const id = controllers.length;
          const controller = new AbortController();
          controllers.push(controller);
          results.push(
            notify.notified({ signal: controller.signal }).then(
              () => 'notified',
              () => 'aborted',
            ),
          );
          if (permit) {
            permit = false;
            expected[id] = 'notified';
          } else queue.push(id);
        } else if (step.type === 'one') {
          notify.notifyOne();
          wake(queue.shift());
        } else if (step.type === 'last') {
          notify.notifyLast();
          wake(queue.pop());
        } else if (step.type === 'all') {
          notify.notifyWaiters();
          for (const id of queue) expected[id] = 'notified';
          queue = [];
        } else if (step.type === 'abort') {
          const id = queue[step.who];
          if (id !== undefined) {
            queue.splice(step.who, 1);
            expected[id] = 'aborted';
            controllers[id]?.abort();
          }
        } else for (let i = 0; i < step.who; i++) await null;
      }
      notify.notifyWaiters();
      for (const id of queue) expected[id] = 'notified';
      expect(await Promise.all(results)).toEqual(expected);
      expect(notify.notified().enable()).toBe(permit);
    }),
    { numRuns: runs },
  );
}
