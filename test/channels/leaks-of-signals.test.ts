import { getEventListeners } from 'node:events';
import { expect, it, vi } from 'vitest';
import {
  broadcast,
  CancellationToken,
  createSelector,
  interval,
  JoinSet,
  mpsc,
  Notify,
  OnceCell,
  oneshot,
  Semaphore,
  SimulatedClock,
  select,
  sleep,
  TaskTracker,
  timeout,
  watch,
} from '../../src/channels/index.js';
import { drained } from '../support/settlement.js';

vi.setConfig({ testTimeout: 120_000 });

type Wait = (signal: AbortSignal) => PromiseLike<unknown>;

/** A wait of each kind, that settles by itself in some microtasks. */
const settling: Record<string, () => Wait> = {
  'mpsc recv': () => {
    const [tx, rx] = mpsc.channel<number>(1);
    return (signal) => after(rx.recv({ signal }), () => tx.trySend(1));
  },
  'mpsc recvMany': () => {
    const [tx, rx] = mpsc.channel<number>(1);
    return (signal) => after(rx.recvMany(4, { signal }), () => tx.trySend(1));
  },
  'mpsc ready': () => {
    const [tx, rx] = mpsc.channel<number>(1);
    return (signal) => after(rx.ready({ signal }), () => tx.trySend(1)).then(() => rx.tryRecv());
  },
  'mpsc send': () => {
    const [tx, rx] = mpsc.channel<number>(1);
    tx.trySend(0);
    return (signal) => after(tx.send(1, { signal }), () => rx.tryRecv());
  },
  'mpsc sendMany': () => {
    const [tx, rx] = mpsc.channel<number>(1);
    tx.trySend(0);
    return (signal) => after(tx.sendMany([1], { signal }), () => rx.tryRecv());
  },
  'mpsc reserve': () => {
    const [tx, rx] = mpsc.channel<number>(1);
    tx.trySend(0);
    return async (signal) => (await after(tx.reserve({ signal }), () => rx.tryRecv())).send(1);
  },
  'oneshot recv': () => (signal) => {
    const [reply, answer] = oneshot.channel<number>();
    return after(answer.recv({ signal }), () => reply.send(1));
  },
  'oneshot closed': () => (signal) => {
    const [reply, answer] = oneshot.channel<number>();
    return after(reply.closed({ signal }), () => answer.close());
  },
  'broadcast recv': () => {
    const [tx, rx] = broadcast.channel<number>(1);
    return (signal) => after(rx.recv({ signal }), () => tx.send(1));
  },
  'watch changed': () => {
    const [tx, rx] = watch.channel(0);
    return (signal) => after(rx.changed({ signal }), () => tx.send(1));
  },
  'watch waitFor': () => {
    const [tx, rx] = watch.channel(0);
    return (signal) => {
      const next = tx.borrow() + 1;
      return after(
        rx.waitFor((value) => value === next, { signal }),
        () => tx.send(next),
      );
    };
  },
  'Notify notified': () => {
    const notify = new Notify();
    return (signal) =>
      after(
        notify.notified({ signal }).then(() => {}),
        () => notify.notifyOne(),
      );
  },
  'Semaphore acquire': () => {
    const semaphore = new Semaphore(0);
    return (signal) => after(semaphore.acquire({ signal }), () => semaphore.addPermits(1));
  },
  'OnceCell getOrInit': () => (signal) => new OnceCell().getOrInit(async () => null, { signal }),
  'CancellationToken cancelled': () => {
    const parent = new CancellationToken();
    return (signal) => {
      const child = parent.childToken();
      return after(child.cancelled({ signal }), () => child.cancel());
    };
  },
  'JoinSet joinNext': () => {
    const set = new JoinSet<number>();
    return (signal) => after(set.joinNext({ signal }), () => void set.spawn(async () => 1));
  },
  'TaskTracker wait': () => (signal) => {
    const tracker = new TaskTracker();
    return after(tracker.wait({ signal }), () => tracker.close());
  },
  select: () => {
    const [tx, rx] = mpsc.channel<number>(1);
    return (signal) => after(select({ rx, signal }, { signal }), () => tx.trySend(1));
  },
  'Selector next': () => {
    const [tx, rx] = mpsc.channel<number>(1);
    const selector = createSelector({ rx });
    return (signal) => after(selector.next({ signal }), () => tx.trySend(1));
  },
  'interval tick': () => {
    const clock = new SimulatedClock();
    const ticks = interval(1, { clock });
    return (signal) => ticks.tick({ signal }).then(() => ticks.resetImmediately());
  },
  timeout: () => {
    const [tx, rx] = mpsc.channel<number>(1);
    return (signal) => after(timeout(1e6, rx, { signal }), () => tx.trySend(1));
  },
  'timeout of a function': () => (signal) => timeout(1e6, async () => 1, { signal }),
  'a token from the signal': () => (signal) => {
    const token = CancellationToken.fromSignal(signal).childToken();
    return after(token.cancelled(), () => token.cancel());
  },
};

