import { expect, test } from 'vitest';
import { TaskTracker } from '../../src/channels/index.js';
import { stateOf, turn } from '../support/settlement.js';

test('TaskTracker.wait() resolves only when closed and empty', async () => {
  const tracker = new TaskTracker();
  const wait = tracker.wait();
  expect(await stateOf(wait)).toBe('pending');
  const task = tracker.spawn(async () => {
    for (let turns = 0; turns < 4; turns++) await turn();
    return 5;
  });
  expect([tracker.len, tracker.isEmpty]).toEqual([1, false]);
  tracker.close();
  expect(await stateOf(wait)).toBe('pending');
  expect(await task).toBe(5);
  await wait;
  await tracker.wait();
});

test('TaskTracker.wait() on an open tracker never resolves, empty or not', async () => {
  const tracker = new TaskTracker();
  const wait = tracker.wait();
  await tracker.spawn(async () => {});
  expect(await stateOf(wait)).toBe('pending');
});

test('TaskTracker.close() and reopen() are idempotent', async () => {
  const tracker = new TaskTracker();
  expect([tracker.close(), tracker.close(), tracker.isClosed]).toEqual([true, false, true]);
  expect([tracker.reopen(), tracker.reopen(), tracker.isClosed]).toEqual([true, false, false]);
});

test('TaskTracker.wait() started while closed and empty resolves though reopened after', async () => {
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

test('TaskTracker.wait() is resolved by the last token though a new one starts at once', async () => {
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
