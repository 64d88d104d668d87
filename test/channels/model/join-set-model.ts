import fc from 'fast-check';
import { expect } from 'vitest';
import { type AbortHandle, JoinSet } from '../../../src/channels/index.js';
import { drained } from '../support/settlement.js';

interface Running {
  readonly handle: AbortHandle;
  readonly hears: boolean;
  resolve: (value: number) => void;
  reject: (reason: unknown) => void;
}

/** Runs a list of tasks and of results against a JoinSet, `runs` times. */
export async function checkJoinSet(runs: number): Promise<void> {
  const operation = fc.tuple(
    fc.constantFrom(
      'spawn',
      'spawn',
      'deaf',
      'finish',
      'fail',
      'abort',
      'abortAll',
      'join',
      'join',
      'join',
      'joinNow',
      'give up',
      'detach',
    ),
    fc.nat(9),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { minLength: 20, maxLength: 50 }), async (steps) => {
      const set = new JoinSet<number>();
      let running: Running[] = [];
      const results: string[] = [];
      const joins: { controller: AbortController; outcome: string }[] = [];
      const expected: string[] = [];
      /** Gives results to those who wait, oldest first. */
      const serve = (): void => {
        for (let at = expected.indexOf('pending'); at >= 0; at = expected.indexOf('pending')) {
          const result = results.shift();
          if (result === undefined && running.length > 0) return;
          expected[at] = result ?? 'none';
        }
      };
      const over = (task: Running, result: string): void => {
        running = running.filter((each) => each !== task);
        results.push(`${task.handle.id} ${result}`);
      };
      for (const [what, who] of steps) {
        const task = running[who % Math.max(1, running.length)];
        if (what === 'spawn' || what === 'deaf') {
          const made = { resolve: () => {}, reject: () => {} } as unknown as Running;
          const promise = new Promise<number>((resolve, reject) => Object.assign(made, { resolve, reject }));
          const hears = what === 'spawn';
          const handle = hears
            ? set.spawn((signal) => {
                signal.addEventListener('abort', () => made.reject('cleaned up'));
                return promise;
              })
            : set.spawn(() => promise);
          running.push(Object.assign(made, { handle, hears }));
          await drained();
        } else if (what === 'finish' && task !== undefined) {
          task.resolve(who);
          over(task, `fulfilled ${who}`);
        } else if (what === 'fail' && task !== undefined) {
          task.reject('broken');
          over(task, 'rejected broken');
        } else if (what === 'abort' && task !== undefined) {
          task.handle.abort('enough');
          over(task, 'cancelled enough');
        } else if (what === 'abortAll' && who < 3) {
          set.abortAll('all');
          // Those that do not hear are over at once, the others when they have settled.
          for (const each of running.filter(({ hears }) => !hears)) over(each, 'cancelled all');
          for (const each of [...running]) over(each, 'cancelled all');
        } else if (what === 'join') {
          const join = { controller: new AbortController(), outcome: 'pending' };
          joins.push(join);
          expected.push('pending');
          set.joinNext({ signal: join.controller.signal }).then(
            (result) => {
              join.outcome =
                result === undefined
                  ? 'none'
                  : `${result.id} ${result.status} ${result.status === 'fulfilled' ? result.value : result.reason}`;
            },
            (reason: string) => {
              join.outcome = reason;
            },
          );
        } else if (what === 'joinNow') {
          await drained();
          const result = set.tryJoinNext();
          expect(result?.id).toBe(results.length === 0 ? undefined : Number((results.shift() as string).split(' ')[0]));
        } else if (what === 'give up') {
          const at = expected.indexOf('pending');
          if (at >= 0) {
            expected[at] = 'given up';
            joins[at]?.controller.abort('given up');
          }
        } else if (what === 'detach' && who === 0) {
          set.detachAll();
          running = [];
          results.length = 0;
        }
        serve();
        await drained();
        expect(joins.map(({ outcome }) => outcome)).toEqual(expected);
        expect(set.len).toBe(running.length + results.length);
      }
      await set.shutdown();
      expect(set.len).toBe(0);
    }),
    { numRuns: runs },
  );
}
