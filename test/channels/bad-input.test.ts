import { getEventListeners } from 'node:events';
import { expect, it } from 'vitest';
import {
  acquiring,
  broadcast,
  CancellationToken,
  createSelector,
  fromAsyncIterable,
  fromCallback,
  fromReadableStream,
  fromWritableStream,
  interval,
  JoinSet,
  mpsc,
  Notify,
  OnceCell,
  oneshot,
  reserving,
  Semaphore,
  SimulatedClock,
  select,
  sleep,
  sleepUntil,
  systemClock,
  TaskTracker,
  timeout,
  toReadableStream,
  toRepeater,
  toWritableStream,
  watch,
  withEnd,
} from '../../src/channels/index.js';
import { fromNodeReadable, fromNodeWritable, toNodeReadable, toNodeWritable } from '../../src/channels/stream/node.js';
import { drained } from '../support/settlement.js';

const values = {
  undefined: undefined,
  null: null,
  5: 5,
  0: 0,
  '-1': -1,
  1.5: 1.5,
  NaN: Number.NaN,
  Infinity: Number.POSITIVE_INFINITY,
  '2 ** 53': 2 ** 53,
  "''": '',
  "'5'": '5',
  true: true,
  '5n': 5n,
  symbol: Symbol('s'),
  '{}': {},
  '[]': [],
  function: () => {},
  'Object.create(null)': Object.create(null),
  'an unknown option': { nope: 1 },
};
type Bad = `${keyof typeof values}`;

/** What is legal where something of a kind is asked for; everything else must be refused. */
const nothing: Bad[] = [];
const optional: Bad[] = ['undefined'];
const options: Bad[] = ['undefined', '{}', 'Object.create(null)'];
const callable: Bad[] = ['function'];
const count: Bad[] = ['5', '0'];
const positive: Bad[] = ['5'];
const duration: Bad[] = ['5', '0', '1.5', '2 ** 53'];
const instant: Bad[] = [...duration, '-1', 'Infinity'];
const limit: Bad[] = [...count, 'Infinity'];
const falsy: Bad[] = ['undefined', 'null', '0', 'NaN', "''"];

const [tx, rx] = mpsc.channel<unknown>(4);
const [reply, answer] = oneshot.channel<unknown>();
const [events, eventsRx] = broadcast.channel<unknown>(4);
const [state, stateRx] = watch.channel<unknown>(0);
const semaphore = new Semaphore(3);
const permit = semaphore.tryAcquire();
const tasks = new JoinSet<unknown>();
const tracker = new TaskTracker();
const token = new CancellationToken();
const timer = sleep(1e6);
const ticks = interval(1e6);
const clock = new SimulatedClock();
const selector = createSelector({ rx });
const noop = () => {};

// biome-ignore lint/suspicious/noExplicitAny: wrong types are what is tested
type Wrong = any;

const fresh = () => mpsc.channel<unknown>(1)[0];

