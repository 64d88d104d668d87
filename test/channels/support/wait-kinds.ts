import {
  acquiring,
  broadcast,
  createSelector,
  interval,
  JoinSet,
  mpsc,
  Notify,
  oneshot,
  Semaphore,
  SimulatedClock,
  select,
  watch,
} from '../../../src/channels/index.js';

export type Wait = (signal: AbortSignal) => PromiseLike<unknown>;

/** A source, and a wait on it. */
export interface WaitOfKind {
  readonly wait: Wait;
  /** Has the source give something, once. */
  give(): void;
  /** How many of what was given are still there for the next. */
  left(): number;
  /** How many a result holds; one unless said. */
  held?(result: unknown): number;
}

const counted = (found: { readonly state: string }): number => (found.state === 'ok' ? 1 : 0);

/** Waits of every kind that take something, by name. */
export const takingWaits: Readonly<Record<string, () => WaitOfKind>> = {
  'recv()': () => {
    const [tx, rx] = mpsc.channel<number>(4);
    return { wait: (signal) => rx.recv({ signal }), give: () => tx.trySend(1), left: () => counted(rx.tryRecv()) };
  },
  'recvMany()': () => {
    const [tx, rx] = mpsc.channel<number>(4);
    return {
      wait: (signal) => rx.recvMany(3, { signal }),
      give: () => {
        tx.trySend(1);
        tx.trySend(2);
      },
      left: () => rx.len,
      held: (result) => (result as number[]).length,
    };
  },
  'recvManyInto()': () => {
    const [tx, rx] = mpsc.channel<number>(4);
    const buffer: number[] = [];
    return {
      wait: (signal) => rx.recvManyInto(buffer, 3, { signal }),
      give: () => {
        tx.trySend(1);
        tx.trySend(2);
      },
      left: () => rx.len,
      held: (result) => result as number,
    };
  },
  'a wait for ready() and tryRecv()': () => {
    const [tx, rx] = mpsc.channel<number>(4);
    return {
      wait: (signal) => rx.ready({ signal }).then(() => rx.tryRecv()),
      give: () => tx.trySend(1),
      left: () => counted(rx.tryRecv()),
    };
  },
  'reserve()': () => {
    const [tx, rx] = mpsc.channel<number>(1);
    tx.trySend(1);
    return { wait: (signal) => tx.reserve({ signal }), give: () => void rx.tryRecv(), left: () => tx.capacity };
  },
  'reserveMany()': () => {
    const [tx, rx] = mpsc.channel<number>(2);
    tx.trySend(1);
    return {
      wait: (signal) => tx.reserveMany(2, { signal }),
      give: () => void rx.tryRecv(),
      left: () => tx.capacity / 2,
    };
  },
  'acquire()': () => {
    const semaphore = new Semaphore(0);
    return {
      wait: (signal) => semaphore.acquire({ signal }),
      give: () => semaphore.addPermits(1),
      left: () => semaphore.availablePermits,
    };
  },
  'acquireMany()': () => {
    const semaphore = new Semaphore(2);
    return {
      wait: (signal) => semaphore.acquireMany(3, { signal }),
      give: () => semaphore.addPermits(1),
      left: () => semaphore.availablePermits / 3,
    };
  },
  'oneshot recv()': () => {
    const [tx, rx] = oneshot.channel<number>();
    return { wait: (signal) => rx.recv({ signal }), give: () => void tx.send(1), left: () => counted(rx.tryRecv()) };
  },
  'watch changed()': () => {
    const [tx, rx] = watch.channel(0);
    return { wait: (signal) => rx.changed({ signal }), give: () => tx.send(1), left: () => (rx.hasChanged() ? 1 : 0) };
  },
  'broadcast recv()': () => {
    const [tx, rx] = broadcast.channel<number>(4);
    return { wait: (signal) => rx.recv({ signal }), give: () => void tx.send(1), left: () => counted(rx.tryRecv()) };
  },
  'notified()': () => {
    const notify = new Notify();
    return {
      wait: (signal) => notify.notified({ signal }),
      give: () => notify.notifyOne(),
      left: () => (notify.notified().enable() ? 1 : 0),
    };
  },
  'JoinSet joinNext()': () => {
    const set = new JoinSet<number>();
    const [tx, rx] = oneshot.channel<number>();
    set.spawn(() => rx.recv());
    return { wait: (signal) => set.joinNext({ signal }), give: () => void tx.send(1), left: () => set.len };
  },
  'interval tick()': () => {
    const clock = new SimulatedClock();
    const ticks = interval(10, { clock, startAt: 10 });
    let timer: (() => void) | undefined;
    const setTimer = clock.setTimer.bind(clock);
    clock.setTimer = (callback, ms, options) => {
      timer = callback;
      return setTimer(callback, ms, options);
    };
    let now = 0;
    clock.now = () => now;
    return {
      wait: (signal) => ticks.tick({ signal }),
      give: () => {
        now = 10;
        timer?.();
      },
      left: () => {
        const slot = { value: undefined };
        return ticks.selectSource().poll(slot) === 1 ? 1 : 0;
      },
    };
  },
  'select()': () => {
    const [tx, rx] = mpsc.channel<number>(4);
    const notify = new Notify();
    return {
      wait: (signal) => select({ rx, notify }, { signal }),
      give: () => tx.trySend(1),
      left: () => counted(rx.tryRecv()),
    };
  },
  'select() over watch and broadcast': () => {
    const [tx, rx] = broadcast.channel<number>(4, { clone: (value) => value });
    const [, config] = watch.channel(0);
    return {
      wait: (signal) => select({ rx, config }, { signal }),
      give: () => void tx.send(1),
      left: () => counted(rx.tryRecv()),
    };
  },
  'select() over a permit, in a selector': () => {
    const semaphore = new Semaphore(1);
    const inner = createSelector({ permit: acquiring(semaphore, 2) });
    return {
      wait: (signal) => select({ inner }, { signal }),
      give: () => semaphore.addPermits(1),
      left: () => semaphore.availablePermits / 2,
    };
  },
};
