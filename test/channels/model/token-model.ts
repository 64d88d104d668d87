import { getEventListeners } from 'node:events';
import fc from 'fast-check';
import { expect } from 'vitest';
import { CancellationToken } from '../../../src/channels/index.js';
import { drained } from '../../support/settlement.js';

interface Node {
  readonly token: CancellationToken;
  readonly parent: number | undefined;
  reason: string | undefined;
}

/** A stop is answered in a turn in which nothing is held back: a few turns after it, where the budget makes pauses. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 4; turn++) await drained();
}

/** Runs a plain tree of flags against a tree of tokens, `runs` times. */
export async function checkTokens(runs: number): Promise<void> {
  const operation = fc.tuple(
    fc.constantFrom('child', 'cancel', 'wait', 'abort', 'signal', 'dispose', 'hops', 'run'),
    fc.nat(30),
  );
  await fc.assert(
    fc.asyncProperty(fc.boolean(), fc.array(operation, { minLength: 15, maxLength: 50 }), async (bySignal, steps) => {
      const origin = new AbortController();
      const root = bySignal ? CancellationToken.fromSignal(origin.signal) : new CancellationToken();
      const nodes: Node[] = [{ token: root, parent: undefined, reason: undefined }];
      const waits: { node: number; controller: AbortController; outcome: string; at: number }[] = [];
      const signals = new Map<number, AbortSignal>();
      const reasonOf = (at: number): string | undefined => {
        for (let next: number | undefined = at; next !== undefined; next = nodes[next]?.parent) {
          const { reason } = nodes[next] as Node;
          if (reason !== undefined) return reason;
        }
        return undefined;
      };
      let cancels = 0;
      for (const [what, who] of steps) {
        const at = who % nodes.length;
        const node = nodes[at] as Node;
        if (what === 'child') nodes.push({ token: node.token.childToken(), parent: at, reason: undefined });
        else if (what === 'cancel') {
          const reason = `reason ${cancels++}`;
          if (at === 0 && bySignal && who % 2 === 0) origin.abort(reason);
          else node.token.cancel(reason);
          // What was cancelled keeps its first reason.
          for (let each = 0; each < nodes.length; each++) {
            const now = reasonOf(each);
            if (now !== undefined) (nodes[each] as Node).reason = now;
          }
          if (node.reason === undefined) node.reason = reason;
          for (let each = 0; each < nodes.length; each++) (nodes[each] as Node).reason ??= reasonOf(each);
        } else if (what === 'wait' || what === 'run') {
          const controller = new AbortController();
          const wait = { node: at, controller, outcome: 'pending', at: waits.length };
          waits.push(wait);
          const promise =
            what === 'wait'
              ? node.token.cancelled({ signal: controller.signal })
              : node.token.runUntilCancelled(
                  new Promise<void>((_, reject) => {
                    controller.signal.addEventListener('abort', () => reject(controller.signal.reason), { once: true });
                  }),
                );
          promise.then(
            () => {
              wait.outcome = 'cancelled';
            },
            (reason: string) => {
              wait.outcome = reason;
            },
          );
        } else if (what === 'abort') {
          const wait = waits[who % Math.max(1, waits.length)];
          // What has happened first counts.
          await settled();
          wait?.controller.abort('aborted');
          if (wait?.outcome === 'pending') wait.outcome = 'to be aborted';
        } else if (what === 'signal') {
          signals.set(at, node.token.signal);
          expect(node.token.signal).toBe(signals.get(at));
        } else if (what === 'dispose') {
          node.token[Symbol.dispose]();
          if (reasonOf(at) === undefined) signals.delete(at);
        } else for (let hops = 0; hops < who % 4; hops++) await null;
        for (const [each, { token }] of nodes.entries()) {
          expect([token.isCancelled, token.reason]).toEqual([reasonOf(each) !== undefined, reasonOf(each)]);
        }
        for (const [each, signal] of signals) {
          expect([signal.aborted, signal.reason]).toEqual([reasonOf(each) !== undefined, reasonOf(each)]);
        }
      }
      await settled();
      for (const { node, outcome } of waits) {
        if (outcome === 'aborted') continue;
        expect(outcome).toBe(reasonOf(node) === undefined ? 'pending' : 'cancelled');
      }
      for (const wait of waits) wait.controller.abort('aborted');
      for (const { token } of nodes) token[Symbol.dispose]();
      await settled();
      expect(getEventListeners(origin.signal, 'abort')).toHaveLength(0);
      for (const { controller, outcome } of waits) {
        expect(outcome).not.toBe('pending');
        expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
      }
    }),
    { numRuns: runs },
  );
}
