import { expect, test } from 'vitest';
import { Notify, select } from '../../src/channels/index.js';
import { checkNotify } from './model/notify-model.js';
import { stateOf, turn } from '../support/settlement.js';

test('Notify.notifyOne() before notified() stores a permit', async () => {
  const notify = new Notify();
  notify.notifyOne();
  await notify.notified();
  expect(await stateOf(notify.notified())).toBe('pending');
});

test('Notify.notifyOne() permits do not add up', async () => {
  const notify = new Notify();
  notify.notifyOne();
  notify.notifyOne();
  const [a, b] = [notify.notified(), notify.notified()];
  expect([await stateOf(a), await stateOf(b)]).toEqual(['fulfilled', 'pending']);
});

test('Notify.notifyOne() wakes the oldest waiter only, notifyLast() the youngest only', async () => {
  const notify = new Notify();
  const waits = [0, 1, 2].map(() => notify.notified());
  const states = () => Promise.all(waits.map(stateOf));
  expect(await states()).toEqual(['pending', 'pending', 'pending']);
  notify.notifyLast();
  expect(await states()).toEqual(['pending', 'pending', 'fulfilled']);
  notify.notifyOne();
  expect(await states()).toEqual(['fulfilled', 'pending', 'fulfilled']);
  notify.notifyOne();
  notify.notifyLast();
  expect(await states()).toEqual(['fulfilled', 'fulfilled', 'fulfilled']);
  expect(await stateOf(notify.notified())).toBe('fulfilled');
  expect(await stateOf(notify.notified())).toBe('pending');
});

test('Notify.notifyWaiters() wakes all present waiters and stores no permit', async () => {
  const notify = new Notify();
  const waits = [notify.notified(), notify.notified()];
  for (const wait of waits) expect(await stateOf(wait)).toBe('pending');
  notify.notifyWaiters();
  await Promise.all(waits);
  expect(await stateOf(notify.notified())).toBe('pending');
});

test('Notify.notifyWaiters() leaves a stored permit alone', async () => {
  const notify = new Notify();
  notify.notifyOne();
  notify.notifyWaiters();
  expect(await stateOf(notify.notified())).toBe('fulfilled');
});

test('Notified made before notifyWaiters() and not awaited is woken all the same, and takes no permit', async () => {
  const notify = new Notify();
  const before = notify.notified();
  notify.notifyWaiters();
  notify.notifyOne();
  await before;
  expect(await stateOf(notify.notified())).toBe('fulfilled');
});

test('Notified that is not awaited takes no notifyOne() from those who wait', async () => {
  const notify = new Notify();
  const idleWait = notify.notified();
  const waiting = notify.notified();
  const state = stateOf(waiting);
  notify.notifyOne();
  expect(await state).toBe('fulfilled');
  expect(await stateOf(idleWait)).toBe('pending');
});

test('Notified that is aborted leaves the queue, and the next notifyOne() goes to the next', async () => {
  const notify = new Notify();
  const controller = new AbortController();
  const first = notify.notified({ signal: controller.signal });
  const second = notify.notified();
  const firstResult = first.then(
    () => 'notified',
    (reason: unknown) => reason,
  );
  expect(await stateOf(second)).toBe('pending');
  controller.abort('gone');
  expect(await firstResult).toBe('gone');
  notify.notifyOne();
  await second;
});

test('Notified.enable() is false when it queued and true when it took the permit or was notified', async () => {
  const notify = new Notify();
  const queued = notify.notified();
  expect(queued.enable()).toBe(false);
  expect(queued.enable()).toBe(false);
  notify.notifyOne();
  expect(queued.enable()).toBe(true);
  await queued;
  notify.notifyOne();
  const taker = notify.notified();
  expect(taker.enable()).toBe(true);
  expect(notify.notified().enable()).toBe(false);
  const early = notify.notified();
  notify.notifyWaiters();
  expect(early.enable()).toBe(true);
});

