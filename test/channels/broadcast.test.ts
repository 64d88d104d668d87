import { expect, test } from 'vitest';
import { broadcast, select } from '../../src/channels/index.js';
import { checkBroadcast } from './model/broadcast-model.js';
import { stateOf, turn } from '../support/settlement.js';

const ok = <T>(value: T) => ({ state: 'ok', value });
const item = <T>(value: T) => ({ done: false, value });
const empty = { state: 'empty' };
const closed = { state: 'closed' };
const lagged = (skipped: number) => ({ state: 'lagged', skipped });
const closedError = expect.objectContaining({ code: 'ERR_CHANNEL_CLOSED' });

function drain<T>(rx: broadcast.Receiver<T>): unknown[] {
  const seen: unknown[] = [];
  for (;;) {
    const found = rx.tryRecv();
    if (found.state === 'ok') seen.push(found.value);
    else if (found.state === 'lagged') seen.push(`lost ${found.skipped}`);
    else return seen;
  }
}

test('Sender.send() returns the number of receivers, and each gets every value in order', () => {
  const [tx, a] = broadcast.channel<number>(16);
  const b = tx.subscribe();
  const c = a.resubscribe();
  expect([tx.send(1), tx.send(2)]).toEqual([3, 3]);
  for (const rx of [a, b, c]) expect(drain(rx)).toEqual([1, 2]);
  c.close();
  expect(tx.send(3)).toBe(2);
});

test('Receiver.tryRecv() on no value is empty', () => {
  const [, rx] = broadcast.channel<number>(1);
  expect(rx.tryRecv()).toEqual(empty);
});

test('Receiver.recv() two parked receivers both wake on one send', async () => {
  const [tx, a] = broadcast.channel<string>(4);
  const b = tx.subscribe();
  const waits = Promise.all([a.recv(), b.recv()]);
  expect(await stateOf(waits)).toBe('pending');
  tx.send('hello');
  expect(await waits).toEqual([item('hello'), item('hello')]);
});

test('Receiver.recv() finds a value that was sent while it was not parked', async () => {
  const [tx, rx] = broadcast.channel<string>(4);
  tx.send('earlier');
  expect(await rx.recv()).toEqual(item('earlier'));
});

test('a slow receiver inside the capacity gets everything while a fast one runs ahead', () => {
  const [tx, slow] = broadcast.channel<number>(4);
  const fast = tx.subscribe();
  for (let i = 0; i < 4; i++) {
    tx.send(i);
    expect(fast.tryRecv()).toEqual(ok(i));
  }
  expect(drain(slow)).toEqual([0, 1, 2, 3]);
});

test('LaggedError counts from the receiver’s own cursor', () => {
  const [tx, rx] = broadcast.channel<number>(2);
  for (const value of [1, 2]) tx.send(value);
  expect(drain(rx)).toEqual([1, 2]);
  for (const value of [3, 4, 5, 6]) tx.send(value);
  expect(rx.tryRecv()).toEqual(lagged(2));
  expect(drain(rx)).toEqual([5, 6]);
});

test('only the slow receiver lags', () => {
  const [tx, slow] = broadcast.channel<number>(2);
  const quick = tx.subscribe();
  for (let i = 0; i < 3; i++) {
    tx.send(i);
    expect(quick.tryRecv()).toEqual(ok(i));
  }
  expect(quick.tryRecv()).toEqual(empty);
  expect(slow.tryRecv()).toEqual(lagged(1));
});

test('capacity 1 loses exactly one with each unread overwrite, then gives the newest', () => {
  const [tx, rx] = broadcast.channel<number>(1);
  tx.send(1);
  tx.send(2);
  expect([rx.tryRecv(), rx.tryRecv(), rx.tryRecv()]).toEqual([lagged(1), ok(2), empty]);
  tx.send(3);
  expect(rx.tryRecv()).toEqual(ok(3));
  tx.send(4);
  tx.send(5);
  tx.send(6);
  expect([rx.tryRecv(), rx.tryRecv()]).toEqual([lagged(2), ok(6)]);
});

