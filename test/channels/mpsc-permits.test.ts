import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { FullError, mpsc, PermitError, SendError, SimulatedClock, TimeoutError } from '../../src/channels/index.js';
import { drained, reasonOf, stateOf, thrownBy, unheardOf } from '../support/settlement.js';

const END = { done: true, value: undefined };
const got = <T>(value: T) => ({ done: false, value });

async function full<T>(capacity: number, value: T) {
  const [tx, rx] = mpsc.channel<T>(capacity);
  for (let at = 0; at < capacity; at++) await tx.send(value);
  return [tx, rx] as const;
}

describe('bounded channel: capacity', () => {
  it('a reserved slot and trySend arrive in the order they are sent', async () => {
    const [tx, rx] = mpsc.channel<number>(16);
    (await tx.reserve()).send(1);
    tx.trySend(2);
    tx.close();
    expect([await rx.recv(), await rx.recv(), await rx.recv()]).toEqual([got(1), got(2), END]);
  });

  it('Sender.trySend() hands the value back when full, and works again after a recv', async () => {
    const [tx, rx] = await full(1, 'in');
    const error = thrownBy(() => tx.trySend('out')) as FullError<string>;
    expect(error).toBeInstanceOf(FullError);
    expect([error.code, error.value]).toEqual(['ERR_CHANNEL_FULL', 'out']);
    await rx.recv();
    tx.trySend('again');
    expect(await rx.recv()).toEqual(got('again'));
  });

  it('Sender.trySend() after the receiver is gone is closed, not full', async () => {
    const [tx, rx] = await full(1, 1);
    rx[Symbol.dispose]();
    const error = thrownBy(() => tx.trySend(2)) as SendError<number>;
    expect(error).toBeInstanceOf(SendError);
    expect([error.code, error.value]).toEqual(['ERR_CHANNEL_CLOSED', 2]);
  });

  it('blocked sends wait for a recv each, first come, first served', async () => {
    const [tx, rx] = await full(1, 0);
    const sends = [1, 2, 3].map((value) => tx.send(value));
    expect(await stateOf(sends[0] as Promise<void>)).toBe('pending');
    expect(rx.len).toBe(1);
    expect(await rx.recv()).toEqual(got(0));
    await sends[0];
    expect(rx.len).toBe(1);
    expect(await stateOf(sends[1] as Promise<void>)).toBe('pending');
    expect([await rx.recv(), await rx.recv(), await rx.recv()]).toEqual([got(1), got(2), got(3)]);
    await Promise.all(sends);
  });

  it('Sender.trySend() does not overtake a blocked sender', async () => {
    const [tx, rx] = await full(1, 0);
    const blocked = tx.send(1);
    rx.tryRecv();
    expect(() => tx.trySend(2)).toThrow(FullError);
    await blocked;
    expect(await rx.recv()).toEqual(got(1));
  });

  it('an aborted send was not sent, and lets the next through', async () => {
    const [tx, rx] = await full(1, 0);
    const controller = new AbortController();
    const abandoned = tx.send(1, { signal: controller.signal });
    const next = tx.send(2);
    controller.abort('no');
    expect(await reasonOf(abandoned)).toBe('no');
    expect([await rx.recv(), await rx.recv()]).toEqual([got(0), got(2)]);
    await next;
    expect(rx.len).toBe(0);
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
  });

  it('Sender.capacity counts free slots, and maxCapacity never changes', async () => {
    const [tx, rx] = mpsc.channel<number>(3);
    const permit = await tx.reserve();
    expect(tx.capacity).toBe(2);
    await tx.send(1);
    expect(tx.capacity).toBe(1);
    permit.send(2);
    expect(tx.capacity).toBe(1);
    await rx.recv();
    expect([tx.capacity, rx.capacity]).toEqual([2, 2]);
    expect([tx.maxCapacity, rx.maxCapacity]).toEqual([3, 3]);
  });

  it('Sender.sendTimeout() resolves while there is room, and fails in time with its value', async () => {
    const clock = new SimulatedClock();
    const [tx, rx] = mpsc.channel<string>(1, { clock });
    await tx.sendTimeout('in', 10);
    const late = reasonOf(tx.sendTimeout('late', 10));
    await clock.advance(9);
    expect(await stateOf(late)).toBe('pending');
    await clock.advance(1);
    const error = (await late) as TimeoutError;
    expect(error).toBeInstanceOf(TimeoutError);
    expect([error.code, error.value]).toEqual(['ERR_TIMEOUT', 'late']);
    const just = tx.sendTimeout('just', 10);
    await clock.advance(5);
    await rx.recv();
    await just;
    expect(clock.pendingTimers).toBe(0);
    const refused = reasonOf(tx.sendTimeout('refused', 10));
    rx.close();
    expect(((await refused) as SendError).value).toBe('refused');
    expect(((await reasonOf(tx.sendTimeout('closed', 10))) as SendError).code).toBe('ERR_CHANNEL_CLOSED');
    expect(clock.pendingTimers).toBe(0);
    expect(() => tx.sendTimeout('x', Number.NaN)).toThrow(RangeError);
  });

  it('Sender.sendTimeout() that is aborted leaves no timer', async () => {
    const clock = new SimulatedClock();
    const [tx] = mpsc.channel<number>(1, { clock });
    tx.trySend(0);
    const controller = new AbortController();
    const abandoned = tx.sendTimeout(1, 10, { signal: controller.signal });
    controller.abort('no');
    expect(await reasonOf(abandoned)).toBe('no');
    expect(clock.pendingTimers).toBe(0);
  });
});

