import { expect, test } from 'vitest';
import { select, watch } from '../../src/channels/index.js';
import { isMillraceError } from '../../src/core/index.js';
import { checkWatch } from './model/watch-model.js';
import { stateOf, turn } from '../support/settlement.js';

const closedError = expect.objectContaining({ code: 'ERR_CHANNEL_CLOSED' });

test('watch.channel() a new receiver has seen the initial value', async () => {
  const [tx, rx] = watch.channel('one');
  expect(rx.borrow()).toBe('one');
  expect(rx.hasChanged()).toBe(false);
  expect(await stateOf(rx.changed())).toBe('pending');
  tx.close();
});

test('Sender.send() wakes changed(), and borrow gives the new value', async () => {
  const [tx, rx] = watch.channel('one');
  const changed = rx.changed();
  expect(await stateOf(changed)).toBe('pending');
  tx.send('two');
  await changed;
  expect(rx.borrow()).toBe('two');
  expect(await stateOf(rx.changed())).toBe('pending');
});

test('Receiver.changed() collapses several sends to the last, parked or not', async () => {
  const [tx, rx] = watch.channel(0);
  tx.send(1);
  tx.send(2);
  await rx.changed();
  expect(rx.borrow()).toBe(2);
  const parked = rx.changed();
  expect(await stateOf(parked)).toBe('pending');
  tx.send(3);
  tx.send(4);
  await parked;
  expect(rx.borrow()).toBe(4);
  expect(await stateOf(rx.changed())).toBe('pending');
});

test('Sender.send() wakes all receivers, and each tracks what it has seen', async () => {
  const [tx, a] = watch.channel(0);
  const b = tx.subscribe();
  const c = a.clone();
  const all = Promise.all([a.changed(), b.changed(), c.changed()]);
  tx.send(1);
  await all;
  tx.send(2);
  expect(a.borrowAndUpdate()).toBe(2);
  expect([a.hasChanged(), b.hasChanged(), c.hasChanged()]).toEqual([false, true, true]);
  expect(c.clone().hasChanged()).toBe(true);
  expect(tx.subscribe().hasChanged()).toBe(false);
});

test('Receiver.borrow() gives the last value after the sender is gone', async () => {
  const [tx, rx] = watch.channel(0);
  tx.send(7);
  tx.close();
  expect(rx.borrow()).toBe(7);
  await rx.changed();
  expect(rx.borrowAndUpdate()).toBe(7);
  await expect(rx.changed()).rejects.toEqual(closedError);
  await expect(rx.changed()).rejects.toEqual(closedError);
});

test('Receiver.hasChanged() is true for an unseen value, and throws once closed', () => {
  const [tx, rx] = watch.channel(0);
  tx.send(1);
  expect(rx.hasChanged()).toBe(true);
  rx.borrowAndUpdate();
  expect(rx.hasChanged()).toBe(false);
  const unseen = tx.subscribe();
  tx.send(2);
  rx.borrowAndUpdate();
  tx.close();
  for (const receiver of [rx, unseen]) {
    expect(() => receiver.hasChanged()).toThrow(closedError);
  }
});

test('Receiver.borrow() does not mark the value seen, borrowAndUpdate() does', async () => {
  const [tx, rx] = watch.channel(0);
  tx.send(1);
  rx.borrow();
  expect(rx.hasChanged()).toBe(true);
  rx.borrowAndUpdate();
  expect(await stateOf(rx.changed())).toBe('pending');
  rx.markChanged();
  expect(await stateOf(rx.changed())).toBe('fulfilled');
  tx.send(2);
  rx.markUnchanged();
  expect(rx.hasChanged()).toBe(false);
});

test('Receiver.markChanged() wakes a changed() that is pending on the same receiver', async () => {
  const [, rx] = watch.channel(0);
  const changed = rx.changed();
  rx.markChanged();
  expect(await stateOf(changed)).toBe('fulfilled');
});