test('Receiver.recv() rejects with LaggedError and continues', async () => {
  const [tx, rx] = broadcast.channel<number>(2);
  for (let i = 0; i < 5; i++) tx.send(i);
  await expect(rx.recv()).rejects.toMatchObject({ code: 'ERR_BROADCAST_LAGGED', skipped: 3 });
  await expect(rx.recv()).resolves.toEqual(item(3));
  await expect(rx.recv()).resolves.toEqual(item(4));
});

test('a parked receiver is served by the send itself and does not lag behind sends of the same turn', async () => {
  const [tx, rx] = broadcast.channel<number>(1);
  const wait = rx.recv();
  tx.send(1);
  tx.send(2);
  expect(await wait).toEqual(item(1));
  expect(await rx.recv()).toEqual(item(2));
});

test('Sender.send() without receivers fails with the value, and a later subscriber starts with the next', () => {
  const [tx, rx] = broadcast.channel<string>(4);
  rx.close();
  let error: unknown;
  try {
    tx.send('lost');
  } catch (thrown) {
    error = thrown;
  }
  expect(error).toEqual(closedError);
  expect((error as { value: string }).value).toBe('lost');
  const later = tx.subscribe();
  expect(later.tryRecv()).toEqual(empty);
  tx.send('next');
  expect(later.tryRecv()).toEqual(ok('next'));
});

test('broadcast.channel() refuses a capacity of 0 and absurd ones, and keeps the exact number', () => {
  for (const capacity of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 31, Number.MAX_SAFE_INTEGER]) {
    expect(() => broadcast.channel(capacity)).toThrow(RangeError);
  }
  for (const capacity of ['4', null, undefined, 4n]) {
    expect(() => broadcast.channel(capacity as never)).toThrow(TypeError);
  }
  expect(() => broadcast.channel(0)).toThrow(
    'Cannot create broadcast channel: capacity must be a positive integer up to 2147483647, received 0',
  );
  expect(() => broadcast.channel(1, { clone: 1 as never })).toThrow(TypeError);
  expect(() => broadcast.channel(1, { capacity: 2 } as never)).toThrow(TypeError);
  const [tx, rx] = broadcast.channel<number>(3);
  for (let i = 0; i < 4; i++) tx.send(i);
  expect(drain(rx)).toEqual(['lost 1', 1, 2, 3]);
  expect(broadcast.channel(2 ** 31 - 1)[0].capacity).toBe(2 ** 31 - 1);
});

test('receivers wake with the end when the last sender clone goes, not before', async () => {
  const [tx, rx] = broadcast.channel<number>(2);
  const other = tx.clone();
  const wait = rx.recv();
  tx.close();
  tx.close();
  expect(await stateOf(wait)).toBe('pending');
  other.close();
  expect(await wait).toEqual({ done: true, value: undefined });
  expect(rx.tryRecv()).toEqual(closed);
  expect(await rx.recv()).toEqual({ done: true, value: undefined });
});

test('the end takes no slot and overwrites nothing', () => {
  const [tx, rx] = broadcast.channel<number>(2);
  tx.send(1);
  tx.send(2);
  tx.close();
  expect([rx.tryRecv(), rx.tryRecv(), rx.tryRecv(), rx.tryRecv()]).toEqual([ok(1), ok(2), closed, closed]);
});

test('a value is let go once the last receiver that could see it has read it or is dropped', async () => {
  const [tx, a] = broadcast.channel<object>(8);
  const b = tx.subscribe();
  let collected = 0;
  const registry = new FinalizationRegistry(() => {
    collected++;
  });
  const send = (count: number) => {
    for (let i = 0; i < count; i++) {
      const value = { i };
      registry.register(value, undefined);
      tx.send(value);
    }
  };
  const collect = async () => {
    for (let i = 0; i < 4; i++) {
      await turn();
      (globalThis as { gc?: () => void }).gc?.();
    }
  };
  send(4);
  expect(tx.len).toBe(4);
  drain(a);
  await collect();
  expect([tx.len, collected]).toEqual([4, 0]);
  b.tryRecv();
  b.tryRecv();
  await collect();
  expect([tx.len, collected]).toEqual([2, 2]);
  b.close();
  await collect();
  expect([tx.len, tx.isEmpty, collected]).toEqual([0, true, 4]);
  send(2);
  a.close();
  await collect();
  expect([tx.len, collected]).toEqual([0, 6]);
});

