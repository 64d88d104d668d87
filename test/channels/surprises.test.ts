import { expect, test } from 'vitest';
import {
  broadcast,
  createSelector,
  interval,
  mpsc,
  oneshot,
  SimulatedClock,
  select,
  sleep,
  sleepUntil,
  systemClock,
  timeout,
  watch,
} from '../../src/channels/index.js';
import { stateOf, turn } from '../support/settlement.js';

test('sleep() of a time that has passed is over at once, as are a reset, a timeout and a send with one', async () => {
  const clock = new SimulatedClock(1_000);
  const late = sleep(900 - clock.now(), { clock });
  expect([late.isElapsed, late.deadline]).toEqual([true, 1_000]);
  await late;
  await sleep(Number.NEGATIVE_INFINITY);
  const reset = sleep(500, { clock });
  reset.reset(-5);
  expect(reset.isElapsed).toBe(true);
  const [tx, rx] = mpsc.channel<number>(1, { clock });
  await expect(timeout(-1, new Promise(() => {}))).rejects.toMatchObject({ code: 'ERR_TIMEOUT' });
  await expect(timeout(-1, rx, { clock })).rejects.toMatchObject({ code: 'ERR_TIMEOUT' });
  await tx.sendTimeout(1, -1);
  await expect(tx.sendTimeout(2, -1)).rejects.toMatchObject({ code: 'ERR_TIMEOUT', value: 2 });
  expect(await timeout(-1, rx, { clock })).toBe(1);
  const ticks = interval(100, { clock });
  await ticks.tick();
  ticks.resetAfter(-1);
  expect(await ticks.tick()).toBe(1_000);
});

test('sleepUntil() elapses at its deadline, on the clock it is given', async () => {
  const clock = new SimulatedClock(50);
  const timer = sleepUntil(80, { clock });
  expect(timer.deadline).toBe(80);
  const waiting = select({ timer });
  await clock.advance(29);
  expect(await stateOf(waiting)).toBe('pending');
  await clock.advance(1);
  expect(await waiting).toEqual({ arm: 'timer', value: undefined });
  expect(sleepUntil(Number.POSITIVE_INFINITY, { clock }).isElapsed).toBe(false);
  await sleepUntil(-5);
  const start = systemClock.now();
  await sleepUntil(start + 5);
  expect(systemClock.now()).toBeGreaterThanOrEqual(start + 5);
  await expect(sleepUntil(start + 1e6, { signal: AbortSignal.abort('no') })).rejects.toBe('no');
});

test('recvMany(Infinity) takes all that there is', async () => {
  const [tx, rx] = mpsc.unboundedChannel<number>();
  for (let n = 0; n < 3_000; n++) tx.send(n);
  expect(await rx.recvMany(Number.POSITIVE_INFINITY)).toHaveLength(3_000);
  const buffer: number[] = [];
  const waiting = rx.recvManyInto(buffer, Number.POSITIVE_INFINITY);
  tx.send(1);
  tx.send(2);
  expect([await waiting, buffer]).toEqual([2, [1, 2]]);
  tx.close();
  expect(await rx.recvMany(Number.POSITIVE_INFINITY)).toEqual([]);
});

test('broadcast Receiver.recvMany() waits for one value and takes what is there, up to the limit', async () => {
  const [tx, rx] = broadcast.channel<number>(8);
  const waiting = rx.recvMany(2);
  for (const n of [1, 2, 3]) tx.send(n);
  expect(await waiting).toEqual([1, 2]);
  expect(await rx.recvMany(8)).toEqual([3]);
  expect(await rx.recvMany(0)).toEqual([]);
  const controller = new AbortController();
  const aborted = rx.recvMany(2, { signal: controller.signal });
  controller.abort('no');
  await expect(aborted).rejects.toBe('no');
  await expect(rx.recvMany(2, { signal: controller.signal })).rejects.toBe('no');
  tx.send(4);
  tx.close();
  expect(await rx.recvMany(Number.POSITIVE_INFINITY)).toEqual([4]);
  expect(await rx.recvMany(2)).toEqual([]);
});

test('broadcast Receiver.recvMany() tells of lost values before those after them', async () => {
  const [tx, rx] = broadcast.channel<number>(2);
  for (const n of [1, 2, 3]) tx.send(n);
  await expect(rx.recvMany(5)).rejects.toMatchObject({ code: 'ERR_BROADCAST_LAGGED', skipped: 1 });
  expect(await rx.recvMany(5)).toEqual([2, 3]);
  // They are overwritten between the wake-up and the next look.
  const waiting = rx.recvMany(5);
  for (const n of [4, 5, 6, 7]) tx.send(n);
  expect(await waiting).toEqual([4]);
  await expect(rx.recvMany(5)).rejects.toMatchObject({ skipped: 1 });
  expect(await rx.recvMany(5)).toEqual([6, 7]);
});

