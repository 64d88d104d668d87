/** What a handle does with callers who change their minds, ask what nobody answers, and call what is closed. */
import { execFile } from 'node:child_process';
import { getEventListeners } from 'node:events';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { SimulatedClock } from '../../src/core/index.js';
import { createWorkerChannels, operation, runWorker } from '../../src/worker/index.js';
import { settled, turn } from '../support/settlement.js';

const operations = { wait: operation<Promise<number>, number>(), count: operation.stream<number, number>() };
const worker = new URL('../../dist/worker/index.js', import.meta.url).href;

test('WorkerHandle.call() reads its options once: what becomes of the object concerns no call', async () => {
  const clock = new SimulatedClock();
  const { handle, channels } = createWorkerChannels(operations, { clock });
  const { signal } = new AbortController();
  const reads: string[] = [];
  const options = new Proxy<{ signal?: AbortSignal; timeoutMs?: number }>(
    { signal, timeoutMs: 100 },
    {
      get(target, key) {
        reads.push(String(key));
        return Reflect.get(target, key);
      },
    },
  );
  const call = settled(handle.call('wait', Promise.resolve(1), options));
  const [request] = await channels.operations.wait.recvMany(1);
  delete options.signal;
  options.timeoutMs = 1;
  expect(request?.deadline).toBe(100);
  expect(getEventListeners(signal, 'abort')).toHaveLength(1);
  await clock.advance(99);
  expect(request?.reply.send(1)).toBe(true);
  expect(await call).toEqual({ value: 1 });
  expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  expect(reads.sort()).toEqual(['signal', 'timeoutMs', 'traceparent']);
  channels.finish();
});

test('WorkerHandle.call() never throws, whatever the operation is', async () => {
  const { handle } = createWorkerChannels(operations);
  const odd = Object.create(null) as never;
  await expect(handle.call(odd, 1 as never)).rejects.toMatchObject({ code: 'ERR_UNKNOWN_OPERATION' });
  await handle.close();
});

test('ReplyStream of a call that was refused fails when it is first read, and can be left like any other', async () => {
  const { handle } = createWorkerChannels(operations);
  await handle.close();
  const stream = handle.call('count', 1);
  await expect(stream.next()).rejects.toMatchObject({ code: 'ERR_WORKER_CLOSED' });
  expect(await stream.next()).toEqual({ done: true, value: undefined });
  const left = handle.call('count', 1);
  await left[Symbol.asyncDispose]();
  expect(await left.next()).toEqual({ done: true, value: undefined });
  const returned = handle.call('count', 1);
  expect(await returned.return()).toEqual({ done: true, value: undefined });
});

test.each([
  ['that nobody looks at', () => {}],
  ['whose loop has taken it and does not answer', 'taken'],
])('WorkerHandle.ping() %s rejects when the worker ends', async (_, how) => {
  const clock = new SimulatedClock();
  const { handle, channels } = createWorkerChannels(operations, { clock });
  const { signal } = new AbortController();
  const pings = [handle.ping({ timeoutMs: Number.POSITIVE_INFINITY, signal }), handle.ping()].map(settled);
  if (how === 'taken') await channels.health.recvMany(2);
  await turn();
  if (how === 'taken') channels.finish(new Error('out'));
  await handle.close();
  for (const { error } of await Promise.all(pings)) expect(error).toMatchObject({ code: 'ERR_WORKER_CLOSED' });
  await expect(handle.ping()).rejects.toMatchObject({ code: 'ERR_WORKER_CLOSED' });
  expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  expect(clock.pendingTimers).toBe(0);
});

test('WorkerHandle.ping() is answered without the part of a model whose health() hangs, which is asked once', async () => {
  const clock = new SimulatedClock();
  const { handle, channels } = createWorkerChannels(operations, { clock });
  let asked = 0;
  let answer = (_: string): void => {};
  const health = () => {
    asked++;
    return new Promise<string>((resolve) => {
      answer = resolve;
    });
  };
  runWorker({ wait: (until) => until, async *count() {}, health }, channels);
  const pings = Promise.all(Array.from({ length: 20 }, () => handle.ping()));
  await clock.advance(500);
  const late = { state: 'ready', model: expect.stringMatching(/must answer within 500 ms/) };
  for (const report of await pings) expect(report).toMatchObject(late);
  expect(await handle.ping()).toMatchObject(late);
  expect(asked).toBe(1);
  answer('too late');
  await turn();
  const next = handle.ping();
  await turn();
  answer('well');
  expect(await next).toMatchObject({ model: 'well' });
  expect(asked).toBe(2);
  const last = handle.ping();
  await turn();
  await handle.close();
  expect(await last).toMatchObject({ model: expect.stringMatching(/loop has ended/) });
  expect(clock.pendingTimers).toBe(0);
});

test.each([
  ['close({ timeoutMs: 1 })', 'closed'],
  ['destroy()', 'closed'],
  ['ping({ timeoutMs: 100 })', 'expected an answer within 100 ms'],
])('WorkerHandle.%s holds the process until it settles, though the loop does nothing', async (end, expected) => {
  const code = `
    import { createWorkerChannels, operation } from ${JSON.stringify(worker)};
    const { handle, channels } = createWorkerChannels({ work: operation() });
    channels.enter('loading');
    handle.call('work').catch(() => {});
    channels.shutdown.cancelled().then(() => setTimeout(() => channels.finish(), 10).unref());
    console.log(await handle.${end}.then(() => 'closed', (error) => error.message));`;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', code]);
  expect(stdout).toContain(expected);
});
