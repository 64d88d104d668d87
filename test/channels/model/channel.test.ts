import { expect, it } from 'vitest';
import { runModel } from './run-model.js';

it('a channel loses nothing, doubles nothing and keeps its order, whatever is done to it', async () => {
  expect(await runModel(1_000, 160)).toBeGreaterThan(100_000);
}, 60_000);
