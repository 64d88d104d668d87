import fc from 'fast-check';
import { expect, test } from 'vitest';
import { SimulatedClock } from '../../../src/core/index.js';
import { MemoryGovernor, type PoolStats } from '../../../src/pool/index.js';
import { simulate, simulated } from '../../support/simulated-worker.js';

type Step =
  | {
      do: 'call';
      model: number;
      operation: 'echo' | 'once';
      input: number;
      timeoutMs: number;
      abort: number;
      isTry: boolean;
      priority: number;
    }
  | { do: 'advance'; ms: number }
  | { do: 'crash'; worker: number }
  | { do: 'evict'; model: number }
  | { do: 'warm'; model: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('call' as const),
      model: fc.nat(1),
      operation: fc.constantFrom('echo' as const, 'once' as const),
      input: fc.nat(9),
      timeoutMs: fc.constantFrom(1, 20, 100, 1_000, Number.POSITIVE_INFINITY),
      abort: fc.nat(5),
      isTry: fc.boolean(),
      priority: fc.nat(2),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('advance' as const), ms: fc.nat(120) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('crash' as const), worker: fc.nat(5) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('evict' as const), model: fc.nat(1) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('warm' as const), model: fc.nat(1) }) },
);

class BadInput extends Error {
  readonly fault = 'caller';
}

function expectBalanced(stats: PoolStats) {
  for (const model of Object.values(stats.models)) {
    for (const each of Object.values(model.operations)) {
      expect(each.accepted).toBe(each.succeeded + each.failed + each.expired + each.cancelled + each.pending);
      expect(each.pending).toBeGreaterThanOrEqual(0);
    }
  }
}

test('the ledger is exact at every quiet moment, whatever happens in whatever order', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 60 }),
      fc.constantFrom('close', 'destroy', 'wait'),
      async (steps, end) => {
        const clock = new SimulatedClock();
        const governor = new MemoryGovernor({ limitBytes: 3, clock });
        const { pool, workers } = simulate(
          clock,
          {
            loadMs: 30,
            loadError: (index) => (index % 5 === 3 ? new Error('load') : undefined),
            serviceMs: (input) => 10 * (input as number),
            answer: (input) => {
              if (input === 3) throw new Error('model');
              if (input === 4) throw new BadInput('caller');
              return input;
            },
          },
          { governor },
        );
        const options = simulated({
          costMb: 1e-6,
          concurrency: 2,
          maxWorkers: 2,
          queueLimit: 4,
          scaleUpAfterMs: 20,
          idleTimeoutMs: 200,
          memoryWaitMs: 50,
          backOffMs: 20,
          breaker: { failures: 3, windowMs: 500, openMs: 200, probes: 2 },
          coalesce: { echo: (input: unknown) => input },
        });
        const models = ['a', 'b'].map((key) => pool.register(key, options));
        const seen = { fulfilled: 0, rejected: 0, asked: 0 };
        for (const each of steps) {
          if (each.do === 'advance') await clock.advance(each.ms);
          else if (each.do === 'crash') workers[each.worker]?.crash();
          else if (each.do === 'evict') void pool.evict(each.model === 0 ? 'a' : 'b');
          else if (each.do === 'warm') pool.warm(each.model === 0 ? 'a' : 'b', 2).catch(() => {});
          else {
            seen.asked += 1;
            const abort = new AbortController();
            const model = models[each.model]!;
            const { timeoutMs } = each;
            const priority = (['interactive', 'normal', 'batch'] as const)[each.priority]!;
            const call = each.isTry ? model.tryCall : model.call;
            call(each.operation, each.input, { signal: abort.signal, timeoutMs, priority }).then(
              () => (seen.fulfilled += 1),
              () => (seen.rejected += 1),
            );
            if (each.abort === 0) clock.setTimer(() => abort.abort(new Error('abort')), 15);
          }
          expectBalanced(pool.stats());
        }
        if (end === 'close') void pool.close({ timeoutMs: 50 });
        else if (end === 'destroy') void pool.destroy();
        await clock.advance(200_000);
        const stats = pool.stats();
        expectBalanced(stats);
        expect(stats.pending).toBe(0);
        expect(stats.accepted + stats.refused).toBe(seen.asked);
        expect(stats.succeeded).toBe(seen.fulfilled);
        expect(stats.failed + stats.expired + stats.cancelled + stats.refused).toBe(seen.rejected);
        for (const model of Object.values(stats.models))
          expect([model.queued, model.waiting, model.inFlight]).toEqual([0, 0, 0]);
        expect(governor.heldBytes).toBe(0);
        expect(clock.pendingTimers).toBe(0);
      },
    ),
    { numRuns: 300 },
  );
});
