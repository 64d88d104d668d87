import { expect, test } from 'vitest';
import { runChaos } from './chaos.js';

test('workers, replaced as they die, answer every call exactly once under signals, exits and errors (10,000 calls)', async () => {
  const seed = Number(process.env.MILLRACE_SEED ?? Date.now() % 2 ** 31);
  console.log(`chaos: MILLRACE_SEED=${seed}`);
  const start = performance.now();
  const onProgress = (settled: number): void =>
    console.log(`${settled} answered after ${Math.round((performance.now() - start) / 1_000)} s`);
  const outcomes = await runChaos({ seed, workers: 4, clients: 64, calls: 10_000, callsPerSignal: 100, onProgress });
  console.log(Object.fromEntries(outcomes));
  expect(outcomes.get('value')).toBeGreaterThan(5_000);
}, 1_800_000);