describe('bounded channel: permits', () => {
  it('two permits on capacity 2 hold a third until a value is received', async () => {
    const [tx, rx] = mpsc.channel<number>(2);
    const one = await tx.reserve();
    await tx.reserve();
    const third = tx.reserve();
    expect(await stateOf(third)).toBe('pending');
    one.send(1);
    expect(await stateOf(third)).toBe('pending');
    await rx.recv();
    (await third).send(3);
  });

  it('releasing or using a permit wakes exactly one', async () => {
    const [tx, rx] = mpsc.channel<number>(1);
    const permit = await tx.reserve();
    const waits = [tx.reserve(), tx.reserve(), tx.reserve()];
    permit.release();
    permit.release();
    permit[Symbol.dispose]();
    const second = (await waits[0]) as mpsc.Permit<number>;
    expect(await stateOf(waits[1] as Promise<unknown>)).toBe('pending');
    second.send(1);
    expect(await stateOf(waits[1] as Promise<unknown>)).toBe('pending');
    await rx.recv();
    await waits[1];
    expect(await stateOf(waits[2] as Promise<unknown>)).toBe('pending');
  });

  it('Sender.tryReserve() is full, and succeeds after a release', () => {
    const [tx] = mpsc.channel<number>(1);
    const permit = tx.tryReserve();
    expect(() => tx.tryReserve()).toThrow(FullError);
    permit.release();
    expect(tx.tryReserve().isUsed).toBe(false);
  });

  it('reservations fail when the receiver has closed', async () => {
    const [tx, rx] = mpsc.channel<number>(1);
    rx.close();
    for (const wait of [tx.reserve(), tx.reserveMany(1), tx.reserveOwned()]) {
      expect(await reasonOf(wait)).toBeInstanceOf(SendError);
    }
    for (const run of [() => tx.tryReserve(), () => tx.tryReserveMany(1), () => tx.tryReserveOwned()]) {
      expect(run).toThrow(SendError);
    }
  });

  it('Sender.reserveMany(n) gives n permits', async () => {
    const [tx, rx] = mpsc.channel<number>(5);
    const permits = await tx.reserveMany(3);
    expect([tx.capacity, permits.len]).toEqual([2, 3]);
    let value = 0;
    for (const permit of permits) permit.send(++value);
    expect(permits.next().done).toBe(true);
    expect(await rx.recvMany(9)).toEqual([1, 2, 3]);
  });

  it('Sender.reserveMany(0) succeeds even when full, and fails when closed', async () => {
    const [tx, rx] = await full(1, 0);
    expect((await tx.reserveMany(0)).len).toBe(0);
    expect(tx.tryReserveMany(0).len).toBe(0);
    rx[Symbol.dispose]();
    expect(await reasonOf(tx.reserveMany(0))).toBeInstanceOf(SendError);
    expect(() => tx.tryReserveMany(0)).toThrow(SendError);
  });

  it('reserving more than there ever is fails at once', () => {
    const [tx] = mpsc.channel<number>(2);
    expect(() => tx.reserveMany(3)).toThrow(RangeError);
    expect(() => tx.tryReserveMany(3)).toThrow(FullError);
    expect(() => tx.reserveMany(-1)).toThrow(RangeError);
    expect(tx.capacity).toBe(2);
  });

  it('what a permit iterator does not give out goes back', async () => {
    const [tx] = mpsc.channel<number>(4);
    const permits = await tx.reserveMany(4);
    const waiting = tx.reserveMany(3);
    for (const permit of permits) {
      permit.send(1);
      break;
    }
    permits[Symbol.dispose]();
    expect((await waiting).len).toBe(3);
    expect(tx.capacity).toBe(0);
  });

  it('a reserveMany that is aborted half gathered gives back what it had', async () => {
    const [tx, rx] = await full(3, 0);
    const controller = new AbortController();
    const many = tx.reserveMany(3, { signal: controller.signal });
    const next = tx.send(1);
    rx.tryRecv();
    rx.tryRecv();
    expect(tx.capacity).toBe(0);
    expect(await stateOf(next)).toBe('pending');
    controller.abort('no');
    expect(await reasonOf(many)).toBe('no');
    await next;
    expect(tx.capacity).toBe(1);
  });

  it('a reserveMany that waits gathers what is free, and is first', async () => {
    const [tx, rx] = mpsc.channel<number>(3);
    tx.trySend(1);
    const many = tx.reserveMany(3);
    expect(tx.capacity).toBe(0);
    expect(() => tx.trySend(2)).toThrow(FullError);
    rx.tryRecv();
    expect((await many).len).toBe(3);
  });

  it('a half gathered reserveMany ends with rx.close(), and the channel with it', async () => {
    const [tx, rx] = await full(2, 0);
    const many = reasonOf(tx.reserveMany(2));
    rx.tryRecv();
    rx.close();
    expect(await many).toBeInstanceOf(SendError);
    expect(await rx.recv()).toEqual(got(0));
    expect(await rx.recv()).toEqual(END);
  });

  it('an owned permit keeps the channel open, and gives the sender back', async () => {
    const [tx, rx] = mpsc.channel<number>(1);
    const permit = await tx.reserveOwned();
    expect(tx.isClosed).toBe(true);
    expect(rx.senderStrongCount).toBe(1);
    const waiting = rx.recv();
    expect(await stateOf(waiting)).toBe('pending');
    const back = permit.release();
    expect(back.capacity).toBe(1);
    const sender = back.tryReserveOwned().send(5);
    expect(await waiting).toEqual(got(5));
    sender.close();
    expect(await rx.recv()).toEqual(END);
    expect(() => permit.send(6)).toThrow(PermitError);
    permit[Symbol.dispose]();
  });

  it('WeakSender.upgrade() works while only an owned permit lives', async () => {
    const [tx] = mpsc.channel<number>(2);
    const before = tx.downgrade();
    const permit = await tx.reserveOwned();
    const after = before.clone();
    expect(before.upgrade()).toBeDefined();
    after.upgrade()?.close();
    before.upgrade()?.close();
    expect(permit.isUsed).toBe(false);
  });

  it('an owned permit that was waiting while its sender closed counts for itself', async () => {
    const [tx, rx] = await full(1, 0);
    const waiting = tx.reserveOwned();
    tx.close();
    await rx.recv();
    const permit = await waiting;
    expect(rx.senderStrongCount).toBe(1);
    permit.send(1).close();
    expect([await rx.recv(), await rx.recv()]).toEqual([got(1), END]);
  });

  it('a permit is used once', async () => {
    const [tx, rx] = mpsc.channel<number>(2);
    const permit = await tx.reserve();
    permit.send(1);
    expect(() => permit.send(2)).toThrow(PermitError);
    permit.release();
    expect(tx.capacity).toBe(1);
    expect(rx.len).toBe(1);
  });
});

