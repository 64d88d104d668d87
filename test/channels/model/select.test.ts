import { expect, it } from 'vitest';
import { SelectWorld } from './select-world.js';
import { runWorlds } from './world.js';

it('selects over arms of every kind lose nothing, double nothing and all settle', async () => {
  expect(await runWorlds(300, 120, () => new SelectWorld())).toBeGreaterThan(20_000);
}, 60_000);
