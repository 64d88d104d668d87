import {
  acquiring,
  broadcast,
  CancellationToken,
  createSelector,
  interval,
  JoinQueue,
  JoinSet,
  mpsc,
  Notify,
  oneshot,
  reserving,
  type Selectable,
  Semaphore,
  SimulatedClock,
  select,
  sleep,
  watch,
  withEnd,
} from '../../../src/channels/index.js';

type Arm = Selectable<unknown> | AbortSignal | PromiseLike<unknown>;

/** One source, and what can happen to it. */
export interface ArmOfKind {
  readonly arm: Arm;
  /** Has the source win once. Synchronous where the source is. */
  fire(): void | Promise<void>;
  /** Ends the source, if it can end. */
  end?(): void;
  /** Whether it can fire again for another that waits. */
  readonly again: boolean;
  /** Whether everybody who waits wins with one firing. */
  readonly forAll: boolean;
}

const noop = (): void => {};

/** Every kind of arm by name, waiting to be fired. */
export const armKinds: Readonly<Record<string, () => ArmOfKind>> = {
  'mpsc receiver': () => {
    const [tx, rx] = mpsc.channel<number>(4);
    return { arm: rx, fire: () => tx.trySend(1), end: () => tx.close(), again: true, forAll: false };
  },
  'unbounded mpsc receiver': () => {
    const [tx, rx] = mpsc.unboundedChannel<number>();
    return { arm: rx, fire: () => tx.send(1), end: () => rx.close(), again: true, forAll: false };
  },
  'withEnd(mpsc receiver)': () => {
    const [tx, rx] = mpsc.channel<number>(4);
    return { arm: withEnd(rx), fire: () => tx.trySend(1), again: true, forAll: false };
  },
  'oneshot receiver': () => {
    const [tx, rx] = oneshot.channel<number>();
    return { arm: rx, fire: () => void tx.send(1), end: () => tx.close(), again: false, forAll: false };
  },
  'withEnd(oneshot receiver)': () => {
    const [tx, rx] = oneshot.channel<number>();
    return { arm: withEnd(rx), fire: () => void tx.send(1), again: false, forAll: true };
  },
  'watch receiver': () => {
    const [tx, rx] = watch.channel(0);
    return { arm: rx, fire: () => tx.send(1), end: () => tx.close(), again: true, forAll: false };
  },
  'broadcast receiver': () => {
    const [tx, rx] = broadcast.channel<number>(4);
    return { arm: rx, fire: () => void tx.send(1), end: () => tx.close(), again: true, forAll: false };
  },
  'broadcast receiver that clones': () => {
    const [tx, rx] = broadcast.channel<number>(4, { clone: (value) => value });
    return { arm: rx, fire: () => void tx.send(1), end: () => rx.close(), again: true, forAll: false };
  },
  JoinSet: () => {
    const set = new JoinSet<number>();
    const [tx, rx] = mpsc.channel<number>(4);
    const spawn = (): void => void set.spawn(() => rx.recv().then(() => 1));
    for (let task = 0; task < 4; task++) spawn();
    return {
      arm: set,
      fire: async () => {
        tx.trySend(1);
        for (let hop = 0; hop < 10; hop++) await null;
      },
      end: () => set.detachAll(),
      again: true,
      forAll: false,
    };
  },
  'JoinSet with one task': () => {
    const set = new JoinSet<number>();
    const [tx, rx] = oneshot.channel<number>();
    set.spawn(() => rx.recv());
    return {
      arm: withEnd(set),
      fire: async () => {
        tx.send(1);
        for (let hop = 0; hop < 10; hop++) await null;
      },
      again: false,
      forAll: true,
    };
  },
  JoinQueue: () => {
    const queue = new JoinQueue<number>();
    const [tx, rx] = mpsc.channel<number>(4);
    for (let task = 0; task < 4; task++) queue.spawn(() => rx.recv().then(() => 1));
    return {
      arm: queue,
      fire: async () => {
        tx.trySend(1);
        for (let hop = 0; hop < 10; hop++) await null;
      },
      end: () => queue.detachAll(),
      again: true,
      forAll: false,
    };
  },
  Notify: () => {
    const notify = new Notify();
    return { arm: notify, fire: () => notify.notifyOne(), again: true, forAll: false };
  },
  Notified: () => {
    const notify = new Notify();
    return { arm: notify.notified(), fire: () => notify.notifyOne(), again: false, forAll: true };
  },
  'acquiring(semaphore)': () => {
    const semaphore = new Semaphore(0);
    return { arm: acquiring(semaphore), fire: () => semaphore.addPermits(1), again: true, forAll: false };
  },
  'acquiring(semaphore, 2)': () => {
    const semaphore = new Semaphore(1);
    let first = true;
    return {
      arm: acquiring(semaphore, 2),
      fire: () => {
        semaphore.addPermits(first ? 1 : 2);
        first = false;
      },
      again: true,
      forAll: false,
    };
  },
  'reserving(sender)': () => {
    const [tx, rx] = mpsc.channel<number>(2);
    tx.trySend(1);
    tx.trySend(1);
    return { arm: reserving(tx), fire: () => void rx.tryRecv(), end: () => tx.close(), again: true, forAll: false };
  },
  CancellationToken: () => {
    const token = new CancellationToken();
    return { arm: token, fire: () => token.cancel(), again: false, forAll: true };
  },
  'child of a token': () => {
    const token = new CancellationToken();
    return { arm: token.childToken(), fire: () => token.cancel(), again: false, forAll: true };
  },
  AbortSignal: () => {
    const controller = new AbortController();
    return { arm: controller.signal, fire: () => controller.abort(), again: false, forAll: true };
  },
  sleep: () => {
    const clock = new SimulatedClock();
    return { arm: sleep(10, { clock }), fire: () => clock.advance(10), again: false, forAll: true };
  },
  interval: () => {
    const clock = new SimulatedClock();
    const ticks = interval(10, { clock, startAt: 10 });
    return { arm: ticks, fire: () => clock.advance(10), again: true, forAll: false };
  },
  promise: () => {
    let resolve: (value: number) => void = noop;
    const arm = new Promise<number>((settle) => {
      resolve = settle;
    });
    return { arm, fire: () => resolve(1), again: false, forAll: true };
  },
  selector: () => {
    const [tx, rx] = mpsc.channel<number>(4);
    return {
      arm: createSelector({ rx }),
      fire: () => tx.trySend(1),
      end: () => tx.close(),
      again: true,
      forAll: false,
    };
  },
  'selector over a source in two arms, in a selector': () => {
    const [tx, rx] = broadcast.channel<number>(4);
    const arm = createSelector({ inner: createSelector({ a: rx, b: rx }), c: rx });
    return { arm, fire: () => void tx.send(1), end: () => tx.close(), again: true, forAll: false };
  },
  'selector over a watch receiver': () => {
    const [tx, rx] = watch.channel(0);
    const arm = createSelector({ a: withEnd(rx), b: rx });
    return { arm, fire: () => tx.send(1), again: true, forAll: false };
  },
};

/** A wait on one arm alone, as an event. */
export function waitFor(arm: Arm): Promise<{ readonly arm: string | null; readonly value?: unknown }> {
  return select({ one: arm as Selectable<unknown> });
}
