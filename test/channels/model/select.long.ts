import { expect, it } from 'vitest';
import { runSelectModel } from './select-world.js';

it('selects over arms of every kind lose nothing, double nothing and all settle, over millions of commands', async () => {
  expect(await runSelectModel(8_000, 400)).toBeGreaterThan(2_000_000);
}, 1_800_000);
