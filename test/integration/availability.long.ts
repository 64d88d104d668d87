/** A minute each. `MILLRACE_SEED` repeats a run. */
import { linux, testNeeding } from '../support/needs.js';
import { type AvailabilityPlan, requireAvailable, runAvailability } from './availability.js';

const seed = Number(process.env.MILLRACE_SEED ?? Date.now() % 2 ** 31);

async function runLong(plan: Pick<AvailabilityPlan, 'signal' | 'everyMs'>): Promise<void> {
  console.log(`availability: MILLRACE_SEED=${seed}`);
  const report = await runAvailability({ seed, seconds: 60, workers: 3, clients: 64, ...plan });
  const { models, ...stats } = report.stats;
  const { starts, crashes } = models.default ?? {};
  console.log(JSON.stringify({ ...report, stats: { ...stats, starts, crashes } }, undefined, 2));
  requireAvailable(report);
}

testNeeding(linux)(
  'a pool of three answers 99 % of the good calls of 64 clients while one of its workers is killed every 300 ms',
  () => runLong({ signal: 'SIGKILL', everyMs: 300 }),
  240_000,
);

testNeeding(linux)(
  'a pool of three answers 99 % of the good calls of 64 clients while one of its workers is stopped every five seconds',
  () => runLong({ signal: 'SIGSTOP', everyMs: 5_000 }),
  240_000,
);
