/** What an operation's queue holds, when the code that callers and loops bring along does not keep to its part. */
import { expect, test } from 'vitest';
import { createWorkerChannels } from '../../../src/worker/channels.js';
import { runWorker } from '../../../src/worker/loop.js';
import { operation } from '../../../src/worker/operation.js';
import { settled } from '../../support/settlement.js';

interface Sized {
  readonly size: unknown;
}

/** A worker whose inputs say themselves how large they are. */
function sized(items: number, bytes: number) {
  const sizeOf = (input: Sized): number => input.size as number;
  return createWorkerChannels({ work: operation<Sized, string>({ capacity: { items, bytes }, sizeOf }) });
}

test.each([
  ['NaN', Number.NaN, RangeError],
  ['-1', -1, RangeError],
  ["'12'", '12', TypeError],
  ['undefined', undefined, TypeError],
  ['null', null, TypeError],
  ['5n', 5n, TypeError],
])('OperationOptions.sizeOf that answers %s rejects that call only', async (shown, size, type) => {
  const { handle, channels } = sized(4, 10);
  runWorker({ work: () => 'done' }, channels);
  const refused = await settled(handle.call('work', { size }));
  expect(refused.error).toBeInstanceOf(type);
  expect(refused.error).toHaveProperty(
    'message',
    `Cannot call work: sizeOf must answer a non-negative number of bytes, received ${shown}`,
  );
  expect(await handle.call('work', { size: 10 })).toBe('done');
  expect(handle.stats()).toMatchObject({ accepted: 1, succeeded: 1, refused: 1, waiting: 0 });
  await handle.close();
});

test('OperationOptions.sizeOf may answer fractions: what they add up to leaves no rest', async () => {
  const { handle, channels } = sized(4, 1);
  const calls = [0.1, 0.2, 0.3].map((size) => settled(handle.call('work', { size })));
  for (const call of calls) {
    (await channels.operations.work.recv()).value?.reply.send('done');
    expect(await call).toEqual({ value: 'done' });
  }
  const last = settled(handle.tryCall('work', { size: 1 }));
  expect(handle.stats()).toMatchObject({ accepted: 4, refused: 0 });
  channels.finish();
  await last;
});

test.each(['close', 'destroy'] as const)('OperationOptions.sizeOf that calls %s() is answered with it', async (end) => {
  const worker = sized(1, 10);
  const input = {
    get size(): number {
      void worker.handle[end]();
      return 1;
    },
  };
  const first = settled(worker.handle.call('work', { size: 1 }));
  const { error } = await settled(worker.handle.call('work', input));
  expect(error).toMatchObject({ code: 'ERR_WORKER_CLOSED' });
  expect(worker.handle.stats()).toMatchObject({ accepted: 1, refused: 1, waiting: 0 });
  await worker.handle.destroy();
  await first;
});

test('OperationOptions.sizeOf that aborts its own call is answered with the reason', async () => {
  const { handle } = sized(1, 10);
  const controller = new AbortController();
  const input = {
    get size(): number {
      controller.abort('never mind');
      return 1;
    },
  };
  expect(await settled(handle.call('work', input, { signal: controller.signal }))).toEqual({ error: 'never mind' });
  expect(handle.stats()).toMatchObject({ accepted: 0, refused: 1 });
  await handle.close();
});

test('WorkerHandle.call() is refused by a queue that its loop has closed, however many calls come or wait', async () => {
  const { handle, channels } = sized(2, 10);
  const calls = Array.from({ length: 5_000 }, () => settled(handle.call('work', { size: 1 })));
  channels.operations.work.close();
  for (const request of await channels.operations.work.recvMany(2)) request.reply.send('done');
  const answers = await Promise.all(calls);
  expect(answers.slice(0, 2)).toEqual([{ value: 'done' }, { value: 'done' }]);
  for (const { error } of answers.slice(2)) expect(error).toMatchObject({ code: 'ERR_WORKER_CLOSED' });
  expect(handle.stats()).toMatchObject({ accepted: 5_000, succeeded: 2, failed: 4_998, queued: 0, waiting: 0 });
  channels.finish();
});