const doors: Record<string, [legal: Bad[], call: (bad: Wrong) => unknown]> = {
  'mpsc.channel(capacity)': [positive, (bad) => mpsc.channel(bad)],
  'mpsc.channel(, options)': [options, (bad) => mpsc.channel(1, bad)],
  'mpsc.channel(, { onUndelivered })': [[...optional, ...callable], (bad) => mpsc.channel(1, { onUndelivered: bad })],
  'mpsc.channel(, { clock })': [optional, (bad) => mpsc.channel(1, { clock: bad })],
  'mpsc.unboundedChannel(options)': [options, (bad) => mpsc.unboundedChannel(bad)],
  'mpsc Sender.send(, options)': [options, (bad) => fresh().send(1, bad)],
  'mpsc Sender.send(, { signal })': [optional, (bad) => fresh().send(1, { signal: bad })],
  'mpsc Sender.sendTimeout(, ms)': [instant, (bad) => fresh().sendTimeout(1, bad)],
  'mpsc Sender.sendTimeout(, , options)': [options, (bad) => fresh().sendTimeout(1, 5, bad)],
  'mpsc Sender.sendMany(values)': [["''", "'5'", '[]'], (bad) => fresh().sendMany(bad)],
  'mpsc Sender.sendMany(, options)': [options, (bad) => tx.sendMany([], bad)],
  'mpsc Sender.reserve(options)': [options, (bad) => fresh().reserve(bad)],
  'mpsc Sender.reserveMany(count)': [['0'], (bad) => tx.reserveMany(bad)],
  'mpsc Sender.reserveMany(, options)': [options, (bad) => tx.reserveMany(0, bad)],
  'mpsc Sender.tryReserveMany(count)': [['0', '5'], (bad) => mpsc.channel(9)[0].tryReserveMany(bad)],
  'mpsc Sender.reserveOwned(options)': [options, (bad) => fresh().reserveOwned(bad)],
  'mpsc Sender.closed(options)': [options, (bad) => tx.closed(bad)],
  'mpsc Receiver.recv(options)': [options, (bad) => rx.recv(bad)],
  'mpsc Receiver.recv({ signal })': [optional, (bad) => rx.recv({ signal: bad })],
  'mpsc Receiver.recvMany(limit)': [limit, (bad) => rx.recvMany(bad)],
  'mpsc Receiver.recvMany(, options)': [options, (bad) => rx.recvMany(5, bad)],
  'mpsc Receiver.recvManyInto(buffer)': [['[]'], (bad) => rx.recvManyInto(bad, 5)],
  'mpsc Receiver.recvManyInto(, limit)': [limit, (bad) => rx.recvManyInto([], bad)],
  'mpsc Receiver.recvManyInto(, , options)': [options, (bad) => rx.recvManyInto([], 5, bad)],
  'mpsc Receiver.forEach(callback)': [callable, (bad) => rx.forEach(bad)],
  'mpsc Receiver.forEach(, options)': [options, (bad) => rx.forEach(noop, bad)],
  'mpsc Receiver.ready(options)': [options, (bad) => rx.ready(bad)],
  'oneshot Receiver.recv(options)': [options, (bad) => answer.recv(bad)],
  'oneshot Sender.closed(options)': [options, (bad) => reply.closed(bad)],
  'broadcast.channel(capacity)': [positive, (bad) => broadcast.channel(bad)],
  'broadcast.channel(, options)': [options, (bad) => broadcast.channel(1, bad)],
  'broadcast.channel(, { clone })': [[...optional, ...callable], (bad) => broadcast.channel(1, { clone: bad })],
  'broadcast.sender(capacity)': [positive, (bad) => broadcast.sender(bad)],
  'broadcast Receiver.recv(options)': [options, (bad) => eventsRx.recv(bad)],
  'broadcast Receiver.recvMany(limit)': [limit, (bad) => eventsRx.recvMany(bad)],
  'broadcast Receiver.recvMany(, options)': [options, (bad) => eventsRx.recvMany(5, bad)],
  'broadcast Receiver.ready(options)': [options, (bad) => eventsRx.ready(bad)],
  'broadcast Sender.closed(options)': [options, (bad) => events.closed(bad)],
  'watch Receiver.changed(options)': [options, (bad) => stateRx.changed(bad)],
  'watch Receiver.waitFor(predicate)': [callable, (bad) => stateRx.waitFor(bad)],
  'watch Receiver.waitFor(, options)': [options, (bad) => stateRx.waitFor(() => false, bad)],
  'watch Sender.sendModify(modify)': [callable, (bad) => state.sendModify(bad)],
  'watch Sender.sendIfModified(modify)': [callable, (bad) => state.sendIfModified(bad)],
  'watch Sender.closed(options)': [options, (bad) => state.closed(bad)],
  'Notify.notified(options)': [options, (bad) => new Notify().notified(bad)],
  'new Semaphore(permits)': [count, (bad) => new Semaphore(bad)],
  'Semaphore.acquire(options)': [options, (bad) => new Semaphore(1).acquire(bad)],
  'Semaphore.acquireMany(count)': [count, (bad) => new Semaphore(9).acquireMany(bad)],
  'Semaphore.tryAcquireMany(count)': [count, (bad) => new Semaphore(9).tryAcquireMany(bad)],
  'Semaphore.addPermits(count)': [count, (bad) => new Semaphore(9).addPermits(bad)],
  'Semaphore.forgetPermits(count)': [count, (bad) => new Semaphore(9).forgetPermits(bad)],
  'SemaphorePermit.split(count)': [count, (bad) => new Semaphore(5).tryAcquireMany(5).split(bad)],
  'SemaphorePermit.merge(other)': [nothing, (bad) => permit.merge(bad)],
  'acquiring(semaphore)': [nothing, (bad) => acquiring(bad)],
  'acquiring(, count)': [[...optional, ...count], (bad) => acquiring(semaphore, bad)],
  'OnceCell.getOrInit(init)': [callable, (bad) => new OnceCell().getOrInit(bad)],
  'OnceCell.getOrInit(, options)': [options, (bad) => new OnceCell().getOrInit(noop, bad)],
  'JoinSet.spawn(task)': [callable, (bad) => new JoinSet().spawn(bad)],
  'JoinSet.joinNext(options)': [options, (bad) => tasks.joinNext(bad)],
  'JoinSet.joinAll(options)': [options, (bad) => tasks.joinAll(bad)],
  'JoinSet.shutdown(options)': [options, (bad) => tasks.shutdown(bad)],
  'TaskTracker.spawn(task)': [callable, (bad) => new TaskTracker().spawn(bad)],
  'TaskTracker.trackFuture(future)': [nothing, (bad) => tracker.trackFuture(bad)],
  'TaskTracker.wait(options)': [options, (bad) => tracker.wait(bad)],
  'CancellationToken.fromSignal(signal)': [nothing, (bad) => CancellationToken.fromSignal(bad)],
  'CancellationToken.cancelled(options)': [options, (bad) => token.cancelled(bad)],
  'CancellationToken.runUntilCancelled(operation)': [callable, (bad) => token.runUntilCancelled(bad)],
  'select(arms)': [nothing, (bad) => select(bad)],
  'select({ arm })': [falsy, (bad) => select({ arm: bad, rx })],
  'select(, options)': [options, (bad) => select({ rx }, bad)],
  'select(, { biased })': [[...optional, 'true'], (bad) => select({ rx }, { biased: bad })],
  'select(, { seed })': [[...optional, '5', '0', '-1', '1.5', '2 ** 53'], (bad) => select({ rx }, { seed: bad })],
  'select(, { random })': [[...optional, ...callable], (bad) => select({ rx }, { random: bad })],
  'select(, { signal })': [optional, (bad) => select({ rx }, { signal: bad })],
  'createSelector(arms)': [nothing, (bad) => createSelector(bad)],
  'createSelector(, options)': [options, (bad) => createSelector({ rx }, bad)],
  'Selector.next(options)': [options, (bad) => selector.next(bad)],
  'Selector.next({ off })': [[...optional, '[]'], (bad) => selector.next({ off: bad })],
  'Selector.next({ off: [name] })': [nothing, (bad) => selector.next({ off: [bad] })],
  'reserving(sender)': [nothing, (bad) => reserving(bad)],
  'withEnd(source)': [nothing, (bad) => withEnd(bad)],
  'sleep(ms)': [instant, (bad) => sleep(bad)],
  'sleep(, options)': [options, (bad) => sleep(1, bad)],
  'sleep(, { ref })': [[...optional, 'true'], (bad) => sleep(1, { ref: bad })],
  'sleep(, { clock })': [optional, (bad) => sleep(1, { clock: bad })],
  'sleep(, { signal })': [optional, (bad) => sleep(1, { signal: bad })],
  'sleepUntil(deadline)': [instant, (bad) => sleepUntil(bad)],
  'sleepUntil(, options)': [options, (bad) => sleepUntil(1, bad)],
  'Sleep.reset(ms)': [instant, (bad) => sleep(1).reset(bad)],
  'Sleep.resetAt(deadline)': [instant, (bad) => sleep(1).resetAt(bad)],
  'interval(period)': [['5', '1.5', '2 ** 53'], (bad) => interval(bad)],
  'interval(, options)': [options, (bad) => interval(1, bad)],
  'interval(, { missedTickBehavior })': [optional, (bad) => interval(1, { missedTickBehavior: bad })],
  'interval(, { startAt })': [[...optional, ...instant], (bad) => interval(1, { startAt: bad })],
  'Interval.missedTickBehavior': [nothing, (bad) => Object.assign(ticks, { missedTickBehavior: bad })],
  'Interval.tick(options)': [options, (bad) => interval(1e6, { startAt: 1e12, ref: false }).tick(bad)],
  'Interval.resetAfter(ms)': [instant, (bad) => interval(1).resetAfter(bad)],
  'Interval.resetAt(instant)': [instant, (bad) => interval(1).resetAt(bad)],
  'timeout(ms)': [instant, (bad) => timeout(bad, Promise.resolve())],
  'timeout(, operation)': [callable, (bad) => timeout(1, bad)],
  'timeout(, , options)': [options, (bad) => timeout(1, Promise.resolve(), bad)],
  'timeout(, , { signal })': [optional, (bad) => timeout(1, Promise.resolve(), { signal: bad })],
  'timeout(, , { clock })': [optional, (bad) => timeout(1, Promise.resolve(), { clock: bad })],
  'new SimulatedClock(start)': [[...optional, ...duration], (bad) => new SimulatedClock(bad)],
  'SimulatedClock.advance(ms)': [duration, (bad) => new SimulatedClock().advance(bad)],
  'SimulatedClock.setTimer(callback)': [callable, (bad) => new SimulatedClock().setTimer(bad, 1)],
  'SimulatedClock.setTimer(, ms)': [instant, (bad) => new SimulatedClock().setTimer(noop, bad)],
  'systemClock.setTimer(callback)': [callable, (bad) => systemClock.setTimer(bad, 1).cancel()],
  'systemClock.setTimer(, ms)': [instant, (bad) => systemClock.setTimer(noop, bad).cancel()],
  'toRepeater(source)': [nothing, (bad) => toRepeater(bad)],
  'fromCallback(subscribe)': [callable, (bad) => fromCallback(bad)],
  'fromCallback(, options)': [options, (bad) => fromCallback(() => undefined, bad)],
  'fromCallback(, { capacity })': [[...optional, '5'], (bad) => fromCallback(() => undefined, { capacity: bad })],
  'fromCallback(, { overflow })': [optional, (bad) => fromCallback(() => undefined, { overflow: bad })],
  'fromAsyncIterable(iterable)': [nothing, (bad) => fromAsyncIterable(bad)],
  'fromAsyncIterable(, options)': [options, (bad) => fromAsyncIterable(eventsRx, bad)],
  'toReadableStream(source)': [nothing, (bad) => toReadableStream(bad)],
  'fromReadableStream(stream)': [nothing, (bad) => fromReadableStream(bad)],
  'fromReadableStream(, options)': [options, (bad) => fromReadableStream(new ReadableStream(), bad)],
  'toWritableStream(sink)': [nothing, (bad) => toWritableStream(bad)],
  'fromWritableStream(stream)': [nothing, (bad) => fromWritableStream(bad)],
  'fromWritableStream(, options)': [options, (bad) => fromWritableStream(new WritableStream(), bad)],
  'toNodeReadable(source)': [nothing, (bad) => toNodeReadable(bad)],
  'fromNodeReadable(stream)': [nothing, (bad) => fromNodeReadable(bad)],
  'toNodeWritable(sink)': [nothing, (bad) => toNodeWritable(bad)],
  'fromNodeWritable(stream)': [nothing, (bad) => fromNodeWritable(bad)],
};

