import { expect, it } from 'vitest';
import {
  broadcast,
  CancellationToken,
  fromAsyncIterable,
  fromCallback,
  fromReadableStream,
  mpsc,
  OnceCell,
  reserving,
  SimulatedClock,
  select,
  timeout,
  watch,
} from '../../src/channels/index.js';
import { stateOf } from '../support/settlement.js';

const END = { done: true, value: undefined };

it('Sender.closed() goes on waiting when a receiver subscribes before it has looked', async () => {
  for (const [tx, rx] of [broadcast.channel<number>(1), watch.channel(1)]) {
    const closed = tx.closed();
    rx.close();
    const later = tx.subscribe();
    expect(await stateOf(closed)).toBe('pending');
    later.close();
    expect(await stateOf(closed)).toBe('fulfilled');
    const controller = new AbortController();
    const again = tx.subscribe();
    const abandoned = tx.closed({ signal: controller.signal });
    again.close();
    controller.abort('given up');
    await expect(abandoned).rejects.toBe('given up');
  }
});

it('Receiver.recv() ends at once on a receiver that was disposed, whatever permits are held', async () => {
  const undelivered: number[] = [];
  const [tx, rx] = mpsc.channel<number>(2, { onUndelivered: (value) => undelivered.push(value) });
  const permit = tx.tryReserve();
  rx[Symbol.dispose]();
  expect(await rx.recv()).toEqual(END);
  expect(await rx.recvMany(2)).toEqual([]);
  expect(rx.tryRecv()).toEqual({ state: 'closed' });
  expect(await select({ rx })).toEqual({ arm: null });
  permit.send(1);
  expect(undelivered).toEqual([1]);
});

it('Receiver.isClosed is false while a send or reservation of a closed sender still waits', async () => {
  const [tx, rx] = mpsc.channel<number>(1);
  tx.trySend(1);
  const reserved = tx.reserve();
  tx.close();
  expect(rx.isClosed).toBe(false);
  rx.tryRecv();
  expect(rx.isClosed).toBe(false);
  (await reserved).release();
  expect(rx.isClosed).toBe(true);
});

it('Receiver.recvManyInto() refuses a buffer that cannot grow, and takes nothing', () => {
  const [tx, rx] = mpsc.channel<number>(1);
  tx.trySend(1);
  expect(() => rx.recvManyInto(Object.freeze([]) as never, 1)).toThrow(TypeError);
  expect(rx.len).toBe(1);
});

it('Sender.sendTimeout() of 0 ms fails at once when there is no room', async () => {
  const clock = new SimulatedClock();
  const [tx] = mpsc.channel<number>(1, { clock });
  await tx.sendTimeout(1, 0);
  await expect(tx.sendTimeout(2, 0)).rejects.toMatchObject({ code: 'ERR_TIMEOUT', value: 2 });
});

it('CancellationToken.runUntilCancelled() says that it was cancelled when its operation rejects because it was cancelled', async () => {
  const token = new CancellationToken();
  const running = token.runUntilCancelled(
    (signal) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('stopped')))),
  );
  token.cancel();
  expect(await running).toMatchObject({ state: 'cancelled' });
  expect(await token.runUntilCancelled(Promise.reject(new Error('too late')))).toMatchObject({ state: 'cancelled' });
  expect(() => new CancellationToken().runUntilCancelled(5 as never)).toThrow(TypeError);
});

it('timeout() refuses what is no operation', () => {
  for (const wrong of [5, null, undefined, 'x']) expect(() => timeout(1, wrong as never)).toThrow(TypeError);
});

it('a receiver that is fed from a stream ends, and does not fail, once it has closed itself', async () => {
  async function* endless(): AsyncGenerator<number> {
    for (let n = 0; ; n++) yield n;
  }
  const stream = new ReadableStream<number>({ pull: (controller) => controller.enqueue(0) });
  for (const rx of [fromAsyncIterable(endless()), fromReadableStream(stream)]) {
    for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
    rx.close();
    expect(await rx.recv()).toEqual({ done: false, value: 0 });
    expect(await rx.recv()).toEqual(END);
  }
});

it('fromCallback() fails as soon as its capacity is exceeded', async () => {
  const numbers = fromCallback<number>(
    (push) => {
      for (let n = 0; n < 10; n++) push(n);
      return () => {};
    },
    { capacity: 2 },
  );
  const seen: number[] = [];
  await expect(
    (async () => {
      for await (const n of numbers) seen.push(n);
    })(),
  ).rejects.toMatchObject({ code: 'ERR_CHANNEL_FULL' });
  expect(seen).toEqual([0, 1]);
});

it('loops over timeout(), runUntilCancelled() and OnceCell.getOrInit() let timers run', async () => {
  const cell = OnceCell.of(1);
  const token = new CancellationToken();
  for (const wait of [
    () => timeout(1_000, Promise.resolve(1)),
    () => token.runUntilCancelled(Promise.resolve(1)),
    () => cell.getOrInit(() => 2),
  ]) {
    let fired = false;
    setTimeout(() => {
      fired = true;
    }, 1);
    for (let turn = 0; !fired && turn < 1e6; turn++) await wait();
    expect(fired).toBe(true);
  }
});

it('select() takes what a broken generator gives', async () => {
  const ready = Promise.resolve(1);
  for (const broken of [Number.NaN, 7, -1]) {
    expect((await select({ a: ready, b: ready }, { random: () => broken })).value).toBe(1);
  }
});

it('SimulatedClock.advance() adds up when it overlaps, and refuses to go back', async () => {
  const clock = new SimulatedClock();
  const fired: number[] = [];
  clock.setTimer(() => fired.push(clock.now()), 12);
  await Promise.all([clock.advance(10), clock.advance(5)]);
  expect(fired).toEqual([12]);
  expect(clock.now()).toBe(15);
  for (const wrong of [-1, Number.NaN, Number.POSITIVE_INFINITY]) {
    expect(() => clock.advance(wrong)).toThrow(RangeError);
  }
  expect(clock.now()).toBe(15);
  expect(() => new SimulatedClock(Number.NaN)).toThrow(RangeError);
});

it('a sender in JSON shows figures, and never what waits in its channel', async () => {
  const [tx] = mpsc.channel<string>(1);
  tx.trySend('payload');
  void tx.send('payload').catch(() => {});
  for (const handle of [tx, tx.downgrade()]) {
    expect(JSON.stringify({ handle })).toContain('"strongCount":1');
    expect(JSON.stringify({ handle })).not.toContain('payload');
  }
});

it('Receiver.close() grants no slot to a blocked send, though a select of several reservations is withdrawn on the way', async () => {
  const [tx, rx] = mpsc.channel<string>(3);
  tx.trySend('before');
  const several = tx.reserveMany(3);
  const event = select({ one: reserving(tx), other: reserving(tx) });
  const blocked = tx.send('after');
  rx.close();
  await expect(several).rejects.toMatchObject({ code: 'ERR_CHANNEL_CLOSED' });
  await expect(blocked).rejects.toMatchObject({ code: 'ERR_CHANNEL_CLOSED', value: 'after' });
  expect(await event).toEqual({ arm: null });
  expect(await rx.recvMany(9)).toEqual(['before']);
});
