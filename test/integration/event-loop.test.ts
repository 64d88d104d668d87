import { expect, test } from 'vitest';
import { operation, spawnWorker } from '../../src/worker/index.js';
import { startLoopLateness } from './loop-lateness.js';

test("spawnWorker({ host: 'process' }) keeps the caller's timers going while its model stalls", async () => {
  const worker = spawnWorker({
    host: 'process',
    operations: { stall: operation<number, number>() },
    module: new URL('./fixtures/stalling-model.mjs', import.meta.url),
  });
  try {
    await worker.call('stall', 0);
    const loop = startLoopLateness();
    const pid = await worker.call('stall', 600);
    const { ticks, longestMs } = loop.stop();
    // A loop that stood still with the model for 600 ms would have ticked once or twice.
    expect(ticks).toBeGreaterThan(10);
    expect(longestMs).toBeLessThan(200);
    expect(pid).not.toBe(process.pid);
  } finally {
    await worker.close();
  }
});
