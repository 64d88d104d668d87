import fc from 'fast-check';
import { expect, test } from 'vitest';
import { SimulatedClock } from '../../src/core/index.js';
import { createWorkerChannels, operation, runWorker, type WorkerHandle } from '../../src/worker/index.js';
import { seeded } from '../seeded.js';
import { turn } from '../support/settlement.js';

const operations = {
  work: operation<number, number>({ capacity: 16 }),
  bulk: operation<Uint8Array, number>({ capacity: { items: 8, bytes: 4_096 } }),
  stream: operation.stream<number, number>({ capacity: 4, chunkCapacity: 2 }),
};

function expectBalanced(handle: WorkerHandle<typeof operations>): void {
  const { accepted, succeeded, failed, expired, cancelled, pending } = handle.stats();
  expect(succeeded + failed + expired + cancelled + pending).toBe(accepted);
}

test('cancellation storm: 10,000 calls aborted at random moments are each answered once, and the worker still serves', async () => {
  const random = seeded(1_234);
  let entered = 0;
  const { handle, channels } = createWorkerChannels(operations);
  runWorker(
    {
      work: async (n, { signal }) => {
        entered++;
        for (let hops = Math.floor(random() * 6); hops > 0 && !signal.aborted; hops--) await turn();
        if (n % 17 === 0) throw new Error('every seventeenth');
        return n;
      },
      bulk: async (bytes) => bytes.length,
      async *stream(to) {
        for (let n = 0; n < to; n++) yield n;
      },
    },
    channels,
    { concurrency: 8 },
  );
  const CALLS = 10_000;
  const outcomes = { succeeded: 0, failed: 0, cancelled: 0 };
  let answers = 0;
  await Promise.all(
    Array.from({ length: CALLS }, async (_, n) => {
      for (let hops = Math.floor(random() * 100); hops > 0; hops--) await turn();
      const controller = new AbortController();
      const call = handle.call('work', n, { signal: controller.signal }).then(
        (value) => {
          expect(value).toBe(n);
          answers++;
          outcomes.succeeded++;
        },
        (error) => {
          answers++;
          if (error === controller.signal.reason) outcomes.cancelled++;
          else outcomes.failed++;
        },
      );
      const moment = Math.floor(random() * 40);
      if (moment < 4) for (let hops = moment * 3; hops > 0; hops--) await Promise.resolve();
      else for (let hops = moment - 4; hops > 0; hops--) await turn();
      controller.abort(new Error(`gave up ${n}`));
      await call;
    }),
  );
  expect(answers).toBe(CALLS);
  while (handle.stats().inFlight > 0) await turn();
  const stats = handle.stats();
  expect(stats).toMatchObject({ pending: 0, waiting: 0, inFlight: 0, expired: 0 });
  expect(stats.accepted + stats.refused).toBe(CALLS);
  expect(stats.succeeded).toBe(outcomes.succeeded);
  expect(stats.failed).toBe(outcomes.failed);
  expect(stats.cancelled + stats.refused).toBe(outcomes.cancelled);
  expectBalanced(handle);
  // The storm met calls in every phase.
  expect(outcomes.succeeded).toBeGreaterThan(10);
  expect(outcomes.cancelled).toBeGreaterThan(10);
  expect(stats.lateResults).toBeGreaterThan(0);
  expect(entered).toBe(stats.succeeded + stats.failed + stats.lateResults);
  expect(await handle.call('work', 1)).toBe(1);
  expect(handle.stats().queued).toBe(0);
  await handle.close();
  expect(handle.state.current).toBe('dead');
});

