import type { JetStream } from '../jetstream.js';
import type { ServiceNames } from './names.js';
import type { RunRecords } from './run-record.js';
import { NANOSECONDS_PER_MS } from './streams.js';

/** How many jobs of a run have a result. */
export async function countResults(js: JetStream, names: ServiceNames, run: string): Promise<number> {
  // A consumer that is never pulled from: the server counts what it would deliver.
  const made = await js.ask<{ name: string; num_pending: number }>(
    `count the results of run ${run}`,
    `CONSUMER.CREATE.${names.results}`,
    {
      stream_name: names.results,
      config: {
        filter_subject: names.result(run, '*'),
        deliver_policy: 'all',
        ack_policy: 'none',
        mem_storage: true,
        inactive_threshold: 10_000 * NANOSECONDS_PER_MS,
      },
    },
  );
  if (made === undefined) return 0;
  await js.ask(`count the results of run ${run}`, `CONSUMER.DELETE.${names.results}.${made.name}`);
  return made.num_pending;
}

/** Marks a run as complete if each of its jobs has a result. @returns Whether it is. */
export async function markComplete(
  js: JetStream,
  names: ServiceNames,
  records: RunRecords,
  run: string,
): Promise<boolean> {
  const record = await records.find(run);
  if (record === undefined || record.isCancelled) return false;
  if (record.isComplete) return true;
  if (!record.isSubmitted || (await countResults(js, names, run)) < record.submitted) return false;
  await records.update(run, (before) => (before.isComplete ? undefined : { ...before, isComplete: true }));
  return true;
}