test('Receiver.waitFor() resolves at once when the value passes, even when closed, and rejects when it never can', async () => {
  const [tx, rx] = watch.channel(5);
  expect(await rx.waitFor((value) => value === 5)).toBe(5);
  const later = rx.waitFor((value) => value > 6);
  tx.send(6);
  expect(await stateOf(later)).toBe('pending');
  tx.send(7);
  expect(await later).toBe(7);
  expect(rx.hasChanged()).toBe(false);
  const never = rx.waitFor((value) => value > 100);
  tx.close();
  await expect(never).rejects.toEqual(closedError);
  expect(await rx.waitFor((value) => value === 7)).toBe(7);
  await expect(rx.waitFor((value) => value === 8)).rejects.toEqual(closedError);
});

test('Receiver.waitFor() rejects with what its predicate throws, and the receiver stays usable', async () => {
  const [tx, rx] = watch.channel(0);
  const fault = new Error('predicate');
  const failing = rx.waitFor((value) => {
    if (value > 0) throw fault;
    return false;
  });
  tx.send(1);
  await expect(failing).rejects.toBe(fault);
  expect(await rx.waitFor((value) => value === 1)).toBe(1);
});

test('Receiver.waitFor() sees the values that each send left, not those between two looks', async () => {
  const [tx, rx] = watch.channel(0);
  const seen: number[] = [];
  const found = rx.waitFor((value) => {
    seen.push(value);
    return value === 3;
  });
  tx.send(1);
  await turn();
  tx.send(2);
  tx.send(3);
  expect(await found).toBe(3);
  expect(seen[0]).toBe(0);
  expect(seen.at(-1)).toBe(3);
});

test('Sender.send() fails without receivers, sendReplace() and sendModify() set the value all the same', () => {
  const [tx, rx] = watch.channel('one');
  rx.close();
  let error: unknown;
  try {
    tx.send('two');
  } catch (thrown) {
    error = thrown;
  }
  expect(isMillraceError(error, 'ERR_CHANNEL_CLOSED')).toBe(true);
  expect((error as { value: string }).value).toBe('two');
  expect(JSON.stringify(error)).not.toContain('two');
  expect(tx.borrow()).toBe('one');
  expect(tx.sendReplace('three')).toBe('one');
  expect(tx.borrow()).toBe('three');
  tx.sendModify((slot) => {
    slot.value += '!';
  });
  expect(tx.borrow()).toBe('three!');
});

test('Sender.closed() resolves when the last receiver goes, and isClosed turns false after subscribe()', async () => {
  const [tx, a] = watch.channel(0);
  const b = a.clone();
  const closed = tx.closed();
  expect(tx.isClosed).toBe(false);
  a.close();
  a.close();
  expect(await stateOf(closed)).toBe('pending');
  b.close();
  expect(await stateOf(closed)).toBe('fulfilled');
  expect(tx.isClosed).toBe(true);
  const again = tx.subscribe();
  expect(tx.isClosed).toBe(false);
  expect(await stateOf(tx.closed())).toBe('pending');
  expect(tx.receiverCount).toBe(1);
  again.close();
  expect(await stateOf(tx.closed())).toBe('fulfilled');
});

test('Sender.clone() receivers hear of the end only when the last sender goes', async () => {
  const [tx, rx] = watch.channel(0);
  const other = tx.clone();
  expect(tx.senderCount).toBe(2);
  tx.send(1);
  await rx.changed();
  other.send(2);
  await rx.changed();
  const changed = rx.changed();
  tx.close();
  tx.close();
  expect(await stateOf(changed)).toBe('pending');
  other.send(3);
  await changed;
  const last = rx.changed();
  other[Symbol.dispose]();
  await expect(last).rejects.toEqual(closedError);
});

test('Sender.sendIfModified() wakes nobody when it says false', async () => {
  const [tx, rx] = watch.channel({ count: 1 });
  const changed = rx.changed();
  expect(tx.sendIfModified(() => false)).toBe(false);
  expect(await stateOf(changed)).toBe('pending');
  expect(
    tx.sendIfModified((slot) => {
      slot.value = { count: 2 };
      return true;
    }),
  ).toBe(true);
  expect(await stateOf(changed)).toBe('fulfilled');
  expect(rx.borrow()).toEqual({ count: 2 });
});

