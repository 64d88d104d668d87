import { test } from 'vitest';
import { runSchedules } from './schedules.js';

const seed = Number(process.env.MILLRACE_SEED ?? Date.now() % 2 ** 31);
const runs = Number(process.env.MILLRACE_RUNS ?? 150);

test(`random schedules keep what the protocol promises (seed ${seed})`, async () => {
  await runSchedules(runs, seed);
}, 60_000);