test('Receiver.len counts from its cursor, lost values included until they are reported', () => {
  const [tx, rx] = broadcast.channel<number>(2);
  expect([rx.len, rx.isEmpty]).toEqual([0, true]);
  tx.send(1);
  expect(rx.len).toBe(1);
  tx.send(2);
  tx.send(3);
  tx.send(4);
  expect(rx.len).toBe(4);
  expect(rx.tryRecv()).toEqual(lagged(2));
  expect(rx.len).toBe(2);
  rx.tryRecv();
  expect(rx.len).toBe(1);
  expect(rx.resubscribe().len).toBe(0);
});

test('a clone that throws loses its own value only, for that receiver only', async () => {
  const clone = (value: { n: number }) => {
    if (value.n === 2) throw new RangeError('two');
    return { ...value };
  };
  const [tx, rx] = broadcast.channel<{ n: number }>(8, { clone });
  const value = { n: 1 };
  tx.send(value);
  tx.send({ n: 2 });
  tx.send({ n: 3 });
  const first = await rx.recv();
  expect(first).toEqual(item({ n: 1 }));
  expect(first.value).not.toBe(value);
  await expect(rx.recv()).rejects.toThrow('two');
  expect(await rx.recv()).toEqual(item({ n: 3 }));
  const parked = rx.recv();
  tx.send({ n: 2 });
  await expect(parked).rejects.toThrow('two');
  tx.send({ n: 4 });
  expect(rx.tryRecv()).toEqual(ok({ n: 4 }));
});

test('Sender.closed() wakes when the last receiver goes, and a new subscriber makes it pend again', async () => {
  const [tx, a] = broadcast.channel<number>(2);
  const b = tx.subscribe();
  const wait = tx.closed();
  a.close();
  expect(await stateOf(wait)).toBe('pending');
  b.close();
  expect(await stateOf(wait)).toBe('fulfilled');
  expect(tx.isClosed).toBe(true);
  const again = tx.subscribe();
  expect(tx.isClosed).toBe(false);
  expect(await stateOf(tx.closed())).toBe('pending');
  again.close();
  await tx.closed();
  const born = broadcast.sender<number>(1);
  expect(born.isClosed).toBe(true);
  await born.closed();
});

test('sending from a wake-up neither deadlocks nor corrupts the ring', async () => {
  const [tx, a] = broadcast.channel<number>(4);
  const b = tx.subscribe();
  const seen: number[] = [];
  const echo = (async () => {
    for await (const value of a) {
      seen.push(value);
      if (value < 10) tx.send(value + 1);
      else tx.close();
    }
  })();
  tx.send(0);
  await echo;
  expect(seen).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  expect(drain(b)).toEqual(['lost 7', 7, 8, 9, 10]);
});

test('WeakSender upgrades only while a sender lives, and keeps no receiver waiting', async () => {
  const [tx, rx] = broadcast.channel<number>(2);
  const weak = tx.downgrade();
  const other = weak.clone();
  expect([tx.strongCount, tx.weakCount, weak.strongCount, weak.weakCount]).toEqual([1, 2, 1, 2]);
  const strong = weak.upgrade();
  expect(tx.strongCount).toBe(2);
  tx.close();
  strong?.send(1);
  expect(rx.tryRecv()).toEqual(ok(1));
  const wait = rx.recv();
  strong?.close();
  expect((await wait).done).toBe(true);
  expect(weak.upgrade()).toBeUndefined();
  other[Symbol.dispose]();
  other.close();
  expect(weak.weakCount).toBe(1);
  expect(() => other.clone()).toThrow(closedError);
  expect(weak.weakCount).toBe(1);
});