test('Sender.sendModify() that throws wakes nobody and keeps the value', async () => {
  const [tx, rx] = watch.channel(1);
  const changed = rx.changed();
  expect(() =>
    tx.sendModify((slot) => {
      slot.value = 2;
      throw new RangeError('no');
    }),
  ).toThrow(RangeError);
  expect(rx.borrow()).toBe(1);
  expect(await stateOf(changed)).toBe('pending');
});

test('select() takes a watch receiver as an arm: a loser leaves the value unseen', async () => {
  const [tx, rx] = watch.channel(0);
  tx.send(1);
  const first = await select({ now: Promise.resolve('now'), watch: rx }, { biased: true });
  if (first.arm === 'watch') expect(first.value).toBe(1);
  else expect(rx.hasChanged()).toBe(true);
  rx.markUnchanged();
  const event = select({ watch: rx });
  expect(await stateOf(event)).toBe('pending');
  tx.send(2);
  expect(await event).toEqual({ arm: 'watch', value: 2 });
  expect(rx.hasChanged()).toBe(false);
  tx.close();
  expect(await select({ watch: rx })).toEqual({ arm: null });
});

test('Receiver[Symbol.asyncIterator] gives the value there is, then each change, and ends with the senders', async () => {
  const [tx, rx] = watch.channel(0);
  const seen: number[] = [];
  const loop = (async () => {
    for await (const value of rx) seen.push(value);
  })();
  await turn();
  tx.send(1);
  await turn();
  tx.send(2);
  tx.send(3);
  await turn();
  tx.close();
  await loop;
  expect(seen).toEqual([0, 1, 3]);
});

test('Receiver.changes() gives changes only, and leaving it early keeps the receiver open', async () => {
  const [tx, rx] = watch.channel(0);
  tx.send(1);
  for await (const value of rx.changes()) {
    expect(value).toBe(1);
    break;
  }
  expect(tx.receiverCount).toBe(1);
  const iterator = rx.changes();
  const pending = iterator.next();
  await iterator.return?.();
  expect(await pending).toEqual({ done: true, value: undefined });
  tx.send(2);
  expect(rx.hasChanged()).toBe(true);
});

test('Receiver.close() rejects the waits on it, and using a closed receiver fails', async () => {
  const [tx, rx] = watch.channel(0);
  const changed = rx.changed();
  rx.close();
  await expect(changed).rejects.toEqual(closedError);
  tx.sendReplace(1);
  await expect(rx.changed()).rejects.toEqual(closedError);
  expect(rx.borrow()).toBe(1);
});

test('Sender and Receiver are disposable, twice as well', async () => {
  const [tx, rx] = watch.channel(0);
  {
    using sender = tx.clone();
    using receiver = rx.clone();
    expect(sender.sameChannel(tx)).toBe(true);
    expect(receiver.sameChannel(rx)).toBe(true);
    expect(receiver.sameChannel(watch.channel(0)[1])).toBe(false);
    sender[Symbol.dispose]();
  }
  expect([tx.senderCount, tx.receiverCount]).toEqual([1, 1]);
  expect('then' in tx || 'then' in rx).toBe(false);
});

test('watch.sender() starts without a receiver and is closed until one subscribes', async () => {
  const tx = watch.sender('a');
  expect(tx.isClosed).toBe(true);
  await tx.closed();
  const rx = tx.subscribe();
  tx.send('b');
  expect(rx.borrow()).toBe('b');
});

test('Sender.send() any value travels as it is', async () => {
  const [tx, rx] = watch.channel<unknown>(undefined);
  const promise = Promise.reject(new Error('not looked at'));
  promise.catch(() => {});
  const thenable = { then: () => {} };
  for (const value of [null, undefined, Number.NaN, promise, thenable]) {
    tx.send(value);
    await rx.changed();
    expect(rx.borrow()).toBe(value);
  }
  tx.send(thenable);
  const event = await select({ value: rx });
  expect(event.arm === 'value' && event.value === thenable).toBe(true);
});

test('watch keeps to its model over any order of operations', () => checkWatch(300));
