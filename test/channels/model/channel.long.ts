import { expect, it } from 'vitest';
import { ChannelWorld } from './channel-world.js';
import { runWorlds } from './world.js';

it('a channel loses nothing, doubles nothing and keeps its order, over millions of commands', async () => {
  expect(await runWorlds(12_000, 500, (capacity) => new ChannelWorld(capacity))).toBeGreaterThan(3_000_000);
}, 1_800_000);
