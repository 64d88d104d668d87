import { expect, test } from 'vitest';
import { LINK_FD, WATCHDOG_FD } from '../../../src/worker/hosts/descriptors.js';
import { operation, spawnWorker } from '../../../src/worker/index.js';

const operations = { pid: operation<undefined, number>(), close: operation<number, never>() };
const module = new URL('../fixtures/pid-model.mjs', import.meta.url);

test.each([
  ['link', LINK_FD],
  ['watchdog', WATCHDOG_FD],
])(
  'a process worker whose model has closed the descriptor of its %s is killed and replaced',
  async (_, descriptor) => {
    await using worker = spawnWorker({ operations, module, stdio: 'ignore' });
    const pid = await worker.call('pid', undefined);
    await expect(worker.call('close', descriptor)).rejects.toMatchObject({ code: 'ERR_WORKER_CRASHED' });
    expect(await worker.call('pid', undefined)).not.toBe(pid);
  },
  60_000,
);
