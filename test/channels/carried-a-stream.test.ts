import { describe, expect, it } from 'vitest';
import { mpsc, select } from '../../src/channels/index.js';
import { stateOf, turn } from '../support/settlement.js';

const END = { done: true, value: undefined };
const got = <T>(value: T) => ({ done: false, value });

/** A channel that has carried a stream. */
async function streaming(capacity: number, settings?: mpsc.ChannelOptions<number>) {
  const [tx, rx] = mpsc.channel<number>(capacity, settings);
  for (let value = 0; value < 100; value++) {
    const next = rx.recv();
    tx.trySend(value);
    tx.trySend(value);
    await next;
    await rx.recv();
  }
  return [tx, rx] as const;
}

describe('a channel that has carried a stream', () => {
  it('serves those who wait in order, and a later one after them', async () => {
    const [tx, rx] = await streaming(8);
    const first = rx.recv();
    const second = rx.recv();
    for (const value of [1, 2, 3]) tx.trySend(value);
    const third = rx.recv();
    expect(await Promise.all([first, second, third])).toEqual([got(1), got(2), got(3)]);
  });

  it('counts and tries as one that has served at once', async () => {
    const [tx, rx] = await streaming(8);
    const waiting = rx.recv();
    tx.trySend(1);
    tx.trySend(2);
    expect([rx.len, tx.capacity, rx.tryRecv(), rx.tryRecv()]).toEqual([
      1,
      7,
      { state: 'ok', value: 2 },
      { state: 'empty' },
    ]);
    expect(await waiting).toEqual(got(1));
  });

  it('loses nothing to a wait that is aborted after the value came', async () => {
    const [tx, rx] = await streaming(8);
    const controller = new AbortController();
    const waiting = rx.recv({ signal: controller.signal }).then(
      ({ value }) => value,
      () => undefined,
    );
    const behind = rx.recv();
    tx.trySend(1);
    controller.abort();
    tx.trySend(2);
    const values = [await waiting, (await behind).value];
    for (let found = rx.tryRecv(); found.state === 'ok'; found = rx.tryRecv()) values.push(found.value);
    expect(values.filter((value) => value !== undefined)).toEqual([1, 2]);
  });

  it('never leaves a sender without room while a receiver waits', async () => {
    for (const capacity of [1, 2, 3, 4, 8]) {
      const [tx, rx] = await streaming(Math.max(2, capacity));
      const waiting = [1, 2, 3, 4, 5].map(() => rx.recv());
      const permits = tx.tryReserveMany(tx.maxCapacity - 1);
      for (const value of [1, 2, 3, 4, 5]) tx.trySend(value);
      permits.release();
      expect((await Promise.all(waiting)).map(({ value }) => value)).toEqual([1, 2, 3, 4, 5]);
    }
  });

  it('delivers what came before it is closed or dropped', async () => {
    const undelivered: number[] = [];
    const [tx, rx] = await streaming(8, { onUndelivered: (value) => undelivered.push(value) });
    const waiting = rx.recv();
    for (const value of [1, 2]) tx.trySend(value);
    rx[Symbol.dispose]();
    expect([await waiting, undelivered]).toEqual([got(1), [2]]);

    const [sender, receiver] = await streaming(8);
    const waits = [receiver.recv(), receiver.recv()];
    sender.trySend(1);
    sender.close();
    expect(await Promise.all(waits)).toEqual([got(1), END]);
  });

  it('lets a select win with the first value and leaves the rest', async () => {
    const [tx, rx] = await streaming(8);
    const [, other] = mpsc.channel<number>(1);
    const event = select({ other, rx });
    for (const value of [1, 2]) tx.trySend(value);
    expect(await event).toEqual({ arm: 'rx', value: 1 });
    expect(rx.tryRecv()).toEqual({ state: 'ok', value: 2 });
  });

  it('gives each that waits a value before a batch takes the rest, as a fresh channel does', async () => {
    const [tx, rx] = await streaming(8);
    const batch = rx.recvMany(2);
    const next = rx.recv();
    for (const value of [1, 2, 3]) tx.trySend(value);
    expect([await batch, await next]).toEqual([[1, 3], got(2)]);
  });

  it('leaves a value to the wait for which it was sent when the signal fires afterwards', async () => {
    const [tx, rx] = await streaming(8);
    const controller = new AbortController();
    const { signal } = controller;
    const waits = [rx.recv({ signal }), rx.recvMany(4, { signal })];
    for (const value of [1, 2]) tx.trySend(value);
    controller.abort();
    expect(await Promise.all(waits)).toEqual([got(1), [2]]);
  });

  it('has a batch wait for its stream on microtasks alone, and not for what does not come', async () => {
    const [tx, rx] = await streaming(64);
    tx.trySend(1);
    const batch = rx.recvMany(64);
    expect(await stateOf(batch)).toBe('fulfilled');
    tx.trySend(2);
    const controller = new AbortController();
    const aborted = rx.recvMany(64, { signal: controller.signal }).catch(() => []);
    controller.abort();
    const values = [...(await batch), ...(await aborted)];
    const left = rx.tryRecv();
    expect([...values, ...(left.state === 'ok' ? [left.value] : [])]).toEqual([1, 2]);
    await turn();
  });
});
