import fc from 'fast-check';
import { expect } from 'vitest';
import { type AbortHandle, JoinSet, type TaskResult } from '../../../src/channels/index.js';
import { drained } from '../../support/settlement.js';

/** How a task takes its abort: it settles, it goes on until it is settled by a step, or it takes no signal. */
type Kind = 'prompt' | 'slow' | 'deaf';

interface Running {
  readonly kind: Kind;
  handle: AbortHandle;
  /** The first reason it was aborted with. */
  reason: string | undefined;
  hasStarted: boolean;
  resolve: (value: number) => void;
  reject: (reason: unknown) => void;
}

const written = (result: TaskResult<number> | undefined): string =>
  result === undefined
    ? 'none'
    : `${result.id} ${result.status} ${result.status === 'fulfilled' ? result.value : result.reason}`;

function spawned(set: JoinSet<number>, kind: Kind): Running {
  const task = { kind, reason: undefined, hasStarted: false } as Running;
  const promise = new Promise<number>((resolve, reject) => Object.assign(task, { resolve, reject }));
  const start = (): Promise<number> => {
    task.hasStarted = true;
    return promise;
  };
  const hearing = (signal: AbortSignal): Promise<number> => {
    if (kind === 'prompt') signal.addEventListener('abort', () => task.reject('cleaned up'));
    return start();
  };
  task.handle = set.spawn(kind === 'deaf' ? () => start() : hearing);
  return task;
}

/** Runs a list of tasks and of results against a JoinSet, `runs` times. */
export async function checkJoinSet(runs: number): Promise<void> {
  const operation = fc.tuple(
    fc.constantFrom(
      'prompt',
      'slow',
      'slow',
      'deaf',
      'stillborn',
      'finish',
      'fail',
      'late',
      'abort',
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
      /** What the set has heard of for the last time, though it may not have settled. */
      const gone: Running[] = [];
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
      const over = (task: Running, outcome: string): void => {
        running = running.filter((each) => each !== task);
        gone.push(task);
        results.push(`${task.handle.id} ${task.reason === undefined ? outcome : `cancelled ${task.reason}`}`);
      };
      const aborted = (task: Running, reason: string): void => {
        // A second abort changes nothing, its reason neither.
        task.reason ??= reason;
        if (task.kind !== 'slow' || !task.hasStarted) over(task, '');
      };
      for (const [what, who] of steps) {
        const task = running[who % Math.max(1, running.length)];
        if (what === 'prompt' || what === 'slow' || what === 'deaf') {
          running.push(spawned(set, what));
          await drained();
        } else if (what === 'stillborn') {
          const made = spawned(set, (['prompt', 'slow', 'deaf'] as const)[who % 3] as Kind);
          running.push(made);
          made.handle.abort('too soon');
          aborted(made, 'too soon');
        } else if (what === 'finish' && task !== undefined) {
          task.resolve(who);
          over(task, `fulfilled ${who}`);
        } else if (what === 'fail' && task !== undefined) {
          task.reject('broken');
          over(task, 'rejected broken');
        } else if (what === 'late' && gone.length > 0) {
          // Nobody hears of it.
          gone[who % gone.length]?.resolve(who);
        } else if (what === 'abort' && task !== undefined) {
          task.handle.abort(`enough ${who}`);
          aborted(task, `enough ${who}`);
        } else if (what === 'abortAll' && who < 3) {
          set.abortAll('all');
          // Those that do not hear are over at once, the others when they have settled.
          for (const each of running.filter(({ kind }) => kind === 'deaf')) aborted(each, 'all');
          for (const each of [...running]) aborted(each, 'all');
        } else if (what === 'join') {
          const join = { controller: new AbortController(), outcome: 'pending' };
          joins.push(join);
          expected.push('pending');
          set.joinNext({ signal: join.controller.signal }).then(
            (result) => {
              join.outcome = written(result);
            },
            (reason: string) => {
              join.outcome = reason;
            },
          );
        } else if (what === 'joinNow') {
          expect(written(set.tryJoinNext())).toBe(results.shift() ?? 'none');
        } else if (what === 'give up') {
          const at = expected.indexOf('pending');
          if (at >= 0) {
            expected[at] = 'given up';
            joins[at]?.controller.abort('given up');
          }
        } else if (what === 'detach' && who === 0) {
          set.detachAll();
          gone.push(...running.splice(0));
          results.length = 0;
        }
        serve();
        await drained();
        expect(joins.map(({ outcome }) => outcome)).toEqual(expected);
        expect(set.len).toBe(running.length + results.length);
        expect(running.filter(({ handle }) => handle.isFinished)).toEqual([]);
        expect(gone.filter(({ reason, hasStarted }) => reason === 'too soon' && hasStarted)).toEqual([]);
      }
      for (const each of running) each.resolve(0);
      await set.shutdown();
      expect(set.len).toBe(0);
    }),
    { numRuns: runs },
  );
}
