import { monitorEventLoopDelay } from 'node:perf_hooks';
import { expect, test } from 'vitest';
import { operation, spawnWorker } from '../../src/worker/index.js';

test("spawnWorker({ host: 'process' }) keeps the caller's timers going while its model stalls", async () => {
  const worker = spawnWorker({
    host: 'process',
    operations: { stall: operation<number, number>() },
    module: new URL('./fixtures/stalling-model.mjs', import.meta.url),
  });
  try {
    await worker.call('stall', 0);
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    let ticks = 0;
    const timer = setInterval(() => ticks++, 5);
    const pid = await worker.call('stall', 600);
    clearInterval(timer);
    delay.disable();
    expect(pid).not.toBe(process.pid);
    expect(ticks).toBeGreaterThan(50);
    // The model stood still for 600 ms; the slack is for a machine that is busy with other things.
    expect(delay.percentile(99) / 1e6).toBeLessThan(50);
  } finally {
    await worker.close();
  }
});
