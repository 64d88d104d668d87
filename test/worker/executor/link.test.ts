/** What a worker makes of a host's words, word by word: the hosts are simulated. */
import { expect, test, vi } from 'vitest';
import type { Clock } from '../../../src/core/index.js';
import { operation } from '../../../src/worker/index.js';
import { Kind } from '../../../src/worker/codec/link.js';
import { Request, type Worker } from '../../../src/worker/internal.js';
import { spawnSimulated, turn } from './simulated-host.js';

const operations = { work: operation<unknown, unknown>({ capacity: 20_000 }) };

test('LinkExecutor refuses any number of inputs in a row that cannot be cloned, and goes on with the next', async () => {
  const { handle, host } = await spawnSimulated(operations);
  const first = handle.call('work', 'first');
  const refused = Promise.allSettled(Array.from({ length: 15_000 }, () => handle.call('work', () => {})));
  const last = handle.call('work', 'last');
  await turn();
  host.say([Kind.Answer, 1, 'one']);
  expect(await first).toBe('one');
  expect((await refused).filter(({ status }) => status === 'rejected')).toHaveLength(15_000);
  host.say([Kind.Answer, 15_002, 'two']);
  expect(await last).toBe('two');
  expect(handle.stats()).toMatchObject({ accepted: 15_002, succeeded: 2, failed: 15_000, pending: 0, queued: 0 });
  await handle.destroy();
});

test('WorkerHandle.stats() counts a call that was given up on its way to the host as in flight while the model is at it', async () => {
  const { handle, host, clock } = await spawnSimulated(operations);
  const controller = new AbortController();
  const told: string[] = [];
  const request = new Request(
    {
      operation: 'work',
      declaration: operations.work,
      input: 1,
      bytes: 0,
      clock,
      calledAt: clock.now(),
      signal: controller.signal,
    },
    { onAnswered: (_, outcome) => told.push(outcome), onReleased: () => told.push('released') },
  );
  (handle as unknown as Worker).start(request);
  controller.abort(new Error('given up'));
  expect(told).toEqual(['cancelled']);
  expect(handle.stats()).toMatchObject({ cancelled: 1, queued: 1, inFlight: 0 });
  host.say([Kind.Taken, 1]);
  await turn();
  expect(handle.stats()).toMatchObject({ queued: 0, inFlight: 1 });
  expect(told).toEqual(['cancelled']);
  host.say([Kind.Gone, 1]);
  expect(told).toEqual(['cancelled', 'released']);
  expect(handle.stats()).toMatchObject({ queued: 0, inFlight: 0, pending: 0 });
  await handle.destroy();
});

test('WorkerHandle.stats() tells of a call that keeps the thread before the host could say that it was taken', async () => {
  const { handle, host, clock } = await spawnSimulated(operations);
  const call = handle.call('work', 1);
  await turn();
  host.progress = { begun: 1, ended: 0, latest: 1 };
  expect(handle.stats()).toMatchObject({ queued: 1, inFlight: 0 });
  await clock.advance(2_000);
  expect(handle.stats()).toMatchObject({ queued: 0, inFlight: 1, queueDepth: { work: 0 } });
  expect(handle.state.current).toBe('processing');
  host.say([Kind.Answer, 1, 'done']);
  expect(await call).toBe('done');
  await handle.destroy();
});

test('WorkerHandle.ping() of a worker inside a long call names the process of the host', async () => {
  const { handle, host, clock } = await spawnSimulated(operations);
  const call = handle.call('work', 1);
  await turn();
  host.progress = { begun: 1, ended: 0, latest: 1 };
  const ping = handle.ping();
  await turn();
  await clock.advance(1_000);
  expect(await ping).toMatchObject({ pid: 4_242, runningMs: 1_000 });
  host.say([Kind.Answer, 1, 'done']);
  await call;
  await handle.destroy();
});

test('WorkerHandle.ping() rejects when the host that was asked dies, however long it would have waited', async () => {
  const { handle, host } = await spawnSimulated(operations);
  const ping = handle.ping({ timeoutMs: Number.POSITIVE_INFINITY });
  await turn();
  host.exit();
  await expect(ping).rejects.toMatchObject({ code: 'ERR_WORKER_CLOSED' });
  await handle.destroy();
});

