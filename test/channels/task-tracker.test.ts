import { expect, test } from 'vitest';
import { TaskTracker } from '../../src/channels/index.js';
import { countingSignal, idle, stateOf } from './promise-state.js';

test('180 TaskTracker.wait() resolves only when closed and empty', async () => {
  const tracker = new TaskTracker();
  const wait = tracker.wait();
  expect(await stateOf(wait)).toBe('pending');
  const task = tracker.spawn(async () => {
    await idle();
    return 5;
  });
  expect([tracker.len, tracker.isEmpty]).toEqual([1, false]);
  tracker.close();
  expect(await stateOf(wait)).toBe('pending');
  expect(await task).toBe(5);
  await wait;
  await tracker.wait();
});

test('180 TaskTracker.wait() on an open tracker never resolves, empty or not', async () => {
  const tracker = new TaskTracker();
  const wait = tracker.wait();
  await tracker.spawn(async () => {});
  expect(await stateOf(wait)).toBe('pending');
});

test('180 TaskTracker.close() and reopen() are idempotent', async () => {
  const tracker = new TaskTracker();
  expect([tracker.close(), tracker.close(), tracker.isClosed]).toEqual([true, false, true]);
  expect([tracker.reopen(), tracker.reopen(), tracker.isClosed]).toEqual([true, false, false]);
});

test('180 TaskTracker.wait() started while closed and empty resolves though reopened after', async () => {
  const tracker = new TaskTracker();
  tracker.close();
  const wait = tracker.wait();
  tracker.reopen();
  expect(await stateOf(wait)).toBe('fulfilled');
  const early = tracker.wait();
  tracker.close();
  tracker.reopen();
  expect(await stateOf(early)).toBe('fulfilled');
});

test('180 TaskTracker.wait() is resolved by the last token though a new one starts at once', async () => {
  const tracker = new TaskTracker();
  const token = tracker.token();
  const other = token.clone();
  expect(token.taskTracker).toBe(tracker);
  tracker.close();
  const wait = tracker.wait();
  token[Symbol.dispose]();
  token[Symbol.dispose]();
  expect(await stateOf(wait)).toBe('pending');
  other[Symbol.dispose]();
  const next = tracker.token();
  expect(await stateOf(wait)).toBe('fulfilled');
  expect(await stateOf(tracker.wait())).toBe('pending');
  next[Symbol.dispose]();
});

test('TaskTracker counts failures, promises and tasks spawned after close', async () => {
  const tracker = new TaskTracker();
  tracker.close();
  const failed = tracker.spawn(() => {
    throw new RangeError('no');
  });
  const tracked = tracker.trackFuture(Promise.resolve(3));
  expect(tracker.len).toBe(2);
  const wait = tracker.wait();
  await expect(failed).rejects.toBeInstanceOf(RangeError);
  expect(await tracked).toBe(3);
  await wait;
  expect(tracker.len).toBe(0);
});

test('TaskTracker.wait() takes a signal and leaves no listener', async () => {
  const tracker = new TaskTracker();
  const { signal, controller, listeners } = countingSignal();
  const wait = tracker.wait({ signal });
  controller.abort('stop');
  await expect(wait).rejects.toBe('stop');
  await expect(tracker.wait({ signal: AbortSignal.abort('no') })).rejects.toBe('no');
  expect(listeners()).toBe(0);
  expect(() => tracker.spawn(1 as never)).toThrow(TypeError);
});
