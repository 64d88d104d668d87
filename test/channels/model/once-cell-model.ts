import fc from 'fast-check';
import { expect } from 'vitest';
import { OnceCell } from '../../../src/channels/index.js';
import { drained } from '../../support/settlement.js';

interface Caller {
  readonly controller: AbortController;
  outcome: string;
  /** Set while its initialiser is at work. */
  finish: { resolve(value: string): void; reject(reason: unknown): void } | undefined;
}

/** Runs a queue of initialisers against a OnceCell, `runs` times. */
export async function checkOnceCell(runs: number): Promise<void> {
  const operation = fc.tuple(fc.constantFrom('call', 'call', 'succeed', 'fail', 'abort', 'set', 'hops'), fc.nat(9));
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { minLength: 15, maxLength: 40 }), async (steps) => {
      const cell = new OnceCell<string>();
      const callers: Caller[] = [];
      let value: string | undefined;
      const expected: string[] = [];
      /** Those whose turn has not come, the one at work first. */
      let queue: number[] = [];
      const done = (made: string): void => {
        value = made;
        for (const id of queue) expected[id] = made;
        queue = [];
      };
      for (const [what, who] of steps) {
        const working = callers.find(({ finish }) => finish !== undefined);
        const head = queue[0];
        if (what === 'call') {
          const id = callers.length;
          const caller: Caller = { controller: new AbortController(), outcome: 'pending', finish: undefined };
          callers.push(caller);
          expected.push(value ?? 'pending');
          if (value === undefined) queue.push(id);
          const init = () =>
            new Promise<string>((resolve, reject) => {
              caller.finish = { resolve, reject };
            });
          cell.getOrInit(init, { signal: caller.controller.signal }).then(
            (made) => {
              caller.outcome = made;
            },
            (reason: string) => {
              caller.outcome = reason;
            },
          );
        } else if ((what === 'succeed' || what === 'fail') && working !== undefined && head !== undefined) {
          const { finish } = working;
          working.finish = undefined;
          expect(callers[head]).toBe(working);
          if (what === 'succeed') {
            finish?.resolve(`made by ${head}`);
            done(`made by ${head}`);
          } else {
            finish?.reject(`failed by ${head}`);
            expected[head] = `failed by ${head}`;
            queue.shift();
          }
        } else if (what === 'abort' && queue.length > 0) {
          const [id] = queue.splice(who % queue.length, 1) as [number];
          const caller = callers[id] as Caller;
          expected[id] = 'aborted';
          caller.finish = undefined;
          caller.controller.abort('aborted');
        } else if (what === 'set') {
          let code: string | undefined;
          try {
            cell.set('set');
          } catch (error) {
            code = (error as { code: string }).code;
          }
          const wrong = value !== undefined ? 'ERR_ONCE_CELL_INITIALIZED' : 'ERR_ONCE_CELL_INITIALIZING';
          expect(code).toBe(value !== undefined || queue.length > 0 ? wrong : undefined);
          if (code === undefined) done('set');
        } else for (let hops = 0; hops < who; hops++) await null;
        await drained();
        expect(callers.map(({ outcome }) => outcome)).toEqual(expected);
        expect([cell.isInitialized, cell.get()]).toEqual([value !== undefined, value]);
        expect(callers.filter(({ finish }) => finish !== undefined)).toHaveLength(queue.length > 0 ? 1 : 0);
      }
    }),
    { numRuns: runs },
  );
}
