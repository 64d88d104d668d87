import type { JetStream } from '../jetstream.js';
import { markComplete } from './completion.js';
import { indexOf, type ServiceNames } from './names.js';
import { type RunRecords, type RunState, stateOf } from './run-record.js';
import { scanResults } from './scan-results.js';

/** How a run is: `submitted = succeeded + failed + dead + waiting + running`, of a cancelled one `+ dropped`. */
export interface BulkStatus {
  readonly id: string;
  readonly state: RunState;
  readonly createdAt: string;
  /** How many jobs are stored. */
  readonly submitted: number;
  readonly succeeded: number;
  /** By a fault of their input; not tried again. */
  readonly failed: number;
  /** Tried three times in vain. */
  readonly dead: number;
  /** Held by workers. */
  readonly running: number;
  readonly waiting: number;
  /** Without a result, of a cancelled run. */
  readonly dropped: number;
  /** Jobs that were in the queue although they had a result, as a server leaves them that was killed; they are removed. */
  readonly ghosts: number;
  /** Indices of waiting jobs that are not in the queue, as after a power failure; the same `submit` does not bring them back, `requeue` does. */
  readonly lost: readonly number[];
  /** What the results are made with. */
  readonly identity: unknown;
}

/** Counts a run, from its results and from its queue, and removes ghosts. */
export async function statusOfRun(
  js: JetStream,
  names: ServiceNames,
  records: RunRecords,
  run: string,
): Promise<BulkStatus> {
  await records.get(run);
  await markComplete(js, names, records, run);
  // In this order a job is in the queue, in the results, or in both: never in none while a worker passes it on.
  const record = await records.get(run);
  const queued = new Set((await js.subjects(names.jobs, names.job(run, '*'))).map(indexOf));
  const consumer = await js.ask<{ num_ack_pending: number }>(
    `look at run ${run}`,
    `CONSUMER.INFO.${names.jobs}.${names.consumer(run)}`,
  );
  const outcomes = await scanResults(js, names, run);
  const counts = { ok: 0, failed: 0, dead: 0 };
  for (const outcome of outcomes.values()) counts[outcome] += 1;

  const state = stateOf(record);
  // While it is submitted, jobs that are not confirmed yet may have results.
  const submitted = Math.max(record.submitted, outcomes.size);
  const left = submitted - outcomes.size;
  const isCancelled = state === 'cancelled';
  const running = isCancelled ? 0 : Math.min(left, consumer?.num_ack_pending ?? 0);
  const lost: number[] = [];
  if (!isCancelled) {
    for (let index = 0; index < record.submitted; index++) {
      if (!outcomes.has(index) && !queued.has(index)) lost.push(index);
    }
  }
  const doubled = [...queued].filter((index) => outcomes.has(index));
  return {
    id: run,
    state,
    createdAt: record.createdAt,
    submitted,
    succeeded: counts.ok,
    failed: counts.failed,
    dead: counts.dead,
    running,
    waiting: isCancelled ? 0 : left - running,
    dropped: isCancelled ? left : 0,
    ghosts: await removeGhosts(js, names, run, doubled),
    lost,
    identity: record.identity?.value,
  };
}

/** How long a worker may take between the result of a job and its acknowledgement, in ms. */
const SETTLE_MS = 1_000;

/** Removes jobs that have a result and are in the queue for longer than a worker needs to acknowledge one. @returns How many. */
async function removeGhosts(
  js: JetStream,
  names: ServiceNames,
  run: string,
  doubled: readonly number[],
): Promise<number> {
  if (doubled.length === 0) return 0;
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  const still = new Set((await js.subjects(names.jobs, names.job(run, '*'))).map(indexOf));
  const ghosts = doubled.filter((index) => still.has(index));
  let removed = 0;
  for (const index of ghosts) removed += await js.purge(names.jobs, names.job(run, index));
  return removed;
}
