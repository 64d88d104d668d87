import { readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { INPUT_FD, OUTPUT_FD, WATCHDOG_FD } from '../../../src/worker/host/progress-board.js';
import { operation, spawnWorker } from '../../../src/worker/index.js';
import { isAlive } from './spawn-test-worker.js';

const operations = {
  pid: operation<undefined, number>({ idempotent: true }),
  close: operation<number, never>(),
  write: operation<[number, Uint8Array], never>(),
  answerAndExit: operation<undefined, string>(),
};
const module = new URL('../fixtures/pid-model.mjs', import.meta.url);

/** How many threads of a process there are: the last of them closes its descriptors. Linux tells. */
function threadsOf(pid: number): number {
  try {
    return readdirSync(`/proc/${pid}/task`).length;
  } catch {
    return 0;
  }
}

test.each([
  ["parent's messages", INPUT_FD],
  ['own messages', OUTPUT_FD],
  ['watchdog', WATCHDOG_FD],
])(
  'a process worker whose model has closed the descriptor of its %s is killed and replaced',
  async (_, descriptor) => {
    await using worker = spawnWorker({ operations, module, stdio: 'ignore' });
    const pid = await worker.call('pid', undefined);
    await expect(worker.call('close', descriptor)).rejects.toMatchObject({ code: 'ERR_WORKER_CRASHED' });
    expect(worker.state.current).toBe('failed');
    expect(isAlive(pid)).toBe(false);
  },
  60_000,
);

test.each([
  ['text', Buffer.from('warning: a library that prints where it should not')],
  ['zeros', new Uint8Array(4_096)],
  ['what looks like a large number of segments', Buffer.from('016d726c00000000ffffffff', 'hex')],
])(
  'a process worker whose model writes %s among its own messages is killed, and its parent lives',
  async (_, bytes) => {
    await using worker = spawnWorker({ operations, module, stdio: 'ignore' });
    const pid = await worker.call('pid', undefined);
    await expect(worker.call('write', [OUTPUT_FD, bytes])).rejects.toMatchObject({ code: 'ERR_WORKER_CRASHED' });
    expect(worker.state.current).toBe('failed');
    expect(isAlive(pid)).toBe(false);
  },
  60_000,
);

test('WorkerHandle.call() has the answer of a process that has exited since, also where a message to that process has failed first', async () => {
  await using worker = spawnWorker({ operations, module, stdio: 'ignore', concurrency: 2 });
  const pid = await worker.call('pid', undefined);
  const answer = worker.call('answerAndExit', undefined);
  // What the process says meanwhile is not read before this ends.
  const end = performance.now() + 20_000;
  while (isAlive(pid) || threadsOf(pid) > 1) if (performance.now() > end) expect.unreachable();
  const next = worker.call('pid', undefined);
  next.catch(() => {});
  expect(await answer).toBe('last words');
  await expect(next).rejects.toMatchObject({ code: 'ERR_WORKER_CRASHED' });
  expect(worker.stats()).toMatchObject({ failed: 1, succeeded: 2 });
}, 60_000);