test('Notified that was enabled, notified and disposed unseen passes the notification on', async () => {
  const notify = new Notify();
  const abandoned = notify.notified();
  abandoned.enable();
  const next = notify.notified();
  expect(await stateOf(next)).toBe('pending');
  notify.notifyOne();
  expect(await stateOf(next)).toBe('pending');
  abandoned[Symbol.dispose]();
  abandoned[Symbol.dispose]();
  expect(await stateOf(next)).toBe('fulfilled');

  const took = notify.notified();
  notify.notifyOne();
  took.enable();
  took[Symbol.dispose]();
  expect(await stateOf(notify.notified())).toBe('fulfilled');

  const all = notify.notified();
  all.enable();
  notify.notifyWaiters();
  all[Symbol.dispose]();
  expect(await stateOf(notify.notified())).toBe('pending');
});

test('Notify.notifyLast() that nobody got to see goes to the youngest that is left', async () => {
  const notify = new Notify();
  const waits = [0, 1, 2].map(() => notify.notified());
  for (const wait of waits) wait.enable();
  notify.notifyLast();
  waits[2]?.[Symbol.dispose]();
  expect(waits.slice(0, 2).map((wait) => wait.enable())).toEqual([false, true]);
  const others = [0, 1, 2].map(() => notify.notified());
  waits[0]?.[Symbol.dispose]();
  for (const wait of others) wait.enable();
  notify.notifyOne();
  others[0]?.[Symbol.dispose]();
  expect(others.slice(1).map((wait) => wait.enable())).toEqual([true, false]);
});

test('Notified that is disposed in the queue leaves it, and whoever awaits it is rejected', async () => {
  const notify = new Notify();
  const first = notify.notified();
  const result = first.then(
    () => 'notified',
    (error) => (error as { code: string }).code,
  );
  const second = notify.notified();
  expect(await stateOf(second)).toBe('pending');
  first[Symbol.dispose]();
  expect(await result).toBe('ERR_CHANNEL_CLOSED');
  notify.notifyOne();
  await second;
});

test('Notify.notifyOne() from a wake-up is safe', async () => {
  const notify = new Notify();
  const order: number[] = [];
  const waits = [0, 1, 2, 3].map((n) =>
    notify.notified().then(() => {
      order.push(n);
      notify.notifyOne();
    }),
  );
  await turn();
  notify.notifyOne();
  await Promise.all(waits);
  expect(order).toEqual([0, 1, 2, 3]);
  expect(await stateOf(notify.notified())).toBe('fulfilled');
});

test('select() takes a Notify as an arm: the winner takes the permit, a loser leaves it', async () => {
  const notify = new Notify();
  notify.notifyOne();
  const lost = await select({ now: Promise.resolve(1), notify }, { biased: true });
  if (lost.arm === 'now') expect(await stateOf(notify.notified())).toBe('fulfilled');
  const event = select({ notify });
  expect(await stateOf(event)).toBe('pending');
  notify.notifyOne();
  expect((await event).arm).toBe('notify');
  expect(await stateOf(notify.notified())).toBe('pending');
});

test('select() that loses on a Notify has left its queue', async () => {
  const notify = new Notify();
  const other = new Notify();
  const event = select({ notify, other });
  expect(await stateOf(event)).toBe('pending');
  other.notifyOne();
  expect((await event).arm).toBe('other');
  const next = notify.notified();
  expect(await stateOf(next)).toBe('pending');
  notify.notifyOne();
  await next;
});

test('select() with a Notified made on the spot: one that lost takes no notification with it', async () => {
  const notify = new Notify();
  const other = new Notify();
  const event = select({ notify: notify.notified(), other });
  expect(await stateOf(event)).toBe('pending');
  other.notifyOne();
  expect((await event).arm).toBe('other');
  const next = notify.notified();
  expect(await stateOf(next)).toBe('pending');
  notify.notifyOne();
  await next;
  const wins = select({ notify: notify.notified() });
  await turn();
  notify.notifyWaiters();
  expect((await wins).arm).toBe('notify');
});

test('Notify keeps to its model over any order of operations', () => checkNotify(400));
