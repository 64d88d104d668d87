/** What a supervised worker makes of a host's words, word by word: the hosts are simulated. */
import { expect, test } from 'vitest';
import { operation } from '../../../src/worker/index.js';
import { Kind } from '../../../src/worker/link/messages.js';
import { superviseSimulated, turn } from './simulated-host.js';

const operations = { work: operation<unknown, unknown>({ capacity: 20_000 }) };

test('SupervisedWorker refuses any number of inputs in a row that cannot be cloned, and goes on with the next', async () => {
  const { handle, host } = await superviseSimulated(operations);
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
  const { handle, host } = await superviseSimulated(operations);
  const controller = new AbortController();
  const call = handle.call('work', 1, { signal: controller.signal });
  controller.abort(new Error('given up'));
  await expect(call).rejects.toThrow('given up');
  expect(handle.stats()).toMatchObject({ cancelled: 1, queued: 1, inFlight: 0 });
  let isReleased = false;
  void handle.released().then(() => {
    isReleased = handle.stats().inFlight === 0;
  });
  host.say([Kind.Taken, 1]);
  await turn();
  expect(handle.stats()).toMatchObject({ queued: 0, inFlight: 1 });
  expect(isReleased).toBe(false);
  host.say([Kind.Gone, 1]);
  await turn();
  expect(handle.stats()).toMatchObject({ queued: 0, inFlight: 0, pending: 0 });
  await handle.destroy();
});

test('WorkerHandle.stats() tells of a call that keeps the thread before the host could say that it was taken', async () => {
  const { handle, host, clock } = await superviseSimulated(operations);
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
  const { handle, host, clock } = await superviseSimulated(operations);
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
  const { handle, hosts, host, clock } = await superviseSimulated(operations);
  const ping = handle.ping({ timeoutMs: Number.POSITIVE_INFINITY });
  await turn();
  host.exit();
  await expect(ping).rejects.toMatchObject({ code: 'ERR_WORKER_CLOSED' });
  await clock.advance(10_000);
  hosts[1]?.say([Kind.Ready]);
  await handle.state.waitFor('ready');
  await handle.destroy();
});

