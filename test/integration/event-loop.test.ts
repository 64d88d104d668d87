import { monitorEventLoopDelay } from 'node:perf_hooks';
import { expect, test } from 'vitest';
import { operation, spawnWorker } from '../../src/worker/index.js';
import { startIdleLoop } from './idle-loop.js';

test("spawnWorker({ host: 'process' }) keeps the caller's timers going while its model stalls", async () => {
  const worker = spawnWorker({
    host: 'process',
    operations: { stall: operation<number, number>() },
    module: new URL('./fixtures/stalling-model.mjs', import.meta.url),
  });
  try {
    await worker.call('stall', 0);
    const idle = startIdleLoop();
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    let ticks = 0;
    const timer = setInterval(() => ticks++, 5);
    const pid = await worker.call('stall', 600);
    clearInterval(timer);
    delay.disable();
    expect(pid).not.toBe(process.pid);
    const idleDelayMs = await idle.stop();
    // A loop that stood still with the model for 600 ms would have ticked once; a machine that is busy with other things keeps any loop waiting.
    expect(ticks).toBeGreaterThan(10);
    expect(delay.percentile(99) / 1e6).toBeLessThan(50 + 2 * idleDelayMs);
  } finally {
    await worker.close();
  }
});
