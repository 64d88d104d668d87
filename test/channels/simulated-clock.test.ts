import { expect, test } from 'vitest';
import {
  broadcast,
  CancellationToken,
  JoinSet,
  mpsc,
  Semaphore,
  SimulatedClock,
  select,
  sleep,
  timeout,
  watch,
} from '../../src/channels/index.js';

/** Spends units of the budget, so that the next wait meets it in another phase. */
async function spend(units: number): Promise<void> {
  const [tx, rx] = mpsc.channel<number>(1);
  for (let n = 0; n < units; n++) {
    tx.trySend(n);
    await rx.recv();
  }
}

test('SimulatedClock.advance() lets 2,000 receives that a timer sets off run before the next timer', async () => {
  const clock = new SimulatedClock();
  const [tx, rx] = mpsc.channel<number>(4_000);
  for (let n = 0; n < 2_000; n++) tx.trySend(n);
  const log: string[] = [];
  clock.setTimer(() => {
    void (async () => {
      for (let n = 0; n < 2_000; n++) await rx.recv();
      log.push(`received at ${clock.now()}`);
    })();
  }, 10);
  clock.setTimer(() => log.push('timer at 20'), 20);
  await clock.advance(30);
  expect(log).toEqual(['received at 10', 'timer at 20']);
});

/** What a timer sets off: each ends by calling back. */
const effects: Record<string, (clock: SimulatedClock) => Promise<unknown>> = {
  'one receive': async () => {
    const [tx, rx] = mpsc.channel<number>(1);
    tx.trySend(1);
    await rx.recv();
  },
  'a wait that another task ends': async () => {
    const [tx, rx] = mpsc.channel<number>(1);
    const received = rx.recv();
    await tx.send(1);
    await received;
  },
  'sleeps of no length, one after another': async (clock) => {
    for (let n = 0; n < 5; n++) await sleep(0, { clock });
  },
  'a time-out that is over at once, of a function and of an arm': async (clock) => {
    const [, rx] = mpsc.channel<number>(1);
    const stop = AbortSignal.abort();
    await timeout(1_000, (signal) => rx.recv({ signal }), { clock, signal: stop }).catch(() => {});
    await select({ rx, now: sleep(0, { clock }) });
  },
  'an abort that is followed by a macrotask': async (clock) => {
    const [, rx] = mpsc.channel<number>(1);
    const stop = new AbortController();
    const refused = timeout(1_000, (signal) => rx.recv({ signal }), { clock, signal: stop.signal }).catch(() => {});
    stop.abort();
    await refused;
  },
  'a chain over every kind of channel': async (clock) => {
    const [tx, rx] = mpsc.channel<number>(1);
    const [state, seen] = watch.channel(0);
    const [events, listener] = broadcast.channel<number>(4);
    const places = new Semaphore(1);
    const stop = new CancellationToken();
    const tasks = new JoinSet<number>();
    for (let n = 1; n <= 3; n++) {
      tasks.spawn(async () => {
        (await places.acquire()).release();
        state.send(n);
        await seen.changed();
        events.send(n);
        await listener.recv();
        await tx.send(n);
        await rx.recv();
        await sleep(0, { clock });
        return n;
      });
    }
    for await (const _ of tasks);
    stop.cancel();
    await stop.cancelled();
  },
  'promises of its own': async () => {
    for (let n = 0; n < 10_000; n++) await null;
  },
  'a long stream': async () => {
    const [tx, rx] = mpsc.channel<number>(2);
    const sending = tx.sendMany(Array.from({ length: 3_000 }, (_, n) => n)).then(() => tx.close());
    for await (const _ of rx);
    await sending;
  },
};

test.each(Object.entries(effects))(
  'SimulatedClock.advance() lets %s run its course before time moves on, in every phase of the budget',
  async (_, effect) => {
    for (let phase = 0; phase < 34; phase++) {
      await spend(phase === 0 ? 0 : 1);
      const clock = new SimulatedClock();
      const log: string[] = [];
      for (const at of [10, 20]) {
        clock.setTimer(() => {
          log.push(`fired ${at}`);
          void effect(clock).then(() => log.push(`over at ${clock.now()}`));
        }, at);
      }
      await clock.advance(25);
      expect(log).toEqual(['fired 10', 'over at 10', 'fired 20', 'over at 20']);
    }
  },
);

test('SimulatedClock.advance() is not deceived by a wall clock that has stood still for long', async () => {
  for (let round = 0; round < 8; round++) {
    // The budget also ends by time: whatever this machine does, a burst is over after 8 ms.
    const until = performance.now() + 9;
    while (performance.now() < until);
    const clock = new SimulatedClock();
    const log: number[] = [];
    for (const at of [1, 2, 3]) {
      clock.setTimer(() => void spend(40).then(() => log.push(clock.now())), at);
    }
    await clock.advance(3);
    expect(log).toEqual([1, 2, 3]);
  }
});

test('SimulatedClock.advance() runs what came before it to its end first', async () => {
  const clock = new SimulatedClock();
  let received = -1;
  void spend(3_000).then(() => {
    received = clock.now();
  });
  await clock.advance(10);
  expect(received).toBe(0);
});

test('SimulatedClock.advance() calls that overlap move time one after the other', async () => {
  const clock = new SimulatedClock();
  const log: string[] = [];
  clock.setTimer(() => void spend(2_000).then(() => log.push(`at ${clock.now()}`)), 5);
  clock.setTimer(() => log.push('ten'), 10);
  await Promise.all([clock.advance(5), clock.advance(5)]);
  expect(log).toEqual(['at 5', 'ten']);
  expect(clock.now()).toBe(10);
});

test('SimulatedClock.advance() ends though a loop that it set off never comes to rest', async () => {
  const clock = new SimulatedClock();
  let isOver = false;
  let turns = 0;
  void (async () => {
    while (!isOver) {
      await sleep(0, { clock });
      turns++;
    }
  })();
  await clock.advance(1);
  isOver = true;
  expect(turns).toBeGreaterThan(100);
  expect(clock.now()).toBe(1);
});
