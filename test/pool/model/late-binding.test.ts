/**
 * Late binding against the ideal: 4 workers at 80 % load, a window of 1, service times with a coefficient of variation of 2. The same arrivals and
 * service times go through the pool, through one shared queue, and through queues bound at once by power of two choices.
 */
import { expect, test } from 'vitest';
import { powerOfTwoChoices } from '../../../src/pool/index.js';
import { seeded } from '../../seeded.js';
import { simulateModel } from '../../support/simulated-worker.js';

const WORKERS = 4;
const LOAD = 0.8;
const REQUESTS = 20_000;
const MEAN_MS = 100;

interface Arrival {
  readonly at: number;
  readonly serviceMs: number;
}

// Exponential gaps; service times of two exponential phases with balanced means, which gives the coefficient of variation exactly.
function arrivals(seed: number): Arrival[] {
  const random = seeded(seed);
  const exponential = (mean: number) => -mean * Math.log(1 - random());
  const squared = 4;
  const share = (1 + Math.sqrt((squared - 1) / (squared + 1))) / 2;
  let at = 0;
  return Array.from({ length: REQUESTS }, () => {
    at += exponential(MEAN_MS / (WORKERS * LOAD));
    const phase = random() < share ? share : 1 - share;
    return { at, serviceMs: exponential(MEAN_MS / (2 * phase)) };
  });
}

const p99 = (waits: number[]) => waits.sort((a, b) => a - b)[Math.floor(waits.length * 0.99)] as number;

function sharedQueue(list: readonly Arrival[]): number {
  const freeAt = new Array<number>(WORKERS).fill(0);
  return p99(
    list.map(({ at, serviceMs }) => {
      const worker = freeAt.indexOf(Math.min(...freeAt));
      const start = Math.max(at, freeAt[worker] as number);
      freeAt[worker] = start + serviceMs;
      return start - at;
    }),
  );
}

function boundAtOnce(list: readonly Arrival[], random: () => number): number {
  const route = powerOfTwoChoices(random);
  const ends = Array.from({ length: WORKERS }, () => [] as number[]);
  return p99(
    list.map(({ at, serviceMs }) => {
      const candidates = ends.map((queue, index) => {
        while (queue.length > 0 && (queue[0] as number) <= at) queue.shift();
        return {
          id: String(index),
          pending: queue.length,
          pendingCost: queue.length,
          window: Number.POSITIVE_INFINITY,
        };
      });
      const queue = ends[Number(route(candidates).id)] as number[];
      const start = Math.max(at, queue.at(-1) ?? 0);
      queue.push(start + serviceMs);
      return start - at;
    }),
  );
}

async function throughPool(list: readonly Arrival[]): Promise<number> {
  const { clock, model } = simulateModel(
    { serviceMs: (input) => input as number },
    { minWorkers: WORKERS, maxWorkers: WORKERS, breaker: false },
  );
  await clock.advance(0);
  const waits: number[] = [];
  for (const { at, serviceMs } of list) {
    await clock.advance(at - clock.now());
    void model.callDetailed('echo', serviceMs).then(({ info }) => waits.push(info.queuedMs));
  }
  await clock.advance(1_000_000);
  expect(waits).toHaveLength(REQUESTS);
  return p99(waits);
}

test('late binding: the 99th percentile of waiting is within 1.2 times that of one shared queue', async () => {
  const list = arrivals(1);
  const ideal = sharedQueue(list);
  const bound = boundAtOnce(list, seeded(2));
  const pooled = await throughPool(list);
  expect(pooled / ideal).toBeLessThanOrEqual(1.2);
  expect(bound / ideal).toBeGreaterThan(1.4);
});
