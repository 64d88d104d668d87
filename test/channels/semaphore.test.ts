import { expect, test } from 'vitest';
import { acquiring, Semaphore, type SemaphorePermit, select } from '../../src/channels/index.js';
import { checkSemaphore } from './model/semaphore-model.js';
import { stateOf, turn } from '../support/settlement.js';

const closedError = expect.objectContaining({ code: 'ERR_SEMAPHORE_CLOSED' });
const noPermits = expect.objectContaining({ code: 'ERR_SEMAPHORE_NO_PERMITS' });

test('Semaphore with zero permits: addPermits(1) wakes an acquirer', async () => {
  const semaphore = new Semaphore(0);
  const wait = semaphore.acquire();
  expect(await stateOf(wait)).toBe('pending');
  semaphore.addPermits(1);
  expect((await wait).numPermits).toBe(1);
  expect(semaphore.availablePermits).toBe(0);
});

test('Semaphore.tryAcquire() fails with none left, and succeeds after the scope is left', () => {
  const semaphore = new Semaphore(1);
  {
    using permit = semaphore.tryAcquire();
    expect(permit.numPermits).toBe(1);
    expect(() => semaphore.tryAcquire()).toThrow(noPermits);
  }
  semaphore.tryAcquire().release();
  expect(() => semaphore.tryAcquireMany(2)).toThrow(noPermits);
});

test('Semaphore is fair: a large request at the head holds up small ones, and tryAcquire does not overtake', async () => {
  const semaphore = new Semaphore(2);
  const held = semaphore.tryAcquire();
  const large = semaphore.acquireMany(3);
  const small = semaphore.acquire();
  expect([await stateOf(large), await stateOf(small)]).toEqual(['pending', 'pending']);
  expect(semaphore.availablePermits).toBe(0);
  expect(() => semaphore.tryAcquire()).toThrow(noPermits);
  held.release();
  expect([await stateOf(large), await stateOf(small)]).toEqual(['pending', 'pending']);
  semaphore.addPermits(1);
  const three = await large;
  expect(await stateOf(small)).toBe('pending');
  three.release();
  expect((await small).numPermits).toBe(1);
  expect(semaphore.availablePermits).toBe(2);
});

test('Semaphore.acquireMany() that is aborted leaves the queue and gives back what it had gathered', async () => {
  const semaphore = new Semaphore(3);
  const controller = new AbortController();
  const large = semaphore.acquireMany(5, { signal: controller.signal });
  const next = semaphore.acquireMany(2);
  expect(await stateOf(next)).toBe('pending');
  expect(semaphore.availablePermits).toBe(0);
  controller.abort('gone');
  await expect(large).rejects.toBe('gone');
  expect((await next).numPermits).toBe(2);
  expect(semaphore.availablePermits).toBe(1);
});

test('Semaphore.addPermits() changes the free permits by exactly n, open or closed', () => {
  const semaphore = new Semaphore(1);
  semaphore.addPermits(4);
  expect(semaphore.availablePermits).toBe(5);
  semaphore.close();
  semaphore.addPermits(2);
  expect(semaphore.availablePermits).toBe(7);
  semaphore.addPermits(0);
  expect(semaphore.availablePermits).toBe(7);
});

test('SemaphorePermit.forget() and Semaphore.forgetPermits() take permits out for ever', () => {
  const semaphore = new Semaphore(5);
  const permit = semaphore.tryAcquireMany(2);
  permit.forget();
  permit.release();
  expect([permit.numPermits, semaphore.availablePermits]).toEqual([0, 3]);
  expect(semaphore.forgetPermits(2)).toBe(2);
  expect(semaphore.forgetPermits(9)).toBe(1);
  expect(semaphore.forgetPermits(1)).toBe(0);
  semaphore.addPermits(2);
  semaphore.close();
  expect(semaphore.forgetPermits(1)).toBe(1);
  expect(semaphore.availablePermits).toBe(1);
});

