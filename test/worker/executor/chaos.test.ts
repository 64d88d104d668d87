import { expect, test } from 'vitest';
import { runChaos } from './chaos.js';

test('workers, replaced as they die, answer every call exactly once under signals, exits and errors (short)', async () => {
  const outcomes = await runChaos({ seed: 7, workers: 4, clients: 16, calls: 400, callsPerSignal: 50 });
  expect(outcomes.get('value')).toBeGreaterThan(200);
}, 240_000);
