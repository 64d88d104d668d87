import { expect, it } from 'vitest';
import { runModel } from './run-model.js';

it('a channel loses nothing, doubles nothing and keeps its order, over millions of commands', async () => {
  expect(await runModel(12_000, 500)).toBeGreaterThan(3_000_000);
}, 1_800_000);