test('Semaphore.close() rejects all waiters and later acquires, and held permits stay valid', async () => {
  const semaphore = new Semaphore(2);
  const held = await semaphore.acquire();
  const waits = [semaphore.acquireMany(2), semaphore.acquire()];
  await turn();
  semaphore.close();
  for (const wait of waits) await expect(wait).rejects.toEqual(closedError);
  await expect(semaphore.acquire()).rejects.toEqual(closedError);
  await expect(semaphore.acquireMany(0)).rejects.toEqual(closedError);
  expect(() => semaphore.tryAcquire()).toThrow(closedError);
  expect(semaphore.isClosed).toBe(true);
  expect(semaphore.availablePermits).toBe(1);
  held.release();
  expect(semaphore.availablePermits).toBe(2);
  semaphore.close();
});

test('1000 tasks over 5 permits end with exactly 5 free, and releasing twice has no effect', async () => {
  const semaphore = new Semaphore(5);
  let inside = 0;
  let most = 0;
  await Promise.all(
    Array.from({ length: 1_000 }, async (_, index) => {
      const permit = await semaphore.acquire();
      most = Math.max(most, ++inside);
      for (let hop = 0; hop < index % 4; hop++) await null;
      inside--;
      permit.release();
      permit.release();
      permit[Symbol.dispose]();
    }),
  );
  expect(most).toBeLessThanOrEqual(5);
  expect([inside, semaphore.availablePermits]).toEqual([0, 5]);
});

test('exceeding the maximum throws, at construction and on addPermits()', () => {
  expect(() => new Semaphore(Semaphore.MAX_PERMITS + 1)).toThrow(RangeError);
  const semaphore = new Semaphore(Semaphore.MAX_PERMITS);
  expect(() => semaphore.addPermits(1)).toThrow(RangeError);
  expect(semaphore.availablePermits).toBe(Semaphore.MAX_PERMITS);
  const permit = semaphore.tryAcquireMany(10);
  semaphore.addPermits(5);
  expect(() => semaphore.addPermits(6)).toThrow(RangeError);
  expect(permit.numPermits).toBe(10);
});

test('Semaphore.acquireMany(0) is had at once, without permits and before those who wait', async () => {
  const semaphore = new Semaphore(0);
  const wait = semaphore.acquire();
  const none = await semaphore.acquireMany(0);
  expect(none.numPermits).toBe(0);
  none.release();
  expect(await stateOf(wait)).toBe('pending');
});

test('SemaphorePermit.split() and merge() keep the count', () => {
  const semaphore = new Semaphore(5);
  const all = semaphore.tryAcquireMany(5);
  const two = all.split(2) as SemaphorePermit;
  expect([all.numPermits, two.numPermits, semaphore.availablePermits]).toEqual([3, 2, 0]);
  expect(all.split(4)).toBeUndefined();
  expect(all.split(0)?.numPermits).toBe(0);
  two.release();
  expect(semaphore.availablePermits).toBe(2);
  const again = semaphore.tryAcquireMany(2);
  all.merge(again);
  all.merge(all);
  expect([all.numPermits, again.numPermits]).toEqual([5, 0]);
  again.release();
  expect(semaphore.availablePermits).toBe(0);
  all.release();
  expect(semaphore.availablePermits).toBe(5);
  expect(() => all.merge(new Semaphore(1).tryAcquire())).toThrow(TypeError);
});

test('select() takes permits as an arm: a loser gives back what it had gathered', async () => {
  const semaphore = new Semaphore(1);
  const won = await select({ permit: acquiring(semaphore) });
  expect(won.arm).toBe('permit');
  if (won.arm === 'permit') won.value.release();
  expect(semaphore.availablePermits).toBe(1);

  const other = new Semaphore(0);
  const event = select({ three: acquiring(semaphore, 3), other: acquiring(other) });
  expect(await stateOf(event)).toBe('pending');
  expect(semaphore.availablePermits).toBe(0);
  const behind = semaphore.acquire();
  expect(await stateOf(behind)).toBe('pending');
  other.addPermits(1);
  expect((await event).arm).toBe('other');
  await behind;
  const closing = select({ permit: acquiring(semaphore, 2) });
  await turn();
  semaphore.close();
  await expect(closing).rejects.toEqual(closedError);
});

test('Semaphore keeps to its model over any order of operations', () => checkSemaphore(300));