test('LinkExecutor gives saturated operations equal shares of a host, within 10 %', async () => {
  const { handle, host } = await spawnSimulated({
    often: operation<number, number>({ capacity: 300 }),
    seldom: operation<number, number>({ capacity: 300 }),
  });
  const calls = Array.from({ length: 300 }, (_, n) => handle.call('often', n));
  calls.push(...Array.from({ length: 100 }, (_, n) => handle.call('seldom', n)));
  const settled = Promise.allSettled(calls);
  const shares = [0, 0];
  for (let id = 1; id <= 200; id++) {
    await turn();
    const call = host.sent.find(([kind, each]) => kind === Kind.Call && each === id);
    shares[call?.[2] as 0 | 1] = (shares[call?.[2] as 0 | 1] ?? 0) + 1;
    host.say([Kind.Answer, id, id]);
  }
  expect(shares[0]).toBeGreaterThanOrEqual(90);
  expect(shares[1]).toBeGreaterThanOrEqual(90);
  await handle.destroy();
  await settled;
});

test('RequestListener.onLost() is given what a worker that has ended held or had waiting, save what the pool does not want back', async () => {
  const { handle, host, clock } = await spawnSimulated(operations);
  const told: string[] = [];
  const request = (input: string, timeoutMs?: number): Request =>
    new Request(
      {
        operation: 'work',
        declaration: operations.work,
        input,
        bytes: 0,
        clock,
        calledAt: clock.now(),
        timeoutMs,
      },
      {
        onAnswered: (_, outcome, result) => told.push(`${input} ${outcome} ${(result as { code?: string }).code}`),
        isRetried: () => input !== 'unwanted',
        onLost: (lost, error) => {
          told.push(`${input} lost ${(error as { code?: string }).code} ${handle.state.current} ${lost.phase}`);
        },
        onReleased: () => told.push(`${input} released`),
      },
    );
  const worker = handle as unknown as Worker;
  const requests = [request('held'), request('waiting', 100), request('unwanted')];
  for (const each of requests) worker.start(each);
  await turn();
  host.say([Kind.Taken, 1]);
  host.exit();
  await turn();
  expect(told).toEqual([
    'held lost ERR_WORKER_CRASHED failed queued',
    'waiting lost ERR_WORKER_CRASHED failed queued',
    'unwanted failed ERR_WORKER_CRASHED',
    'unwanted released',
  ]);
  expect(handle.stats()).toMatchObject({ accepted: 3, failed: 3, pending: 0, queued: 0, inFlight: 0 });
  told.length = 0;
  // What was lost runs on another worker, and is still watched.
  const other = await spawnSimulated(operations);
  (other.handle as unknown as Worker).start(requests[0] as Request);
  await turn();
  other.host.say([Kind.Answer, 1, 'done']);
  await clock.advance(100);
  expect(told).toEqual([
    'held succeeded undefined',
    'held released',
    'waiting expired ERR_DEADLINE_EXCEEDED',
    'waiting released',
  ]);
  // A worker that is over gives back what it is given.
  worker.start(request('late'));
  expect(told.at(-1)).toBe('late lost ERR_WORKER_CLOSED failed queued');
  await Promise.all([handle.destroy(), other.handle.destroy()]);
});

/** A request that goes back when its worker ends, and notes what it is told. */
function repeatable(clock: Clock, input: string, told: string[], signal?: AbortSignal): Request {
  const fields = { operation: 'work', declaration: operations.work, input, bytes: 0, clock, calledAt: 0, signal };
  return new Request(fields, {
    onAnswered: (_, outcome, result) => told.push(`${input} ${outcome} ${result}`),
    isRetried: () => true,
    onLost: () => told.push(`${input} lost`),
  });
}

test('LinkExecutor leaves a request alone that has gone back and that another worker has', async () => {
  const [first, second] = [await spawnSimulated(operations), await spawnSimulated(operations)];
  const told: string[] = [];
  const controller = new AbortController();
  const request = repeatable(first.clock, 'held', told, controller.signal);
  (first.handle as unknown as Worker).start(request);
  await turn();
  const ended = first.handle.destroy();
  (second.handle as unknown as Worker).start(request);
  // Said while it was being ended.
  first.host.say([Kind.Taken, 1]);
  first.host.say([Kind.Answer, 1, 'too late']);
  await ended;
  expect(told).toEqual(['held lost']);
  expect(second.handle.stats()).toMatchObject({ pending: 1, queued: 1, inFlight: 0 });
  controller.abort('enough');
  await turn();
  expect(second.host.sent.some(([kind, id]) => kind === Kind.Abort && id === 1)).toBe(true);
  second.host.say([Kind.Gone, 1, false]);
  expect(told).toEqual(['held lost', 'held cancelled enough']);
  expect(second.handle.stats()).toMatchObject({ accepted: 1, cancelled: 1, pending: 0, queued: 0, inFlight: 0 });
  await second.handle.destroy();
});