describe('bounded channel: closing', () => {
  it('Receiver.close() rejects every blocked send and reservation with its value', async () => {
    const [tx, rx] = await full(1, 0);
    const sends = [tx.send(1), tx.send(2)].map(reasonOf);
    const others = [tx.reserve(), tx.reserveMany(1), tx.reserveOwned()].map(reasonOf);
    rx.close();
    expect((await Promise.all(sends)).map((error) => (error as SendError).value)).toEqual([1, 2]);
    for (const error of await Promise.all(others)) expect(error).toBeInstanceOf(SendError);
    expect(await rx.recv()).toEqual(got(0));
  });

  it('Sender.close() lets its blocked sends through', async () => {
    const [tx, rx] = await full(1, 0);
    const blocked = [tx.send(1), tx.send(2)];
    tx.close();
    const seen: number[] = [];
    for await (const value of rx) seen.push(value);
    expect(seen).toEqual([0, 1, 2]);
    await Promise.all(blocked);
  });

  it('Receiver.close() waits for a permit, whose value is delivered', async () => {
    const [tx, rx] = mpsc.channel<number>(2);
    const permit = await tx.reserve();
    rx.close();
    expect(rx.tryRecv()).toEqual({ state: 'empty' });
    const waits = [rx.recv(), rx.recv()];
    expect(await stateOf(waits[0] as Promise<unknown>)).toBe('pending');
    permit.send(1);
    expect(await Promise.all(waits)).toEqual([got(1), END]);
    expect(await rx.recv()).toEqual(END);
  });

  it.each(['single', 'owned', 'iterator'] as const)(
    'releasing the last %s permit wakes recv with the end',
    async (kind) => {
      const [tx, rx] = mpsc.channel<number>(2);
      const permit =
        kind === 'single'
          ? await tx.reserve()
          : kind === 'owned'
            ? await tx.clone().reserveOwned()
            : await tx.reserveMany(2);
      rx.close();
      const waits = [rx.recv(), rx.recvMany(3)] as const;
      expect(await stateOf(waits[0])).toBe('pending');
      permit.release();
      expect(await Promise.all(waits)).toEqual([END, []]);
    },
  );

  it('Receiver.isClosed is false while a permit lives although no sender does', async () => {
    const [tx, rx] = mpsc.channel<number>(1);
    const permit = await tx.reserve();
    tx.close();
    expect(rx.isClosed).toBe(false);
    permit.release();
    expect(rx.isClosed).toBe(true);
  });

  it('a value sent on a permit after the receiver is gone goes to onUndelivered', async () => {
    const lost: number[] = [];
    const [tx, rx] = mpsc.channel<number>(3, { onUndelivered: (value) => lost.push(value) });
    const permit = await tx.reserve();
    await tx.send(1);
    rx[Symbol.dispose]();
    expect(lost).toEqual([1]);
    permit.send(2);
    expect(lost).toEqual([1, 2]);
    expect(tx.capacity).toBe(3);
  });

  it('a send after close is neither silent nor an unhandled rejection', async () => {
    const unheard = await unheardOf(async () => {
      const [tx, rx] = await full(1, 0);
      const blocked = tx.send(1);
      rx.close();
      void tx.send(2);
      void tx.reserve();
      await drained();
      expect(await reasonOf(blocked)).toBeInstanceOf(SendError);
      expect(await reasonOf(tx.send(3))).toBeInstanceOf(SendError);
    });
    expect(unheard).toEqual([]);
  });
});

