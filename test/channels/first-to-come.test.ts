import { describe, expect, it } from 'vitest';
import {
  broadcast,
  CancellationToken,
  createSelector,
  mpsc,
  type Selectable,
  SimulatedClock,
  select,
  sleep,
} from '../../src/channels/index.js';
import { armKinds } from './support/arm-kinds.js';

type Arm = Selectable<unknown>;

/** What a channel may have carried before. */
const histories: Readonly<Record<string, (tx: mpsc.Sender<number>, rx: mpsc.Receiver<number>) => Promise<void>>> = {
  nothing: async () => {},
  'a stream for a receiver that waits': async (tx, rx) => {
    for (let value = 0; value < 200; value++) {
      const next = rx.recv();
      tx.trySend(value);
      tx.trySend(value);
      await next;
      await rx.recv();
    }
  },
  'a stream by for await': async (tx, rx) => {
    const consumer = (async () => {
      let left = 500;
      for await (const _ of rx) if (--left === 0) return;
    })();
    for (let value = 0; value < 500; value++) await tx.send(value);
    await consumer;
  },
  'bursts taken by recvMany': async (tx, rx) => {
    for (let round = 0; round < 50; round++) {
      const batch = rx.recvMany(8);
      for (let value = 0; value < 8; value++) tx.trySend(value);
      let left = 8 - (await batch).length;
      while (left > 0) left -= (await rx.recvMany(left)).length;
    }
  },
  'single values by ready()': async (tx, rx) => {
    for (let round = 0; round < 50; round++) {
      const ready = rx.ready();
      tx.trySend(round);
      await ready;
      rx.tryRecv();
    }
  },
};

describe.each(Object.entries(histories))('select() over a channel that has carried %s', (_, carry) => {
  for (let hops = 0; hops <= 3; hops++) {
    it(`answers the value that was sent ${hops} microtasks before the token was cancelled`, async () => {
      const [tx, item] = mpsc.channel<number>(64);
      await carry(tx, item);
      const stop = new CancellationToken();
      const event = select({ stop, item }, { biased: true });
      const nested = select({ stop, inner: createSelector({ item }) }, { biased: true });
      tx.trySend(1);
      tx.trySend(2);
      for (let hop = 0; hop < hops; hop++) await null;
      stop.cancel();
      expect(await event).toEqual({ arm: 'item', value: 1 });
      expect(await nested).toEqual({ arm: 'inner', value: { arm: 'item', value: 2 } });
    });
  }

  it('settles a receive before whatever is settled after its value was sent', async () => {
    const [tx, rx] = mpsc.channel<number>(64);
    await carry(tx, rx);
    for (const wait of [() => rx.recv(), () => rx[Symbol.asyncIterator]().next(), () => rx.ready()]) {
      const stop = new CancellationToken();
      const raced = Promise.race([wait().then(() => 'value'), new Promise((resolve) => resolve(stop.cancelled()))]);
      tx.trySend(1);
      await null;
      stop.cancel();
      expect(await raced).toBe('value');
      rx.tryRecv();
    }
  });
});

// A promise tells of itself a microtask after it was resolved; tasks learn of a result by one.
const later = ['promise', 'JoinSet', 'JoinSet with one task', 'JoinQueue'];
const kinds = Object.entries(armKinds).filter(([name]) => !later.includes(name));
const pairs = kinds.flatMap(([first, one]) => kinds.map(([second, other]) => [first, second, one, other] as const));

describe('of two arms the first to come wins', () => {
  it.each(pairs)('%s before %s', async (_first, _second, one, other) => {
    const first = one();
    const second = other();
    const arms = { second: second.arm as Arm, first: first.arm as Arm };
    const events = [select(arms, { biased: true })];
    if (first.again || first.forAll) events.push(createSelector(arms, { biased: true }).next());
    // One that serves one at a time is fired for each.
    await first.fire();
    if (first.again) await first.fire();
    await second.fire();
    for (const event of events) expect((await event).arm).toBe('first');
  });

  it('a lagging receiver fails the select before a later value wins it', async () => {
    const [btx, lagging] = broadcast.channel<number>(1);
    const [tx, rx] = mpsc.channel<number>(1);
    btx.send(1);
    btx.send(2);
    const event = select({ rx, lagging }, { biased: true });
    tx.trySend(1);
    await expect(event).rejects.toMatchObject({ code: 'ERR_BROADCAST_LAGGED' });
  });

  it('a deadline that passes in the same turn comes after the value', async () => {
    const clock = new SimulatedClock();
    const [tx, rx] = mpsc.channel<number>(1);
    const event = select({ late: sleep(10, { clock }), rx }, { biased: true });
    clock.setTimer(() => tx.trySend(1), 10);
    const advanced = clock.advance(10);
    expect((await event).arm).toBe('late');
    await advanced;
    expect(rx.tryRecv()).toEqual({ state: 'ok', value: 1 });
  });
});