test('WorkerHandle.destroy() sends the host nothing more of what waited, though its place has just come free', async () => {
  const { handle, host, clock } = await spawnSimulated(operations);
  const told: string[] = [];
  for (const input of ['held', 'waiting']) {
    (handle as unknown as Worker).start(repeatable(clock, input, told));
  }
  await turn();
  host.say([Kind.Answer, 1, 'done']);
  const ended = handle.destroy();
  expect(told).toEqual(['held succeeded done', 'waiting lost']);
  await ended;
  expect(host.sent.filter(([kind]) => kind === Kind.Call)).toHaveLength(1);
});

test('WorkerHandle.ping() counts no call whose input could not be written among those of the model', async () => {
  const { handle, host } = await spawnSimulated(operations);
  const events: string[] = [];
  void (async () => {
    for await (const { type } of handle.events()) events.push(type);
  })();
  await expect(handle.call('work', () => {})).rejects.toMatchObject({ name: 'DataCloneError', fault: 'caller' });
  const ping = handle.ping();
  await turn();
  const id = host.sent.find(([kind]) => kind === Kind.Ping)?.[1];
  host.say([Kind.Pong, id, { uptimeMs: 1, pid: 1, rss: 1 }]);
  expect(await ping).toMatchObject({ processed: 0, failed: 0, lastError: undefined, latency: { count: 0 } });
  expect(events).not.toContain('failure');
  await handle.destroy();
});

test('WorkerHandle.ping() that was given up does not hold the process, though the host never answers', async () => {
  const { handle, clock } = await spawnSimulated(operations);
  const held = (): number => process.getActiveResourcesInfo().filter((each) => each === 'Timeout').length;
  const before = held();
  const controller = new AbortController();
  const ping = handle.ping({ signal: controller.signal, timeoutMs: Number.POSITIVE_INFINITY });
  await turn();
  await clock.advance(2_000);
  expect(held()).toBeGreaterThan(before);
  controller.abort(new Error('enough'));
  await expect(ping).rejects.toThrow('enough');
  // The test runner has timers of its own now and then.
  await vi.waitFor(() => expect(held()).toBeLessThanOrEqual(before));
  await handle.destroy();
});

test.each(['what the host says', 'what it is told'])(
  'LinkExecutor compares what it holds with the host when %s can not be read, and answers what was lost',
  async (what) => {
    const { handle, host } = await spawnSimulated(operations, { concurrency: 4 });
    const [lost, kept, answered] = [1, 2, 3].map((n) => handle.call('work', n));
    lost?.catch(() => {});
    await turn();
    if (what === 'what the host says') host.garble();
    else host.say([Kind.Unreadable]);
    await turn();
    expect(host.sent.at(-1)).toEqual([Kind.Recount, 1, 2, 3]);
    // Made after the question, so it is none of those that were asked for.
    const later = handle.call('work', 4);
    // The host had answered it before it was asked.
    host.say([Kind.Answer, 3, 'three']);
    host.say([Kind.Recounted, 1, -1, 3, -1]);
    await expect(lost).rejects.toMatchObject({
      name: 'DataCloneError',
      message: expect.stringContaining('Cannot call work'),
    });
    expect(await answered).toBe('three');
    expect(handle.stats()).toMatchObject({ pending: 2, inFlight: 0, queued: 2, failed: 1 });
    host.say([Kind.Answer, 2, 'two']);
    host.say([Kind.Answer, 4, 'four']);
    expect([await kept, await later]).toEqual(['two', 'four']);
    await handle.destroy();
  },
);

test('ReplyStream.next() fails where a chunk was lost, whichever message shows it', async () => {
  const streams = { count: operation.stream<number, number>() };
  for (const sign of ['next', 'end', 'recount'] as const) {
    const { handle, host } = await spawnSimulated(streams);
    const stream = handle.call('count', 3);
    await turn();
    host.say([Kind.Chunk, 1, 'zero', 0]);
    if (sign === 'next') host.say([Kind.Chunk, 1, 'two', 2]);
    if (sign === 'end') host.say([Kind.End, 1, 3]);
    if (sign === 'recount') host.say([Kind.Recounted, 1, 2]);
    expect(await stream.next()).toEqual({ done: false, value: 'zero' });
    await expect(stream.next()).rejects.toMatchObject({ name: 'DataCloneError' });
    expect(handle.stats()).toMatchObject({ failed: 1, pending: 0 });
    await turn();
    if (sign === 'end') {
      expect(handle.stats().inFlight).toBe(0);
    } else {
      // The generator is told, and the place comes back with its last word.
      expect(host.sent.some(([kind, id]) => kind === Kind.Abort && id === 1)).toBe(true);
      host.say([Kind.Gone, 1]);
      expect(handle.stats().inFlight).toBe(0);
    }
    await handle.destroy();
  }
});