/** What a call throws at once, or nothing. A wrong argument is never what a promise rejects with. */
async function faultOf(call: () => unknown): Promise<unknown> {
  let rejection: unknown;
  try {
    const result = call();
    if (result instanceof Promise) {
      result.then(noop, (error: unknown) => {
        rejection = error;
      });
      for (let hops = 0; hops < 8; hops++) await null;
    }
  } catch (error) {
    return error;
  }
  expect(rejection).toBeUndefined();
  return undefined;
}

const WORDING = /^Cannot [a-z ]+: .*(received .+|known (is|are) .+|no options are known)$/;

it.each(Object.entries(doors))(
  '%s refuses what makes no sense, in the words of the house',
  async (_, [legal, call]) => {
    for (const [label, bad] of Object.entries(values) as [Bad, unknown][]) {
      const fault = await faultOf(() => call(bad));
      if (legal.includes(label)) {
        expect([label, fault]).toEqual([label, undefined]);
        continue;
      }
      expect([label, fault instanceof TypeError || fault instanceof RangeError ? 'refused' : fault]).toEqual([
        label,
        'refused',
      ]);
      expect((fault as Error).message).toMatch(WORDING);
    }
    await drained();
  },
);

it('options whose getters throw have no effect', async () => {
  const trap = {
    get signal(): AbortSignal {
      throw new EvalError('a getter');
    },
  };
  const [sender, receiver] = mpsc.channel<number>(2);
  sender.trySend(1);
  for (const call of [
    () => sender.send(2, trap),
    () => sender.sendMany([2], trap),
    () => sender.reserve(trap),
    () => receiver.recv(trap),
    () => receiver.recvMany(2, trap),
    () => select({ receiver }, trap),
    () => createSelector({ receiver }).next(trap),
    () => timeout(5, receiver, trap),
    () => semaphore.acquire(trap),
    () => answer.recv(trap),
    () => eventsRx.recv(trap),
  ]) {
    expect(await faultOf(call)).toBeInstanceOf(EvalError);
  }
  expect([sender.capacity, receiver.len, semaphore.availablePermits]).toEqual([1, 1, 2]);
});

it('all those refusals have had no effect', async () => {
  expect([tx.capacity, rx.len, tx.strongCount]).toEqual([4, 0, 1]);
  expect([semaphore.availablePermits, permit.numPermits, tracker.len, tasks.len]).toEqual([2, 1, 0, 0]);
  expect([ticks.missedTickBehavior, timer.isElapsed, clock.pendingTimers, token.isCancelled]).toEqual([
    'burst',
    false,
    0,
    false,
  ]);
  const { signal } = new AbortController();
  for (const call of [
    () => rx.recvMany(-1, { signal }),
    () => select({}, { signal }),
    () => timeout(Number.NaN, rx, { signal }),
  ]) {
    expect(await faultOf(call)).toBeInstanceOf(Error);
  }
  expect(getEventListeners(signal, 'abort')).toHaveLength(0);
});