type Step =
  | { readonly kind: 'call'; readonly timeoutMs: number | undefined; readonly hops: number; readonly isBad: boolean }
  | { readonly kind: 'bulk'; readonly bytes: number }
  | { readonly kind: 'stream'; readonly to: number; readonly leaveAt: number }
  | { readonly kind: 'abort'; readonly which: number }
  | { readonly kind: 'advance'; readonly ms: number }
  | { readonly kind: 'turn' };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constant('call' as const),
    timeoutMs: fc.option(fc.integer({ min: 1, max: 30 }), { nil: undefined }),
    hops: fc.nat(4),
    isBad: fc.boolean(),
  }),
  fc.record({ kind: fc.constant('bulk' as const), bytes: fc.integer({ min: 0, max: 4_096 }) }),
  fc.record({ kind: fc.constant('stream' as const), to: fc.nat(6), leaveAt: fc.nat(6) }),
  fc.record({ kind: fc.constant('abort' as const), which: fc.nat() }),
  fc.record({ kind: fc.constant('advance' as const), ms: fc.nat(20) }),
  fc.record({ kind: fc.constant('turn' as const) }),
);

test('every call gets exactly one answer, capacity holds, and the ledger balances, in any order of events', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 60 }),
      fc.integer({ min: 1, max: 4 }),
      fc.constantFrom('close' as const, 'destroy' as const, 'drain' as const),
      async (steps, concurrency, end) => {
        const clock = new SimulatedClock();
        let inside = 0;
        const { handle, channels } = createWorkerChannels(operations, { clock });
        async function during<T>(hops: number, result: () => T): Promise<T> {
          inside++;
          expect(inside).toBeLessThanOrEqual(concurrency);
          for (let hop = 0; hop < hops; hop++) await turn();
          inside--;
          return result();
        }
        const plans: { hops: number; isBad: boolean }[] = [];
        runWorker(
          {
            work: (n) =>
              during(plans[n]?.hops ?? 0, () => {
                if (plans[n]?.isBad) throw new Error('bad');
                return n;
              }),
            bulk: (bytes) => during(1, () => bytes.length),
            async *stream(to) {
              for (let n = 0; n < to; n++) yield n;
            },
          },
          channels,
          { concurrency, idleTimeoutMs: 50 },
        );
        let calls = 0;
        let answers = 0;
        const all: Promise<unknown>[] = [];
        const controllers: AbortController[] = [];
        const track = (promise: Promise<unknown>): void => {
          calls++;
          all.push(
            promise.then(
              () => answers++,
              () => answers++,
            ),
          );
        };
        for (const each of steps) {
          const controller = new AbortController();
          const { signal } = controller;
          switch (each.kind) {
            case 'call':
              plans.push(each);
              controllers.push(controller);
              track(handle.call('work', plans.length - 1, { signal, timeoutMs: each.timeoutMs }));
              break;
            case 'bulk':
              controllers.push(controller);
              track(handle.call('bulk', new Uint8Array(each.bytes), { signal }));
              break;
            case 'stream':
              controllers.push(controller);
              track(
                (async () => {
                  let seen = 0;
                  for await (const chunk of handle.call('stream', each.to, { signal })) {
                    expect(chunk).toBe(seen++);
                    if (chunk === each.leaveAt) break;
                  }
                })(),
              );
              break;
            case 'abort':
              controllers[each.which % Math.max(1, controllers.length)]?.abort('gone');
              break;
            case 'advance':
              await clock.advance(each.ms);
              break;
            case 'turn':
              await turn();
          }
          const { queueDepth, inFlight } = handle.stats();
          expect(queueDepth.work).toBeLessThanOrEqual(16);
          expect(queueDepth.bulk).toBeLessThanOrEqual(8);
          expect(inFlight).toBeLessThanOrEqual(concurrency);
          expectBalanced(handle);
        }
        const ending = end === 'close' ? handle.close() : end === 'drain' ? handle.drain() : handle.destroy('over');
        await clock.advance(20_000);
        await ending;
        await Promise.all(all);
        expect(answers).toBe(calls);
        expect(handle.stats()).toMatchObject({ pending: 0, waiting: 0 });
        expect(handle.stats().accepted + handle.stats().refused).toBe(calls);
        expectBalanced(handle);
        if (end === 'drain') void handle.close();
        await clock.advance(20_000);
        expect(handle.state.current).toBe('dead');
        expect(clock.pendingTimers).toBe(0);
      },
    ),
    { numRuns: 60 },
  );
});
