import type { JetStream } from '../jetstream.js';
import { readBody } from './body.js';
import { indexOf, type ServiceNames } from './names.js';
import { storePatiently } from './patient-store.js';
import type { RunRecords } from './run-record.js';

/**
 * Queues the dead jobs of a run again. Each is done in an order that lets it be killed anywhere and run again: the kept copy of the job goes last.
 *
 * @returns How many are queued again.
 */
export async function retryDead(js: JetStream, names: ServiceNames, records: RunRecords, run: string): Promise<number> {
  const kept = (await js.subjects(names.notes, names.dead(run, '*'))).map(indexOf).sort((a, b) => a - b);
  if (kept.length === 0) return 0;
  await records.update(run, (before) => (before.isComplete ? { ...before, isComplete: false } : undefined));
  let queued = 0;
  for (const index of kept) {
    const job = await js.last(names.notes, names.dead(run, index));
    if (job === undefined) continue;
    const result = await js.last(names.results, names.result(run, index));
    const outcome = result === undefined ? undefined : readBody(result.data).head.outcome;
    // An earlier call may have been killed after it queued this one, which has succeeded since.
    if (outcome === undefined || outcome === 'dead') {
      await js.purge(names.notes, names.attempts(run, index));
      await js.purge(names.results, names.result(run, index));
      await storePatiently(js, names.job(run, index), job.data);
      queued += 1;
    }
    await js.purge(names.notes, names.dead(run, index));
  }
  return queued;
}
