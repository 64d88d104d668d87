import fc from 'fast-check';
import { expect } from 'vitest';
import { Semaphore, type SemaphorePermit } from '../../../src/channels/index.js';
import { turn } from '../../support/settlement.js';

const noPermits = expect.objectContaining({ code: 'ERR_SEMAPHORE_NO_PERMITS' });

/** Runs the model against the real thing, `runs` times. */
export async function checkSemaphore(runs: number): Promise<void> {
  const operation = fc.oneof(
    { weight: 4, arbitrary: fc.record({ type: fc.constant('acquire' as const), n: fc.integer({ min: 0, max: 4 }) }) },
    { weight: 2, arbitrary: fc.record({ type: fc.constant('try' as const), n: fc.integer({ min: 0, max: 4 }) }) },
    { weight: 4, arbitrary: fc.record({ type: fc.constant('release' as const), n: fc.nat(5) }) },
    { weight: 1, arbitrary: fc.record({ type: fc.constant('forget' as const), n: fc.nat(5) }) },
    { weight: 2, arbitrary: fc.record({ type: fc.constant('abort' as const), n: fc.nat(5) }) },
    { weight: 1, arbitrary: fc.record({ type: fc.constant('add' as const), n: fc.nat(3) }) },
    { weight: 1, arbitrary: fc.record({ type: fc.constant('forgetFree' as const), n: fc.nat(3) }) },
    { weight: 1, arbitrary: fc.record({ type: fc.constant('hops' as const), n: fc.nat(3) }) },
  );
  await fc.assert(
    fc.asyncProperty(fc.nat(4), fc.array(operation, { maxLength: 60 }), fc.boolean(), async (permits, steps, close) => {
      const semaphore = new Semaphore(permits);
      let free = permits;
      const queue: { id: number; needed: number }[] = [];
      const outcomes: string[] = [];
      const held: SemaphorePermit[] = [];
      const counts: number[] = [];
      const waits: { controller: AbortController; n: number; promise: Promise<string> }[] = [];
      // The model: permits flow to the head of the queue until it has all it needs.
      const give = (n: number): void => {
        free += n;
        for (let head = queue[0]; head !== undefined && free > 0; head = queue[0]) {
          const given = Math.min(free, head.needed);
          head.needed -= given;
          free -= given;
          if (head.needed > 0) return;
          queue.shift();
          outcomes[head.id] = 'got';
        }
      };
      for (const step of steps) {
        if (step.type === 'acquire') {
          const id = waits.length;
          const controller = new AbortController();
          const promise = semaphore.acquireMany(step.n, { signal: controller.signal }).then(
            (permit) => {
              held.push(permit);
              return 'got';
            },
            (reason: { code?: string }) => reason.code ?? 'aborted',
          );
          waits.push({ controller, n: step.n, promise });
          counts[id] = step.n;
          if (step.n <= free) {
            free -= step.n;
            outcomes[id] = 'got';
          } else {
            queue.push({ id, needed: step.n - free });
            free = 0;
          }
          await turn();
        } else if (step.type === 'try') {
          if (step.n <= free) {
            held.push(semaphore.tryAcquireMany(step.n));
            free -= step.n;
          } else expect(() => semaphore.tryAcquireMany(step.n)).toThrow(noPermits);
        } else if (step.type === 'release' || step.type === 'forget') {
          const [permit] = held.splice(step.n % Math.max(1, held.length), 1);
          if (permit !== undefined) {
            const n = permit.numPermits;
            if (step.type === 'forget') permit.forget();
            else {
              permit.release();
              give(n);
            }
          }
          await turn();
        } else if (step.type === 'abort') {
          const at = queue.findIndex(({ id }) => id === queue[step.n]?.id);
          const [entry] = at < 0 ? [] : queue.splice(at, 1);
          if (entry !== undefined) {
            outcomes[entry.id] = 'aborted';
            waits[entry.id]?.controller.abort('aborted');
            give((counts[entry.id] as number) - entry.needed);
          }
          await turn();
        } else if (step.type === 'add') {
          semaphore.addPermits(step.n);
          give(step.n);
          await turn();
        } else if (step.type === 'forgetFree') {
          expect(semaphore.forgetPermits(step.n)).toBe(Math.min(step.n, free));
          free -= Math.min(step.n, free);
        } else for (let i = 0; i < step.n; i++) await null;
        expect(semaphore.availablePermits).toBe(free);
      }
      if (close) {
        semaphore.close();
        for (const { id, needed } of queue) {
          outcomes[id] = 'ERR_SEMAPHORE_CLOSED';
          free += (counts[id] as number) - needed;
        }
      } else {
        const missing = queue.reduce((sum, { needed }) => sum + needed, 0);
        semaphore.addPermits(missing);
        give(missing);
      }
      expect(await Promise.all(waits.map(({ promise }) => promise))).toEqual(outcomes);
      expect(semaphore.availablePermits).toBe(free);
    }),
    { numRuns: runs },
  );
}