function after<T>(wait: Promise<T>, then: () => unknown): Promise<T> {
  then();
  return wait;
}

const ROUNDS = 5_000;

it(`1e5 waits of every kind on one AbortSignal leave no listener on it, none at a time more than one`, async () => {
  const { signal } = new AbortController();
  const kinds = Object.entries(settling).map(([name, make]) => [name, make()] as const);
  expect(kinds.length * ROUNDS).toBeGreaterThan(100_000);
  for (const [name, wait] of kinds) {
    let most = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const waiting = wait(signal);
      if (round % 1_000 === 0) most = Math.max(most, getEventListeners(signal, 'abort').length);
      await waiting;
    }
    expect([name, most <= 1, getEventListeners(signal, 'abort').length]).toEqual([name, true, 0]);
  }
});

it('10,000 concurrent waits of every kind on one AbortSignal give no warning, and all are rejected with its reason', async () => {
  const warnings: unknown[] = [];
  const record = (warning: unknown) => warnings.push(warning);
  process.on('warning', record);
  const [full, rx] = mpsc.channel<number>(1);
  full.trySend(1);
  const [, empty] = mpsc.channel<number>(1);
  const [reply, answer] = oneshot.channel<number>();
  const [events, eventsRx] = broadcast.channel<number>(1);
  const [state, stateRx] = watch.channel(0);
  const semaphore = new Semaphore(0);
  const notify = new Notify();
  const cell = new OnceCell<number>();
  void cell.getOrInit(() => new Promise<number>(() => {}));
  const token = new CancellationToken();
  const tracker = new TaskTracker();
  const set = new JoinSet<void>();
  set.spawn(() => new Promise<void>(() => {}));
  const ticks = interval(1e6, { startAt: 1e12, ref: false });
  const selector = createSelector({ empty, token });
  const waits: Wait[] = [
    (signal) => empty.recv({ signal }),
    (signal) => empty.recvMany(4, { signal }),
    (signal) => empty.ready({ signal }),
    (signal) => empty.forEach(() => {}, { signal }),
    (signal) => full.send(2, { signal }),
    (signal) => full.sendMany([2], { signal }),
    (signal) => full.sendTimeout(2, 1e6, { signal }),
    (signal) => full.reserve({ signal }),
    (signal) => full.closed({ signal }),
    (signal) => answer.recv({ signal }),
    (signal) => reply.closed({ signal }),
    (signal) => eventsRx.recv({ signal }),
    (signal) => events.closed({ signal }),
    (signal) => stateRx.changed({ signal }),
    (signal) => stateRx.waitFor(() => false, { signal }),
    (signal) => state.closed({ signal }),
    (signal) => semaphore.acquireMany(2, { signal }),
    (signal) => notify.notified({ signal }),
    (signal) => cell.getOrInit(() => 1, { signal }),
    (signal) => token.cancelled({ signal }),
    (signal) => tracker.wait({ signal }).then(() => {}),
    (signal) => set.joinNext({ signal }),
    (signal) => ticks.tick({ signal }),
    (signal) => sleep(1e6, { signal }),
    (signal) => select({ empty, token }, { signal }),
    (signal) => selector.next({ signal }),
    (signal) => timeout(1e6, empty, { signal }),
    (signal) => timeout(1e6, () => new Promise<void>(() => {}), { signal }),
  ];
  for (const wait of waits) await expect(wait(AbortSignal.abort('before'))).rejects.toBe('before');
  const controller = new AbortController();
  const { signal } = controller;
  const rejections = Promise.all(
    Array.from({ length: 10_000 }, (_, at) =>
      (waits[at % waits.length] as Wait)(signal).then(
        () => 'it settled',
        (reason: unknown) => reason,
      ),
    ),
  );
  await drained();
  expect(getEventListeners(signal, 'abort')).toHaveLength(1);
  controller.abort('all');
  expect(new Set(await rejections)).toEqual(new Set(['all']));
  await drained();
  process.off('warning', record);
  expect(warnings).toEqual([]);
  expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  expect([rx.len, full.capacity, semaphore.availablePermits, set.len, tracker.len]).toEqual([1, 0, 0, 1, 0]);
});
