import type { Fleet } from '../model/fleet.js';
import type { WorkerSlot } from '../model/worker-slot.js';
import { BATCH_BOUNDS, Histogram } from './histogram.js';

/**
 * How often a model has run batches of which size since it was loaded. A model that gathers batches tells it by a `batchSizes` in what its `health()`
 * answers with: `{ batchSizes: { 1: 12, 16: 40 } }`. The pool asks at each scrape and keeps what workers that are gone had told.
 */
export type BatchSizes = Readonly<Record<string, number>>;

const ASK_MS = 500;

/** Reads the batch sizes out of what a model's `health()` answered with, if they are there. */
export function batchSizesIn(health: unknown): BatchSizes | undefined {
  const sizes = (health as { batchSizes?: unknown } | null | undefined)?.batchSizes;
  if (typeof sizes !== 'object' || sizes === null) return undefined;
  for (const [size, count] of Object.entries(sizes)) {
    if (!(Number(size) > 0) || !Number.isSafeInteger(count) || count < 0) return undefined;
  }
  return sizes as BatchSizes;
}

const asking = new WeakMap<WorkerSlot, Promise<void>>();

// Scrapes that come while a worker is asked share the question: a worker that is long in native code is not asked again and again.
function askForBatchSizes(slot: WorkerSlot): Promise<void> {
  let answer = asking.get(slot);
  if (answer === undefined) {
    answer = slot.handle.ping({ timeoutMs: ASK_MS }).then(
      ({ model }) => {
        slot.batchSizes = batchSizesIn(model) ?? slot.batchSizes;
      },
      // Busy in native code, or on its way out: what it told last stands.
      () => {},
    );
    asking.set(slot, answer);
    void answer.then(() => asking.delete(slot));
  }
  return answer;
}

/** Asks a model's workers for their batch sizes, and adds up what all of them ever told. */
export async function gatherBatchSizes(fleet: Fleet): Promise<Histogram> {
  await Promise.all(fleet.slots.inState('accepting').map(askForBatchSizes));
  const histogram = new Histogram(BATCH_BOUNDS);
  for (const sizes of [fleet.retiredBatchSizes, ...fleet.slots.toArray().map((slot) => slot.batchSizes)]) {
    for (const [size, count] of Object.entries(sizes)) histogram.observe(Number(size), count);
  }
  return histogram;
}

/** The sum of two. */
export function addBatchSizes(one: BatchSizes, other: BatchSizes): BatchSizes {
  const sum: Record<string, number> = { ...one };
  for (const [size, count] of Object.entries(other)) sum[size] = (sum[size] ?? 0) + count;
  return sum;
}
