import { test } from 'vitest';
import { runSchedules } from './schedules.js';

const seed = Number(process.env.MILLRACE_SEED ?? Date.now() % 2 ** 31);

test(`random schedules keep what the protocol promises (seed ${seed})`, async () => {
  await runSchedules(Number(process.env.MILLRACE_RUNS ?? 100), seed);
}, 120_000);
