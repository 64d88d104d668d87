import { expect, it } from 'vitest';
import {
  acquiring,
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
  select,
  sleep,
  TaskTracker,
  timeout,
  watch,
  withEnd,
} from '../../src/channels/index.js';

const aborted = { signal: AbortSignal.abort('no') };
const [, endedRx] = (() => {
  const pair = mpsc.channel<number>(1);
  pair[0].close();
  return pair;
})();
const [failedTx, failedRx] = mpsc.channel<number>(1);
failedTx.close(new Error('reason'));
const [closedTx, closedRx] = mpsc.channel<number>(1);
closedRx.close();
const [fullTx] = mpsc.channel<number>(1);
fullTx.trySend(1);
const [watchTx, watchRx] = watch.channel(0);
watchTx.close();
const [events, eventsRx] = broadcast.channel<number>(1);
events.close();
const [reply, answer] = oneshot.channel<number>();
reply.close();
const cancelled = new CancellationToken();
cancelled.cancel();
const closedSemaphore = new Semaphore(1);
closedSemaphore.close();
const tracker = new TaskTracker();
tracker.close();
const cell = OnceCell.of(1);
const cells = new OnceCell<number>();
const selector = createSelector({ cancelled, endedRx });
const over = createSelector({ endedRx });
const failing = createSelector({ failing: Promise.reject(new Error('arm')) });
const ticks = interval(1e-9, { startAt: -1e9 });
const fail = () => Promise.reject(new Error('init'));

const [tx, rx] = mpsc.channel<number>(1);
const [endlessTx, endlessRx] = mpsc.unboundedChannel<number>();
const endless = createSelector({ endlessRx, never: new Promise<never>(() => {}) });
const [live, liveRx] = broadcast.channel<number>(1);
const [config, configRx] = watch.channel(0);
const notify = new Notify();
const semaphore = new Semaphore(1);

/** Every wait that settles at once, again and again, on what is ready, at its end, closed, failed or aborted. */
const waits: Record<string, () => PromiseLike<unknown>> = {
  'mpsc send and recv': () => tx.send(1).then(() => rx.recv()),
  'unbounded mpsc send and recv': () => {
    endlessTx.send(1);
    return endlessRx.recv();
  },
  'a selector over a receiver that has a value': () => {
    endlessTx.send(1);
    return endless.next();
  },
  'broadcast recv of a value': () => {
    live.send(1);
    return liveRx.recv();
  },
  'watch changed and waitFor of a new value': () => {
    config.send(config.borrow() + 1);
    return configRx.changed().then(() => configRx.waitFor(() => true));
  },
  'Notify notified with a permit': () => {
    notify.notifyOne();
    return notify.notified();
  },
  'Semaphore acquire and release': () => semaphore.acquire().then((permit) => permit.release()),
  'mpsc recv at the end': () => endedRx.recv(),
  'mpsc recv of a failed channel': () => failedRx.recv(),
  'mpsc recv with a signal that has fired': () => endedRx.recv(aborted),
  'mpsc recvMany at the end': () => endedRx.recvMany(4),
  'mpsc recvMany of a failed channel': () => failedRx.recvMany(4),
  'mpsc recvMany of none': () => endedRx.recvMany(0),
  'mpsc next at the end': () => endedRx[Symbol.asyncIterator]().next(),
  'mpsc next of a failed channel': () => failedRx[Symbol.asyncIterator]().next(),
  'mpsc ready at the end': () => endedRx.ready(),
  'mpsc forEach at the end': () => endedRx.forEach(() => {}),
  'mpsc send to a closed channel': () => closedTx.send(1),
  'mpsc sendMany to a closed channel': () => closedTx.sendMany([1]),
  'mpsc sendMany of nothing': () => fullTx.sendMany([]),
  'mpsc sendTimeout of no time': () => fullTx.sendTimeout(1, 0),
  'mpsc reserve of a closed channel': () => closedTx.reserve(),
  'mpsc reserve with a signal that has fired': () => fullTx.reserve(aborted),
  'mpsc reserveMany of none': () => fullTx.reserveMany(0),
  'mpsc closed': () => closedTx.closed(),
  'oneshot recv of a dropped sender': () => answer.recv(),
  'oneshot closed': () => reply.closed(),
  'watch changed of a closed channel': () => watchRx.changed(),
  'watch changed with a signal that has fired': () => watchRx.changed(aborted),
  'watch waitFor that passes': () => watchRx.waitFor(() => true),
  'watch waitFor that never passes': () => watchRx.waitFor(() => false),
  'watch closed': () => watchTx.closed(),
  'watch next at the end': () => watchRx.changes().next(),
  'broadcast recv at the end': () => eventsRx.recv(),
  'broadcast next at the end': () => eventsRx[Symbol.asyncIterator]().next(),
  'broadcast closed': () => events.closed(),
  'Notify notified with a signal that has fired': () => new Notify().notified(aborted),
  'Semaphore acquire of a closed semaphore': () => closedSemaphore.acquire(),
  'Semaphore acquireMany of none': () => new Semaphore(0).acquireMany(0),
  'OnceCell getOrInit': () => cell.getOrInit(() => 2),
  'OnceCell getOrInit that fails': () => cells.getOrInit(fail),
  'CancellationToken cancelled': () => cancelled.cancelled(),
  'CancellationToken runUntilCancelled': () => cancelled.runUntilCancelled(() => 1),
  'CancellationToken runUntilCancelled of a value': () => new CancellationToken().runUntilCancelled(() => 1),
  'JoinSet joinNext of none': () => new JoinSet().joinNext(),
  'JoinSet joinAll of none': () => new JoinSet().joinAll(),
  'JoinSet shutdown of none': () => new JoinSet().shutdown(),
  'TaskTracker wait': () => tracker.wait(),
  'select of a cancelled token': () => select({ cancelled, endedRx }),
  'select of the end': () => select({ endedRx }),
  'select withEnd': () => select({ end: withEnd(endedRx) }),
  'select of a failed channel': () => select({ failedRx }),
  'select of a closed semaphore': () => select({ permit: acquiring(closedSemaphore) }),
  'select with a signal that has fired': () => select({ endedRx }, aborted),
  'selector of a cancelled token': () => selector.next(),
  'selector of the end': () => over.next(),
  'selector of a failed promise': () => failing.next(),
  'sleep of no time': () => sleep(0),
  'interval in a burst': () => ticks.tick(),
  'timeout of the end': () => timeout(1_000, endedRx),
  'timeout of a value': () => timeout(1_000, () => 1),
  'timeout of a promise': () => timeout(1_000, Promise.resolve(1)),
};

it.each(Object.entries(waits))('a loop over %s lets timers run', async (_, wait) => {
  let fired = false;
  const timer = setTimeout(() => {
    fired = true;
  }, 0);
  // Counted in turns, which a busy machine does not take away.
  for (let turns = 0; !fired && turns < 1_000_000; turns++) {
    await wait().then(
      () => {},
      () => {},
    );
  }
  clearTimeout(timer);
  expect(fired).toBe(true);
});
