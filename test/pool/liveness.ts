/**
 * While a request waits, a worker is there, is coming, or is due: over random orders of calls, expiries, aborts, evictions, failures and shortages of
 * memory, on a simulated clock.
 */
import diagnostics from 'node:diagnostics_channel';
import fc from 'fast-check';
import { expect } from 'vitest';
import { SimulatedClock } from '../../src/core/index.js';
import { MemoryGovernor, type MemoryGuard, type Pool } from '../../src/pool/index.js';
import { operation } from '../../src/worker/index.js';
import { type Behaviour, simulate } from '../support/simulated-worker.js';

const operations = {
  echo: operation<number, unknown>({ capacity: 2, idempotent: true }),
  once: operation<number, unknown>({ capacity: 3 }),
};

const small = fc.nat({ max: 3 });
const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('call' as const),
      operation: fc.constantFrom('echo' as const, 'once' as const),
      input: small,
      timeoutMs: fc.constantFrom(undefined, undefined, 0, 1e-300, 1, 5, 30, 150),
      priority: fc.constantFrom('interactive' as const, 'normal' as const, 'batch' as const),
      abortMs: fc.option(fc.constantFrom(0, 1, 20)),
      isTry: fc.boolean(),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant('advance' as const), ms: fc.constantFrom(0, 1, 9, 25, 120, 400) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('end' as const),
      by: fc.constantFrom('crash' as const, 'retire' as const),
      worker: fc.nat(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('evict' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('warm' as const), count: fc.integer({ min: 1, max: 3 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('failing loads' as const), are: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('squeeze' as const), bytes: small }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('call from a listener' as const) }) },
);

const settings = fc.record({
  minWorkers: fc.constantFrom(0, 0, 1),
  maxWorkers: fc.constantFrom(1, 2, 3),
  concurrency: fc.constantFrom(1, 2),
  loadMs: fc.constantFrom(undefined, 0, 30),
  queueLimit: fc.constantFrom(undefined, 3),
  refuseEarly: fc.boolean(),
  isShared: fc.boolean(),
});

/** Where something waits, a worker lives or starts, or is due after a failure that `health()` tells of. */
function expectCare(pool: Pool): void {
  const model = pool.health().models.m!;
  if (model.queued + model.waiting === 0) return;
  const { spawning = 0, loading = 0, ready = 0, processing = 0, idle = 0 } = model.workers;
  if (spawning + loading + ready + processing + idle > 0) return;
  expect(model.status).toBe('unhealthy');
}

/** Runs the property. */
export async function runLiveness(numRuns: number): Promise<void> {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), settings, async (steps, { loadMs, isShared, ...options }) => {
      const clock = new SimulatedClock();
      const governor = new MemoryGovernor({ limitBytes: 3, clock });
      let areLoadsFailing = false;
      const behaviour: Behaviour = {
        ...(loadMs === undefined ? {} : { loadMs }),
        loadError: () => (areLoadsFailing ? new Error('load') : undefined),
        serviceMs: (input) => 10 * (input as number),
      };
      const { pool, workers } = simulate(clock, behaviour, { governor });
      const { queueLimit, ...rest } = options;
      const model = pool.register('m', {
        ...rest,
        ...(queueLimit === undefined ? {} : { queueLimit }),
        ...(isShared ? { coalesce: { echo: (input: number) => input } } : {}),
        operations,
        module: 'simulated',
        timeoutMs: Number.POSITIVE_INFINITY,
        costMb: 1e-6,
        memoryWaitMs: 50,
        scaleUpAfterMs: 20,
        idleTimeoutMs: 60,
        backOffMs: 20,
        breaker: false,
      });
      const unheard = () => {};
      let squeezed: MemoryGuard | undefined;
      for (const each of steps) {
        if (each.do === 'advance') await clock.advance(each.ms);
        else if (each.do === 'end') workers[each.worker % workers.length]?.[each.by]();
        else if (each.do === 'evict') pool.evict('m').catch(unheard);
        else if (each.do === 'warm') pool.warm('m', each.count).catch(unheard);
        else if (each.do === 'failing loads') areLoadsFailing = each.are;
        else if (each.do === 'squeeze') {
          squeezed?.[Symbol.dispose]();
          squeezed = each.bytes === 0 ? undefined : governor.tryAcquire('other', each.bytes);
        } else if (each.do === 'call from a listener') {
          // Once, from amid the settling of another call.
          const listener = () => {
            diagnostics.unsubscribe('millrace:pool:settle', listener);
            model.call('once', 1, { timeoutMs: 150 }).catch(unheard);
          };
          diagnostics.subscribe('millrace:pool:settle', listener);
          clock.setTimer(() => diagnostics.unsubscribe('millrace:pool:settle', listener), 50);
        } else {
          const abort = new AbortController();
          const call = each.isTry ? model.tryCall : model.call;
          const { timeoutMs, priority } = each;
          call(each.operation, each.input, { signal: abort.signal, timeoutMs, priority }).catch(unheard);
          if (each.abortMs === 0) abort.abort(new Error('abort'));
          else if (each.abortMs !== null) clock.setTimer(() => abort.abort(new Error('abort')), each.abortMs);
        }
        // Ends are told of by promises.
        await clock.advance(0);
        expectCare(pool);
      }
      // Nothing fails any more: whatever comes now is answered, also while others keep the queue from ever being empty.
      areLoadsFailing = false;
      squeezed?.[Symbol.dispose]();
      await clock.advance(70_000);
      const last = ['a', 'b', 'c'].map((_, index) => model.call('echo', index).catch((error: unknown) => error));
      await clock.advance(2_000);
      expect(await Promise.race([Promise.all(last), clockedOut()])).toEqual([0, 1, 2]);
      expect(pool.stats()).toMatchObject({ pending: 0, models: { m: { queued: 0, waiting: 0, inFlight: 0 } } });
      const closed = pool.close();
      await clock.advance(10_000);
      await closed;
      expect(governor.heldBytes).toBe(0);
      expect(clock.pendingTimers).toBe(0);
    }),
    { numRuns },
  );
}

async function clockedOut(): Promise<string> {
  await new Promise((resolve) => setImmediate(resolve));
  return 'not answered';
}