test('select() takes a broadcast receiver as an arm: values, lag as a failure, the end disables it', async () => {
  const [tx, a] = broadcast.channel<number>(2);
  const b = tx.subscribe();
  tx.send(1);
  expect(await select({ a, b }, { biased: true })).toEqual({ arm: 'a', value: 1 });
  expect(await select({ a, b }, { biased: true })).toEqual({ arm: 'b', value: 1 });
  const event = select({ a, b }, { biased: true });
  expect(await stateOf(event)).toBe('pending');
  tx.send(2);
  expect(await event).toEqual({ arm: 'a', value: 2 });
  expect([a.len, b.len]).toEqual([0, 1]);
  for (let i = 3; i < 6; i++) tx.send(i);
  await expect(select({ a })).rejects.toMatchObject({ skipped: 1 });
  expect(await select({ a })).toEqual({ arm: 'a', value: 4 });
  drain(a);
  tx.close();
  expect(await select({ a })).toEqual({ arm: null });
});

test('Receiver.recv() twice at a time is served in order, and both end', async () => {
  const [tx, rx] = broadcast.channel<number>(4);
  const both = Promise.all([rx.recv(), rx.recv()]);
  tx.send(1);
  tx.send(2);
  expect(await both).toEqual([item(1), item(2)]);
  const ends = Promise.all([rx.recv(), rx.recv()]);
  tx.close();
  expect((await ends).map(({ done }) => done)).toEqual([true, true]);
});

test('any value travels as it is', async () => {
  const [tx, rx] = broadcast.channel<unknown>(8);
  const promise = Promise.resolve('inside');
  const thenable = { then() {} };
  const values = [undefined, null, Number.NaN, promise, thenable];
  for (const value of values) tx.send(value);
  for (const value of values) expect((await rx.recv()).value).toBe(value);
});

test('Receiver.close() ends a pending recv, an early end of for await does not close', async () => {
  const [tx, rx] = broadcast.channel<number>(4);
  tx.send(1);
  tx.send(2);
  for await (const value of rx) {
    expect(value).toBe(1);
    break;
  }
  expect(rx.tryRecv()).toEqual(ok(2));
  const iterator = rx[Symbol.asyncIterator]();
  const next = iterator.next();
  await iterator.return?.();
  expect(await next).toEqual({ done: true, value: undefined });
  tx.send(3);
  expect(rx.len).toBe(1);
  rx.tryRecv();
  const wait = rx.recv();
  {
    using receiver = rx;
    expect(receiver.isClosed).toBe(false);
  }
  expect((await wait).done).toBe(true);
  expect(tx.receiverCount).toBe(0);
  expect(() => rx.resubscribe()).toThrow(closedError);
});

test('a lag ends for await with LaggedError, and the next loop goes on', async () => {
  const [tx, rx] = broadcast.channel<number>(2);
  for (let i = 0; i < 4; i++) tx.send(i);
  tx.close();
  const seen: number[] = [];
  const loop = async () => {
    for await (const value of rx) seen.push(value);
  };
  await expect(loop()).rejects.toMatchObject({ skipped: 2 });
  await loop();
  expect(seen).toEqual([2, 3]);
});

test('a clone that sends while receivers are woken neither hangs nor loses', async () => {
  let again = true;
  const [tx, a] = broadcast.channel<number>(8, {
    clone(value) {
      if (again) {
        again = false;
        tx.send(value + 1);
      }
      return value;
    },
  });
  const b = tx.subscribe();
  const never = new AbortController();
  const waits = [a.recv(), b.recv(), a.recv(), b.recv(), a.recv({ signal: never.signal })];
  tx.send(1);
  expect(await Promise.all(waits.slice(0, 4))).toEqual([item(1), item(1), item(2), item(2)]);
  expect(await stateOf(waits[4] as Promise<unknown>)).toBe('pending');
  never.abort('over');
  await expect(waits[4]).rejects.toBe('over');
});

test('broadcast keeps to its model over any order of operations', () => checkBroadcast(400));
