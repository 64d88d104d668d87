/**
 * Three times more load than the workers can take, each call with a deadline of 50 ms: how much of the capacity comes out as answers in time.
 * The capacity is what the same workers answer without deadlines, measured before and after: the machine may have other things to do in between.
 */
import { createPool } from 'millrace/pool';
import { operation } from 'millrace/worker';

const WORKERS = 4;
const SERVICE_MS = 5;
const DEADLINE_MS = 50;

/** What came of it. */
export interface OverloadReport {
  /** The mean of what was measured before and after, in answers per second. */
  readonly capacity: number;
  readonly capacities: readonly [before: number, after: number];
  /** What the workers could have answered during the overload, had they never been without work and never too late: by their mean time then. */
  readonly capacityMeanwhile: number;
  /** The median and the 99th percentile of the time inside a worker, under overload: what they exceed 5 ms by is the machine's noise. */
  readonly serviceP50Ms: number;
  readonly serviceP99Ms: number;
  /** The share of the runs that took longer than the deadline inside the worker, where no scheduling could have helped. */
  readonly tooLong: number;
  readonly offered: number;
  readonly goodput: number;
  /** Answers that came as successes after their deadline, by the caller's own clock. */
  readonly late: number;
  readonly p99Ms: number;
  readonly heapGrowth: number;
}

/** Offers three times the capacity for a while. */
export async function overload(seconds: number): Promise<OverloadReport> {
  const services: number[] = [];
  const pool = createPool();
  const model = pool.register('m', {
    operations: { work: operation<number, number>({ capacity: 64 }) },
    load: () => ({
      work: async (value: number) => {
        const start = performance.now();
        await new Promise((resolve) => setTimeout(resolve, SERVICE_MS));
        services.push(performance.now() - start);
        return value;
      },
    }),
    minWorkers: WORKERS,
    maxWorkers: WORKERS,
    refuseEarly: true,
    breaker: false,
  });
  await pool.warm('m', WORKERS);
  const capacity = await saturate(model, Math.min(3, seconds));

  const latencies: number[] = [];
  let late = 0;
  let offered = 0;
  const once = (): void => {
    offered += 1;
    const start = performance.now();
    model.call('work', offered, { timeoutMs: DEADLINE_MS }).then(
      () => {
        const ms = performance.now() - start;
        latencies.push(ms);
        // The answer was made in time; the caller hears of it some microtasks later.
        if (ms > DEADLINE_MS + 1) late += 1;
      },
      () => {},
    );
  };
  const heapAfter = async (period: number): Promise<number> => {
    const start = performance.now();
    const end = start + period * 1_000;
    const before = offered;
    for (let now = start; now < end; now = performance.now()) {
      const due = before + ((now - start) / 1_000) * capacity * 3;
      while (offered < due) once();
      await new Promise((resolve) => setImmediate(resolve));
    }
    (globalThis as { gc?: () => void }).gc?.();
    return process.memoryUsage().heapUsed;
  };
  const warm = await heapAfter(seconds * 0.1);
  const [offeredBefore, answeredBefore, servedBefore] = [offered, latencies.length, services.length];
  const start = performance.now();
  const end = await heapAfter(seconds);
  const elapsed = (performance.now() - start) / 1_000;
  const measured = latencies.slice(answeredBefore);
  const served = services.slice(servedBefore);
  const offeredPerSecond = (offered - offeredBefore) / elapsed;
  const after = await saturate(model, Math.min(3, seconds));
  await pool.close();
  return {
    capacity: (capacity + after) / 2,
    capacities: [capacity, after],
    capacityMeanwhile: (WORKERS * 1_000 * served.length) / served.reduce((sum, ms) => sum + ms, 0),
    tooLong: served.filter((ms) => ms > DEADLINE_MS).length / served.length,
    serviceP50Ms: quantile(served, 0.5),
    serviceP99Ms: quantile(served, 0.99),
    offered: offeredPerSecond,
    goodput: measured.length / elapsed,
    late,
    p99Ms: quantile(measured, 0.99),
    heapGrowth: end - warm,
  };
}

function quantile(values: readonly number[], share: number): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length * share)] ?? Number.NaN;
}

// What the workers do when they are never out of work, with the event loop as busy as under overload.
async function saturate(
  model: { call(operation: 'work', input: number): Promise<number> },
  seconds: number,
): Promise<number> {
  let answered = 0;
  const end = performance.now() + seconds * 1_000;
  const client = async (): Promise<void> => {
    while (performance.now() < end) {
      await model.call('work', 0);
      answered += 1;
    }
  };
  let running = true;
  const spin = async (): Promise<void> => {
    while (running) await new Promise((resolve) => setImmediate(resolve));
  };
  const spinning = spin();
  await Promise.all(Array.from({ length: WORKERS * 4 }, client));
  running = false;
  await spinning;
  return answered / seconds;
}
