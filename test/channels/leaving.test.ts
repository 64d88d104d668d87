import { Session } from 'node:inspector';
import { describe, expect, it } from 'vitest';
import type { Selectable } from '../../src/channels/index.js';
import { drained } from '../support/settlement.js';

// Started before the channels are loaded: V8 counts the blocks only of what is compiled afterwards.
const session = new Session();
session.connect();
session.post('Profiler.enable');
session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
const {
  acquiring,
  broadcast,
  CancellationToken,
  JoinSet,
  mpsc,
  Notify,
  oneshot,
  reserving,
  Semaphore,
  select,
  sleep,
  watch,
} = await import('../../src/channels/index.js');

const FEW = 100;
const MANY = 1_000;
const LEAVING = 20;

interface Scene {
  /** Starts a wait, and answers how it leaves. */
  wait(): () => unknown;
  /** Lets go of those who are still waiting. */
  end(): void;
}

/** A scene over a source: how to wait for it, and how to let go of those who wait. */
function over<S>(make: () => S, wait: (source: S) => Scene['wait'], end: (source: S) => void): () => Scene {
  return () => {
    const source = make();
    return { wait: wait(source), end: () => end(source) };
  };
}

function aborting(wait: (signal: AbortSignal) => unknown): Scene['wait'] {
  return () => {
    const controller = new AbortController();
    void Promise.resolve(wait(controller.signal)).catch(() => {});
    return () => controller.abort();
  };
}

function iterating(iterable: () => AsyncIterator<unknown>): Scene['wait'] {
  return () => {
    const iterator = iterable();
    void iterator.next();
    return () => iterator.return?.();
  };
}

interface Closable {
  close(): void;
}

/** Waits on a handle of one's own, and leaves by closing it. */
function closing<H extends Closable>(make: () => H, wait: (handle: H) => Promise<unknown>): Scene['wait'] {
  return () => {
    const handle = make();
    wait(handle).catch(() => {});
    return () => handle.close();
  };
}

interface ClosedSender extends Closable {
  closed(): Promise<void>;
}
const closed = (tx: ClosedSender) => tx.closed();
const cloning = ([tx]: readonly [{ clone(): ClosedSender }, unknown]) => closing(() => tx.clone(), closed);
const selecting = (arm: Selectable<unknown>) => aborting((signal) => select({ arm, again: arm }, { signal }));
const close = (source: Closable): void => source.close();
const closeTx = ([tx]: readonly [Closable, unknown]): void => tx.close();
const closeRx = ([, rx]: readonly [unknown, Closable]): void => rx.close();

const empty = () => mpsc.channel<number>(1);
const full = () => {
  const [tx, rx] = empty();
  tx.trySend(0);
  return [tx, rx] as const;
};
const events = () => broadcast.channel<number>(4);
const eventsTx = () => broadcast.sender<number>(4);
const state = () => watch.channel(0);
const stateTx = () => watch.sender(0);
const notifying = () => new Notify();
const wakeAll = (notify: ReturnType<typeof notifying>): void => notify.notifyWaiters();
const semaphores = () => new Semaphore(0);
const addPermits = (semaphore: ReturnType<typeof semaphores>): void => semaphore.addPermits(MANY);
const tokens = () => new CancellationToken();
const cancel = (token: ReturnType<typeof tokens>): void => token.cancel();
const timers = () => sleep(1_000_000, { ref: false });
const running = () => {
  const set = new JoinSet<number>();
  set.spawn(() => new Promise<number>(() => {}));
  return set;
};

