import { expect, it } from 'vitest';
import { ChannelWorld } from './channel-world.js';
import { runWorlds } from './world.js';

it('a channel loses nothing, doubles nothing and keeps its order, whatever is done to it', async () => {
  expect(await runWorlds(1_000, 160, (capacity) => new ChannelWorld(capacity))).toBeGreaterThan(100_000);
}, 60_000);
