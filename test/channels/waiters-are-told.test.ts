import { describe, expect, it } from 'vitest';
import {
  broadcast,
  createSelector,
  JoinSet,
  mpsc,
  Notify,
  oneshot,
  reserving,
  type Selectable,
  select,
  watch,
} from '../../src/channels/index.js';
import { drained, reasonOf, stateOf } from '../support/settlement.js';

describe('closed()', () => {
  const flavours = {
    'mpsc sender': () => mpsc.channel<number>(1),
    'unbounded mpsc sender': () => mpsc.unboundedChannel<number>(),
    'broadcast sender': () => broadcast.channel<number>(1),
    'watch sender': () => watch.channel(0),
  };
  it.each(Object.entries(flavours))(
    'of a %s resolves when that sender closes, and not when another does',
    async (_, make) => {
      const [tx, rx] = make();
      const other = tx.clone();
      const waits = [tx.closed(), tx.closed()];
      const others = other.closed();
      tx.close();
      await Promise.all(waits);
      expect(await stateOf(others)).toBe('pending');
      const { signal } = new AbortController();
      await tx.closed({ signal });
      rx.close();
      await others;
    },
  );

  it('of a sender that moves into an owned permit resolves', async () => {
    const [tx, rx] = mpsc.channel<number>(1);
    const closed = tx.closed();
    const permit = await tx.reserveOwned();
    await closed;
    const again = permit.send(1);
    const next = again.closed();
    void again.reserveOwned();
    expect(await stateOf(next)).toBe('pending');
    rx.tryRecv();
    await next;
  });

  it('that was abandoned before leaves nothing', async () => {
    const [tx, rx] = mpsc.channel<number>(1);
    const controller = new AbortController();
    const abandoned = reasonOf(tx.closed({ signal: controller.signal }));
    const closed = tx.closed();
    controller.abort('stop');
    expect(await abandoned).toBe('stop');
    rx.close();
    await closed;
  });
});

describe('reserving() whose sender closes', () => {
  function full(): [mpsc.Sender<number>, mpsc.Receiver<number>] {
    const [tx, rx] = mpsc.channel<number>(1);
    tx.trySend(1);
    return [tx, rx];
  }

  it('ends the waiting arm, as a later select finds it, and leaves room to the others', async () => {
    const [tx, rx] = full();
    const other = tx.clone();
    const events = [select({ room: reserving(tx) }), select({ a: reserving(tx), b: reserving(tx) })];
    const blocked = other.send(2);
    await drained();
    tx.close();
    expect(await Promise.all(events)).toEqual([{ arm: null }, { arm: null }]);
    expect(await select({ room: reserving(tx) })).toEqual({ arm: null });
    rx.tryRecv();
    await blocked;
    expect(rx.tryRecv()).toEqual({ state: 'ok', value: 2 });
  });

  it('ends the turn in which it is off', async () => {
    const [tx, rx] = full();
    const [items, item] = mpsc.channel<number>(1);
    const other = tx.clone();
    const selector = createSelector({ room: reserving(tx), item });
    const event = selector.next({ off: ['room'] });
    items.close();
    expect(await stateOf(event)).toBe('pending');
    tx.close();
    expect(await event).toEqual({ arm: null });
    other.close();
    rx.close();
  });

  it('does not end the arm of another sender', async () => {
    const [tx, rx] = full();
    const other = tx.clone();
    const event = select({ mine: reserving(tx), others: reserving(other) });
    tx.close();
    expect(await stateOf(event)).toBe('pending');
    rx.tryRecv();
    expect((await event).arm).toBe('others');
  });
});

describe('a Notified that is disposed', () => {
  it('fails the selects in which it is an arm', async () => {
    const notify = new Notify();
    const notified = notify.notified();
    const waits = [
      select({ notified }),
      select({ a: notified, b: notified }),
      select({ inner: createSelector({ notified }) }),
      Promise.resolve(notified),
    ].map(reasonOf);
    await drained();
    notified[Symbol.dispose]();
    const code = { code: 'ERR_CHANNEL_CLOSED' };
    expect(await Promise.all(waits)).toMatchObject([code, code, code, code]);
    const next = notify.notified();
    const event = select({ next });
    notify.notifyOne();
    expect((await event).arm).toBe('next');
  });
});

describe('a turn whose other arms are off', () => {
  /** Ends in two steps: nothing more will come, then what there is is taken by another. */
  const sources: Readonly<Record<string, () => { arm: Selectable<unknown>; close(): void; take(): void }>> = {
    'mpsc receiver': () => {
      const [tx, rx] = mpsc.channel<number>(2);
      tx.trySend(1);
      return { arm: rx, close: () => tx.close(), take: () => void rx.tryRecv() };
    },
    'oneshot receiver': () => {
      const [tx, rx] = oneshot.channel<number>();
      return { arm: rx, close: () => void tx.send(1), take: () => void rx.tryRecv() };
    },
    'oneshot receiver with its value': () => {
      const [tx, rx] = oneshot.channel<number>();
      tx.send(1);
      return { arm: rx, close: () => {}, take: () => void rx.recv() };
    },
    'broadcast receiver': () => {
      const [tx, rx] = broadcast.channel<number>(2);
      tx.send(1);
      return { arm: rx, close: () => tx.close(), take: () => void rx.tryRecv() };
    },
    'watch receiver': () => {
      const [tx, rx] = watch.channel(0);
      tx.send(1);
      return { arm: rx, close: () => tx.close(), take: () => void rx.borrowAndUpdate() };
    },
    'watch receiver that is marked': () => {
      const [tx, rx] = watch.channel(0);
      tx.send(1);
      return { arm: rx, close: () => tx.close(), take: () => rx.markUnchanged() };
    },
    'watch receiver that waits': () => {
      const [tx, rx] = watch.channel(0);
      tx.send(1);
      return { arm: rx, close: () => tx.close(), take: () => void rx.changed() };
    },
    JoinSet: () => {
      const set = new JoinSet<number>();
      set.spawn(async () => 1);
      return { arm: set, close: () => {}, take: () => void set.tryJoinNext() };
    },
    'selector over a oneshot receiver': () => {
      const [tx, rx] = oneshot.channel<number>();
      return { arm: createSelector({ rx }), close: () => void tx.send(1), take: () => void rx.tryRecv() };
    },
  };

  it.each(Object.entries(sources))('ends when another has taken the last of a %s', async (_, make) => {
    const { arm, close, take } = make();
    const [items, item] = mpsc.channel<number>(1);
    await drained();
    const selector = createSelector({ arm, item });
    const event = selector.next({ off: ['arm'] });
    items.close();
    close();
    expect(await stateOf(event)).toBe('pending');
    take();
    expect(await event).toEqual({ arm: null });
    expect(await selector.next({ off: ['arm'] })).toEqual({ arm: null });
  });
});