const scenes: Readonly<Record<string, () => Scene>> = {
  'mpsc iterators': over(empty, ([, rx]) => iterating(() => rx[Symbol.asyncIterator]()), closeTx),
  'mpsc receives': over(empty, ([, rx]) => aborting((signal) => rx.recv({ signal })), closeTx),
  'mpsc batches': over(empty, ([, rx]) => aborting((signal) => rx.recvMany(2, { signal })), closeTx),
  'mpsc ready()': over(empty, ([, rx]) => aborting((signal) => rx.ready({ signal })), closeTx),
  'mpsc arms': over(empty, ([, rx]) => selecting(rx), closeTx),
  'mpsc sends': over(full, ([tx]) => aborting((signal) => tx.send(1, { signal })), closeRx),
  'mpsc reservations': over(full, ([tx]) => aborting((signal) => tx.reserve({ signal })), closeRx),
  'reserving() arms': over(full, ([tx]) => selecting(reserving(tx)), closeRx),
  'mpsc senders that wait for the close': over(empty, cloning, closeRx),
  'broadcast receivers': over(eventsTx, (tx) => closing(tx.subscribe.bind(tx), (rx) => rx.recv()), close),
  'broadcast receives': over(events, ([, rx]) => aborting((signal) => rx.recv({ signal })), closeTx),
  'broadcast iterators of one receiver': over(events, ([, rx]) => iterating(() => rx[Symbol.asyncIterator]()), closeTx),
  'broadcast iterators of many receivers': over(
    eventsTx,
    (tx) => iterating(() => tx.subscribe()[Symbol.asyncIterator]()),
    close,
  ),
  'broadcast arms': over(events, ([, rx]) => selecting(rx), closeTx),
  'broadcast senders that wait for the receivers to go': over(events, cloning, closeRx),
  'watch receivers': over(stateTx, (tx) => closing(tx.subscribe.bind(tx), (rx) => rx.changed()), close),
  'watch iterators of one receiver': over(state, ([, rx]) => iterating(() => rx.changes()), closeTx),
  'watch iterators of many receivers': over(stateTx, (tx) => iterating(() => tx.subscribe().changes()), close),
  'watch arms': over(state, ([, rx]) => selecting(rx), closeTx),
  'watch senders that wait for the receivers to go': over(state, cloning, closeRx),
  'JoinSet iterators': over(
    running,
    (set) => iterating(() => set[Symbol.asyncIterator]()),
    (set) => set.detachAll(),
  ),
  'oneshot receives': over(
    () => oneshot.channel<number>(),
    ([, rx]) => aborting((signal) => rx.recv({ signal })),
    closeTx,
  ),
  'notify waits': over(notifying, (notify) => aborting((signal) => notify.notified({ signal })), wakeAll),
  'notify arms': over(notifying, (notify) => selecting(notify), wakeAll),
  'semaphore waits': over(semaphores, (semaphore) => aborting((signal) => semaphore.acquire({ signal })), addPermits),
  'semaphore arms': over(semaphores, (semaphore) => selecting(acquiring(semaphore)), addPermits),
  'token waits': over(tokens, (token) => aborting((signal) => token.cancelled({ signal })), cancel),
  'token children': over(tokens, (token) => aborting((signal) => token.childToken().cancelled({ signal })), cancel),
  'timer arms': over(
    timers,
    (timer) => selecting(timer),
    (timer) => timer.reset(0),
  ),
};

describe.each(Object.entries(scenes))('leaving among %s', (_, make) => {
  it('takes as many steps however many go on waiting', async () => {
    const among = await stepsOfLeaving(make, FEW);
    expect(among).toBeGreaterThan(0);
    expect(await stepsOfLeaving(make, MANY)).toBeLessThan(1.5 * among);
  });
});

/** How many blocks of our code run while some of those who wait leave. */
async function stepsOfLeaving(make: () => Scene, waiting: number): Promise<number> {
  const { wait, end } = make();
  const leaves = Array.from({ length: waiting }, wait);
  await drained();
  takeSteps();
  // From the middle, where neither end of a list is near.
  for (const leave of leaves.slice(waiting / 2, waiting / 2 + LEAVING)) void leave();
  const steps = takeSteps();
  end();
  await drained();
  return steps;
}

/** How many blocks of our code have run since the last call. */
function takeSteps(): number {
  let steps = 0;
  session.post('Profiler.takePreciseCoverage', (_error, { result }) => {
    for (const { url, functions } of result) {
      if (!url.includes('/dist/')) continue;
      for (const { ranges } of functions) for (const { count } of ranges) steps += count;
    }
  });
  return steps;
}