test('LinkExecutor sends no request for which the host has no place', async () => {
  const { handle, host } = await spawnSimulated(operations);
  const calls = ['inside', 'second', 'third'].map((each) => handle.call('work', each));
  await turn();
  // Received a moment too early, the second keeps its turn, and none gets ahead of it.
  calls.push(handle.call('work', 'fourth'));
  for (const [id, expected] of ['inside', 'second', 'third', 'fourth'].entries()) {
    const sent = host.sent.filter(([kind]) => kind === Kind.Call).map((message) => message[3]);
    expect([sent.length, sent.at(-1)]).toEqual([id + 1, expected]);
    host.say([Kind.Answer, id + 1, expected]);
    await turn();
  }
  expect(await Promise.all(calls)).toEqual(['inside', 'second', 'third', 'fourth']);
  expect(handle.stats()).toMatchObject({ failed: 0, succeeded: 4, pending: 0, queued: 0 });
  await handle.destroy();
});

test('LinkExecutor drops a request that is given up while it waits for a place, and gives its place back', async () => {
  const { handle, host } = await spawnSimulated(operations);
  const inside = handle.call('work', 'inside');
  const controller = new AbortController();
  const second = handle.call('work', 'second', { signal: controller.signal });
  await turn();
  controller.abort(new Error('enough'));
  await expect(second).rejects.toThrow('enough');
  const third = handle.call('work', 'third');
  host.say([Kind.Answer, 1, 'one']);
  await turn();
  expect(host.sent.at(-1)?.slice(0, 4)).toEqual([Kind.Call, 2, 0, 'third']);
  host.say([Kind.Answer, 2, 'three']);
  expect([await inside, await third]).toEqual(['one', 'three']);
  expect(handle.stats()).toMatchObject({ cancelled: 1, queued: 0, pending: 0 });
  await handle.destroy();
});

test('WorkerHandle.state of a worker whose host has died is failed before its calls are answered, and never ready again', async () => {
  const { handle, host } = await spawnSimulated(operations);
  const steps: string[] = [];
  const reader = (async () => {
    for await (const event of handle.events()) if (event.type === 'state') steps.push(`${event.from} ${event.to}`);
  })();
  let stateAtAnswer: string | undefined;
  const call = handle.call('work', 1).finally(() => {
    stateAtAnswer = handle.state.current;
  });
  await turn();
  host.say([Kind.Taken, 1]);
  expect(handle.state.current).toBe('processing');
  host.exit();
  await expect(call).rejects.toMatchObject({ code: 'ERR_WORKER_CRASHED' });
  expect(stateAtAnswer).toBe('failed');
  await reader;
  expect(steps).toEqual(['ready processing', 'processing failed']);
  // What comes later is told why, too.
  await expect(handle.call('work', 3)).rejects.toMatchObject({
    code: 'ERR_WORKER_CLOSED',
    message: expect.stringMatching(/takes no more calls, since it has failed: .*killed by SIGKILL/),
    cause: { code: 'ERR_WORKER_CRASHED' },
  });
  await handle.close();
  expect(handle.state.current).toBe('dead');
});

test('WorkerHandle.stats() counts late results, and no calls that never had one', async () => {
  const { handle, host } = await spawnSimulated(operations, { concurrency: 2 });
  for (const [hadResult, id] of [
    [false, 1],
    [true, 2],
  ] as const) {
    const controller = new AbortController();
    const call = handle.call('work', id, { signal: controller.signal });
    await turn();
    controller.abort(new Error('given up'));
    await expect(call).rejects.toThrow('given up');
    host.say([Kind.Gone, id, hadResult]);
    await turn();
    expect(handle.stats()).toMatchObject({ lateResults: hadResult ? 1 : 0, inFlight: 0 });
  }
  await handle.destroy();
});

test('WorkerHandle.stats() of a worker that is over counts nothing as queued', async () => {
  const { handle, host } = await spawnSimulated(operations);
  const calls = Promise.allSettled([1, 2, 3, 4].map((each) => handle.call('work', each)));
  await turn();
  expect(handle.stats().queued).toBe(4);
  host.exit();
  await calls;
  expect(handle.stats()).toMatchObject({ accepted: 4, failed: 4, pending: 0, queued: 0, inFlight: 0 });
  await handle.destroy();
});
