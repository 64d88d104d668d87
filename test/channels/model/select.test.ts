import { expect, it } from 'vitest';
import { runSelectModel } from './select-world.js';

it('selects over arms of every kind lose nothing, double nothing and all settle', async () => {
  expect(await runSelectModel(300, 120)).toBeGreaterThan(20_000);
}, 60_000);
