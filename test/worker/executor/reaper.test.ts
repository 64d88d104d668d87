import { afterEach, expect, test, vi } from 'vitest';
import { reaper } from '../../../src/worker/executor/reaper.js';
import { operation, spawnWorker } from '../../../src/worker/index.js';

const operations = { pid: operation<undefined, number>(), leaveBehind: operation<undefined, number>() };
const module = new URL('../fixtures/pid-model.mjs', import.meta.url);

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

test.runIf(process.platform !== 'win32')(
  'Reaper.delete() is told of a child that is dead, though what it wrote to stderr has not ended',
  { timeout: 60_000 },
  async () => {
    await using worker = spawnWorker({ operations, module, stdio: 'ignore' });
    const pid = await worker.call('pid', undefined);
    const leftBehind = await worker.call('leaveBehind', undefined);
    try {
      const told = new Promise((resolve) => {
        vi.spyOn(reaper, 'delete').mockImplementationOnce((dead) => resolve(dead));
      });
      // What waits for the end of stderr waits for ever.
      vi.useFakeTimers({ toFake: ['setTimeout'] });
      process.kill(pid, 'SIGKILL');
      expect(await told).toBe(pid);
    } finally {
      vi.advanceTimersByTime(1_000);
      vi.useRealTimers();
      process.kill(leftBehind, 'SIGKILL');
    }
  },
);