describe('Sender.sendMany()', () => {
  it('leaves what is left in an iterable that may never end', async () => {
    const [tx, rx] = mpsc.channel<number>(2);
    function* endless(): Generator<number> {
      for (let n = 0; ; n++) yield n;
    }
    const values = endless();
    const sending = reasonOf(tx.sendMany(values));
    rx.close();
    expect(((await sending) as SendError).value).toEqual([]);
    expect(values.next().value).toBe(2);
    expect(((await reasonOf(tx.sendMany(values))) as SendError).value).toEqual([]);
    expect(((await reasonOf(tx.sendMany(new Set([4])))) as SendError).value).toEqual([4]);
  });

  it('is no unhandled rejection when the channel closes', async () => {
    const unheard = await unheardOf(async () => {
      const [tx, rx] = mpsc.channel<number>(1);
      void tx.sendMany([1, 2, 3]);
      rx.close();
      void tx.sendMany([4]);
    });
    expect(unheard).toEqual([]);
  });

  it('is over when the last value is in the channel, with no room left', async () => {
    for (const values of [[1, 2], new Set([1, 2]), Uint8Array.of(1, 2)]) {
      const [tx, rx] = mpsc.channel<number>(2);
      expect(await tx.sendMany(values)).toBe(2);
      expect(rx.len).toBe(2);
    }
    const [full] = mpsc.channel<number>(1);
    full.trySend(0);
    expect(await full.sendMany([])).toBe(0);
    expect(full.strongCount).toBe(1);
  });

  it('takes nothing from an iterable when its signal has fired, or the channel is closed', async () => {
    const [tx, rx] = mpsc.channel<number>(2);
    const values = [1, 2].values();
    expect(await reasonOf(tx.sendMany(values, { signal: AbortSignal.abort('no') }))).toBe('no');
    rx.close();
    await reasonOf(tx.sendMany(values));
    expect([...values]).toEqual([1, 2]);
    expect(tx.strongCount).toBe(1);
  });

  it('sends everything in order, with back pressure', async () => {
    const [tx, rx] = mpsc.channel<number>(3);
    const sent = tx.sendMany(Array.from({ length: 50 }, (_, at) => at));
    tx.close();
    const seen: number[] = [];
    for await (const value of rx) {
      expect(rx.len).toBeLessThanOrEqual(3);
      seen.push(value);
    }
    expect(seen).toEqual(Array.from({ length: 50 }, (_, at) => at));
    expect(await sent).toBe(50);
    expect(tx.strongCount).toBe(0);
  });

  it('takes from an iterator no more than it sends when it is aborted', async () => {
    const [tx, rx] = mpsc.channel<number>(2);
    const values = [1, 2, 3, 4].values();
    const controller = new AbortController();
    const sending = tx.sendMany(values, { signal: controller.signal });
    expect(await stateOf(sending)).toBe('pending');
    controller.abort('no');
    expect(await reasonOf(sending)).toBe('no');
    expect([...values]).toEqual([3, 4]);
    expect(await rx.recvMany(9)).toEqual([1, 2]);
    expect(tx.capacity).toBe(2);
  });

  it('hands back what is left when the channel closes', async () => {
    const [tx, rx] = mpsc.channel<number>(2);
    const failed = reasonOf(tx.sendMany([1, 2, 3, 4]));
    await rx.recv();
    rx.close();
    const error = (await failed) as SendError<number[]>;
    expect(error.value.at(-1)).toBe(4);
    expect([...(await rx.recvMany(9)), ...error.value]).toEqual([2, 3, 4]);
    expect(((await reasonOf(tx.sendMany([7, 8]))) as SendError).value).toEqual([7, 8]);
  });

  it('frees its slot when the iterable throws', async () => {
    const [tx] = mpsc.channel<number>(2);
    const failing = (function* () {
      yield 1;
      throw new Error('broken');
    })();
    expect(await reasonOf(tx.sendMany(failing))).toEqual(new Error('broken'));
    expect(tx.capacity).toBe(1);
    expect(() => tx.sendMany(5 as never)).toThrow(TypeError);
  });
});
