import { expect, it } from 'vitest';
import { SelectWorld } from './select-world.js';
import { runWorlds } from './world.js';

it('selects over arms of every kind lose nothing, double nothing and all settle, over millions of commands', async () => {
  expect(await runWorlds(8_000, 400, () => new SelectWorld())).toBeGreaterThan(2_000_000);
}, 1_800_000);