test('SupervisedWorker gives saturated operations equal shares of a host, within 10 %', async () => {
  const { handle, host } = await superviseSimulated({
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

test('SupervisedWorker runs an idempotent call again on the replacement, at most `retries` times, and only where its deadline allows', async () => {
  const idempotent = { work: operation<string, string>({ idempotent: true }) };
  const { handle, hosts, clock } = await superviseSimulated(idempotent, { concurrency: 2 });
  const outcome = (call: Promise<string>) => call.catch((error: { code: string }) => error.code);
  const patient = outcome(handle.call('work', 'patient'));
  const hasty = outcome(handle.call('work', 'hasty', { timeoutMs: 100 }));
  for (let life = 0; life < 2; life++) {
    await turn();
    hosts[life]?.exit();
    // Longer than the first back-off takes, and than the deadline.
    for (let step = 0; step < 4 && hosts.length === life + 1; step++) {
      await turn();
      await clock.advance(100);
    }
    hosts[life + 1]?.say([Kind.Ready]);
  }
  expect(await patient).toBe('ERR_WORKER_CRASHED');
  expect(await hasty).toBe('ERR_DEADLINE_EXCEEDED');
  const given = hosts.map(({ sent }) => sent.filter(([kind]) => kind === Kind.Call).map((call) => call[3]));
  expect(given.slice(0, 2)).toEqual([['patient', 'hasty'], ['patient']]);
  await handle.destroy();
});

test.each(['what the host says', 'what it is told'])(
  'SupervisedWorker compares what it holds with the host when %s can not be read, and answers what was lost',
  async (what) => {
    const { handle, host } = await superviseSimulated(operations, { concurrency: 4 });
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
    expect(handle.stats()).toMatchObject({ pending: 2, inFlight: 0, queued: 2, failed: 1, restarts: 0 });
    host.say([Kind.Answer, 2, 'two']);
    host.say([Kind.Answer, 4, 'four']);
    expect([await kept, await later]).toEqual(['two', 'four']);
    await handle.destroy();
  },
);

test('ReplyStream.next() fails where a chunk was lost, whichever message shows it', async () => {
  const streams = { count: operation.stream<number, number>() };
  for (const sign of ['next', 'end', 'recount'] as const) {
    const { handle, host } = await superviseSimulated(streams);
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
      // The generator is told, and the slot comes back with its last word.
      expect(host.sent.some(([kind, id]) => kind === Kind.Abort && id === 1)).toBe(true);
      host.say([Kind.Gone, 1]);
      expect(handle.stats().inFlight).toBe(0);
    }
    await handle.destroy();
  }
});

test('SupervisedWorker sends no request for which the host has no slot, so that what waits survives the host', async () => {
  const { handle, hosts, host, clock } = await superviseSimulated(operations);
  const [inside, second, third] = ['inside', 'second', 'third'].map((each) => handle.call('work', each));
  inside?.catch(() => {});
  await turn();
  const calls = (of: { sent: readonly (readonly unknown[])[] }): unknown[] =>
    of.sent.filter(([kind]) => kind === Kind.Call).map((message) => message[3]);
  expect(calls(host)).toEqual(['inside']);
  // What was taken from its queue a moment too early keeps its turn, and nobody gets ahead of it.
  const fourth = handle.call('work', 'fourth');
  host.exit();
  await expect(inside).rejects.toMatchObject({ code: 'ERR_WORKER_CRASHED' });
  await clock.advance(1_000);
  const next = hosts[1] as typeof host;
  next.say([Kind.Ready]);
  await turn();
  for (const [id, expected] of ['second', 'third', 'fourth'].entries()) {
    expect(calls(next).at(-1)).toBe(expected);
    next.say([Kind.Answer, id + 1, expected]);
    await turn();
  }
  expect(await Promise.all([second, third, fourth])).toEqual(['second', 'third', 'fourth']);
  expect(handle.stats()).toMatchObject({ failed: 1, succeeded: 3, pending: 0, queued: 0 });
  await handle.destroy();
});

test('SupervisedWorker drops a request that is given up while it waits for a slot, and gives its place back', async () => {
  const { handle, host } = await superviseSimulated(operations);
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

test('WorkerHandle.state of a worker whose host has died is not ready until the next one is', async () => {
  const { handle, hosts, host, clock } = await superviseSimulated(operations);
  const steps: string[] = [];
  const reader = (async () => {
    for await (const event of handle.events()) if (event.type === 'state') steps.push(`${event.from} ${event.to}`);
  })();
  const call = handle.call('work', 1);
  await turn();
  host.say([Kind.Taken, 1]);
  expect(handle.state.current).toBe('processing');
  host.exit();
  await expect(call).rejects.toMatchObject({ code: 'ERR_WORKER_CRASHED' });
  expect(handle.state.current).toBe('spawning');
  let isReady = false;
  const ready = handle.state.waitFor('ready').then(() => {
    isReady = true;
  });
  await turn();
  expect(isReady).toBe(false);
  await clock.advance(1_000);
  hosts[1]?.say([Kind.Ready]);
  await ready;
  // So does one for which there is no next.
  for (let crashes = 1; crashes <= 5; crashes++) {
    const last = handle.call('work', 2);
    await turn();
    hosts.at(-1)?.say([Kind.Taken, 1]);
    expect(handle.state.current).toBe('processing');
    hosts.at(-1)?.exit();
    await expect(last).rejects.toMatchObject({ code: 'ERR_WORKER_CRASHED' });
    expect(handle.state.current).toBe(crashes < 5 ? 'spawning' : 'failed');
    await clock.advance(5_000);
    hosts.at(-1)?.say([Kind.Ready]);
    await turn();
  }
  await reader;
  // What comes later is told why, too.
  await expect(handle.call('work', 3)).rejects.toMatchObject({
    code: 'ERR_WORKER_CLOSED',
    message: expect.stringMatching(/takes no more calls, since it has failed: .*killed by SIGKILL/),
    cause: { code: 'ERR_WORKER_CRASHED' },
  });
  const dying = steps.filter((step) => /spawning$|failed$/.test(step));
  expect(dying).toEqual([...Array(5).fill('processing spawning'), 'processing failed']);
  await handle.close();
});

test('WorkerHandle.stats() counts late results, and no calls that never had one', async () => {
  const { handle, host } = await superviseSimulated(operations, { concurrency: 2 });
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

test('SupervisedWorker tries again to start a host where it was the system that refused', async () => {
  const refusals = [Object.assign(new Error('spawn ENOMEM'), { code: 'ENOMEM', syscall: 'spawn' })];
  const beforeStart = (started: number): void => {
    const refusal = started === 1 ? refusals.pop() : undefined;
    if (refusal !== undefined) throw refusal;
  };
  const { handle, hosts, host, clock } = await superviseSimulated(operations, { beforeStart });
  host.exit();
  await handle.state.waitFor('spawning');
  await clock.advance(100);
  await turn();
  expect({ refusals, state: handle.state.current }).toEqual({ refusals: [], state: 'spawning' });
  await clock.advance(200);
  await turn();
  hosts[1]?.say([Kind.Ready]);
  await handle.state.waitFor('ready');
  await handle.destroy();
});

test('SupervisedWorker is failed at once where it is Node that refused to start a host', async () => {
  const beforeStart = (started: number): void => {
    if (started === 1) throw new TypeError('bad flags');
  };
  const { handle, host, clock } = await superviseSimulated(operations, { beforeStart });
  host.exit();
  await handle.state.waitFor('spawning');
  await clock.advance(100);
  expect(await handle.state.waitFor('failed')).toMatchObject({ cause: { cause: { message: 'bad flags' } } });
});

test('WorkerHandle.stats() of a worker that is over counts nothing as queued', async () => {
  const { handle, host } = await superviseSimulated(operations);
  const calls = Promise.allSettled([1, 2, 3, 4].map((each) => handle.call('work', each)));
  await turn();
  host.exit();
  await handle.state.waitFor('spawning');
  expect(handle.stats().queued).toBe(3);
  await handle.destroy();
  await calls;
  expect(handle.stats()).toMatchObject({ accepted: 4, failed: 4, pending: 0, queued: 0, inFlight: 0 });
});
