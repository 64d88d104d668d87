import fc from 'fast-check';
import { expect } from 'vitest';
import { watch } from '../../../src/channels/index.js';
import { turn } from '../../support/settlement.js';

interface Watcher {
  readonly rx: watch.Receiver<number>;
  seen: number;
  /** A changed() that is under way, with what becomes of it. */
  wait: { readonly controller: AbortController; outcome: string | undefined } | undefined;
}

/** Runs the model against the real thing, `runs` times. */
export async function checkWatch(runs: number): Promise<void> {
  const who = fc.nat(4);
  const operation = fc.oneof(
    { weight: 4, arbitrary: fc.constant({ type: 'send', who: 0 } as const) },
    { weight: 1, arbitrary: fc.constant({ type: 'replace', who: 0 } as const) },
    { weight: 1, arbitrary: fc.constant({ type: 'unmodified', who: 0 } as const) },
    { weight: 1, arbitrary: fc.constant({ type: 'subscribe', who: 0 } as const) },
    { weight: 1, arbitrary: fc.record({ type: fc.constant('clone' as const), who }) },
    { weight: 1, arbitrary: fc.record({ type: fc.constant('drop' as const), who }) },
    { weight: 2, arbitrary: fc.record({ type: fc.constant('see' as const), who }) },
    { weight: 1, arbitrary: fc.record({ type: fc.constant('mark' as const), who }) },
    { weight: 4, arbitrary: fc.record({ type: fc.constant('wait' as const), who }) },
    { weight: 2, arbitrary: fc.record({ type: fc.constant('abort' as const), who }) },
    { weight: 1, arbitrary: fc.record({ type: fc.constant('hops' as const), who }) },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { maxLength: 60 }), async (steps) => {
      const [tx, first] = watch.channel(0);
      let version = 0;
      const watchers: Watcher[] = [{ rx: first, seen: 0, wait: undefined }];
      const settle = async (): Promise<void> => {
        await turn();
        for (const watcher of watchers) {
          if (watcher.wait === undefined) continue;
          // A wait is over exactly when there is something its receiver has not seen, and that is seen now.
          const due = watcher.seen !== version;
          expect(watcher.wait.outcome).toBe(due ? 'changed' : undefined);
          if (!due) continue;
          watcher.seen = version;
          watcher.wait = undefined;
        }
      };
      for (const step of steps) {
        const watcher = watchers[step.who % Math.max(1, watchers.length)];
        if (step.type === 'send') {
          if (watchers.length === 0) expect(() => tx.send(-1)).toThrow();
          else tx.send(++version);
        } else if (step.type === 'replace') {
          expect(tx.sendReplace(version + 1)).toBe(version);
          version++;
        } else if (step.type === 'unmodified') tx.sendIfModified(() => false);
        else if (step.type === 'subscribe') {
          watchers.push({ rx: tx.subscribe(), seen: version, wait: undefined });
        } else if (step.type === 'hops') {
          await settle();
        } else if (watcher !== undefined) {
          await settle();
          if (step.type === 'clone') watchers.push({ rx: watcher.rx.clone(), seen: watcher.seen, wait: undefined });
          else if (step.type === 'drop') {
            watcher.rx.close();
            watchers.splice(watchers.indexOf(watcher), 1);
            await turn();
            if (watcher.wait !== undefined) expect(watcher.wait.outcome).toBe('ERR_CHANNEL_CLOSED');
          } else if (step.type === 'see') {
            await settle();
            expect(watcher.rx.hasChanged()).toBe(watcher.seen !== version);
            expect(watcher.rx.borrow()).toBe(version);
            expect(watcher.rx.borrowAndUpdate()).toBe(version);
            watcher.seen = version;
          } else if (step.type === 'mark') {
            await settle();
            watcher.rx.markChanged();
            watcher.seen = -1;
            await settle();
          } else if (step.type === 'wait' && watcher.wait === undefined) {
            const controller = new AbortController();
            const wait: Watcher['wait'] = { controller, outcome: undefined };
            watcher.wait = wait;
            watcher.rx.changed({ signal: controller.signal }).then(
              () => {
                wait.outcome = 'changed';
              },
              (error: { code?: string } | string) => {
                wait.outcome = typeof error === 'string' ? error : error.code;
              },
            );
          } else if (step.type === 'abort' && watcher.wait !== undefined) {
            await settle();
            const { wait } = watcher;
            if (wait !== undefined) {
              wait.controller.abort('aborted');
              await turn();
              expect(wait.outcome).toBe('aborted');
              watcher.wait = undefined;
              expect(watcher.rx.hasChanged()).toBe(watcher.seen !== version);
            }
          }
        }
        expect(tx.receiverCount).toBe(watchers.length);
        expect(tx.isClosed).toBe(watchers.length === 0);
        // Sends of one turn go unseen together; everything else is looked at once it has run its course.
        if (step.type !== 'send' && step.type !== 'replace') await settle();
      }
      await settle();
      tx.close();
      await turn();
      for (const { wait } of watchers)
        expect(wait === undefined || wait.outcome).toEqual(wait ? 'ERR_CHANNEL_CLOSED' : true);
    }),
    { numRuns: runs },
  );
}
