import { test } from 'vitest';
import { runSchedules } from './schedules.js';

const seed = Number(process.env.MILLRACE_SEED ?? Date.now() % 2 ** 31);
const runs = Number(process.env.MILLRACE_RUNS ?? 100_000);

test(
  `${runs} random schedules keep what the protocol promises (seed ${seed})`,
  async () => {
    await runSchedules(runs, seed);
  },
  6 * 3_600_000,
);