test('broadcast Receiver.recvMany() gives what came before a clone that throws', async () => {
  const [tx, rx] = broadcast.channel<number>(8, {
    clone: (n) => {
      if (n === 3) throw new RangeError('no copy of 3');
      return n;
    },
  });
  for (const n of [1, 2, 3, 4]) tx.send(n);
  expect(await rx.recvMany(8)).toEqual([1, 2]);
  await rx.ready();
  await expect(rx.recvMany(8)).rejects.toThrow('no copy of 3');
  expect(await rx.recvMany(8)).toEqual([4]);
});

test('Sender.sendMany() that is aborted once everything was sent says so', async () => {
  for (let hops = 0; hops < 8; hops++) {
    const [tx, rx] = mpsc.channel<number>(1);
    const controller = new AbortController();
    let outcome: unknown;
    const sending = tx.sendMany([1, 2], { signal: controller.signal }).then(
      (sent) => {
        outcome = sent;
      },
      (error) => {
        outcome = error;
      },
    );
    await turn();
    await rx.recv();
    for (let hop = 0; hop < hops; hop++) await null;
    controller.abort('no');
    await sending;
    tx.close();
    const sent = (await rx.recvMany(8)).length + 1;
    expect(outcome).toBe(sent === 2 ? 2 : 'no');
  }
});

test('a selector is an async iterable of its events, until no arm can win', async () => {
  const [tx, rx] = mpsc.channel<number>(8);
  const [events, listener] = broadcast.channel<string>(8);
  for (const n of [1, 2, 3]) tx.trySend(n);
  events.send('a');
  tx.close();
  events.close();
  const seen: unknown[] = [];
  for await (const event of createSelector({ rx, listener }, { biased: true })) seen.push(event);
  expect(seen).toEqual([
    { arm: 'rx', value: 1 },
    { arm: 'rx', value: 2 },
    { arm: 'rx', value: 3 },
    { arm: 'listener', value: 'a' },
  ]);
});

test('leaving the iteration of a selector consumes nothing and settles a pending next()', async () => {
  const [tx, rx] = mpsc.channel<number>(8);
  const selector = createSelector({ rx });
  tx.trySend(1);
  tx.trySend(2);
  for await (const event of selector) {
    expect(event.value).toBe(1);
    break;
  }
  expect(rx.len).toBe(1);
  const events = selector[Symbol.asyncIterator]();
  expect(await events.next()).toEqual({ done: false, value: { arm: 'rx', value: 2 } });
  const pending = events.next();
  expect(await events.return?.()).toEqual({ done: true, value: undefined });
  expect(await pending).toEqual({ done: true, value: undefined });
  expect(await events.next()).toEqual({ done: true, value: undefined });
  tx.trySend(3);
  expect(await selector.next()).toEqual({ arm: 'rx', value: 3 });
  const failing = createSelector({ rx, broken: Promise.reject(new Error('arm')) });
  await expect(failing[Symbol.asyncIterator]().next()).rejects.toThrow('arm');
});

test('a send within watch.sendModify() is an error, and nothing is lost', () => {
  const [tx, rx] = watch.channel({ n: 0 });
  const other = tx.clone();
  const sends: Record<string, () => unknown> = {
    send: () => tx.send({ n: 5 }),
    'send of a clone': () => other.send({ n: 5 }),
    sendReplace: () => tx.sendReplace({ n: 5 }),
    sendModify: () =>
      tx.sendModify((slot) => {
        slot.value = { n: 5 };
      }),
    sendIfModified: () => other.sendIfModified(() => true),
  };
  for (const [name, send] of Object.entries(sends)) {
    for (const modify of ['sendModify', 'sendIfModified'] as const) {
      let fault: { code?: string; value?: unknown } = {};
      tx[modify]((slot) => {
        try {
          send();
        } catch (error) {
          fault = error as typeof fault;
        }
        slot.value = { n: slot.value.n + 1 };
        return true;
      });
      expect([name, fault.code]).toEqual([name, 'ERR_WATCH_MODIFYING']);
    }
  }
  expect(rx.borrowAndUpdate()).toEqual({ n: 10 });
  // One that throws leaves the channel as it was.
  expect(() => tx.sendModify(() => tx.send({ n: 7 }))).toThrow(watch.ModifyingError);
  expect([rx.borrow(), rx.hasChanged()]).toEqual([{ n: 10 }, false]);
  tx.send({ n: 11 });
  expect(rx.borrowAndUpdate()).toEqual({ n: 11 });
});

test('wrong options are thrown by the call itself, by every wait', () => {
  const [tx, rx] = mpsc.channel<number>(1);
  const [reply, answer] = oneshot.channel<number>();
  const wrong = { signal: 5 } as never;
  for (const call of [
    () => tx.send(1, wrong),
    () => tx.sendMany([1], wrong),
    () => rx.recv(wrong),
    () => rx.recvMany(1, wrong),
    () => answer.recv(wrong),
    () => reply.closed(wrong),
    () => select({ rx }, wrong),
    () => createSelector({ rx }).next(wrong),
    () => timeout(5, rx, wrong),
    () => new SimulatedClock().advance('5' as never),
  ]) {
    expect(call).toThrow(TypeError);
  }
});
