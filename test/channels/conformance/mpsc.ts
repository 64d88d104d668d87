import { getEventListeners } from 'node:events';
import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { SendError } from '../../../src/channels/index.js';
import { type Flavour, sendInto } from '../support/flavours.js';
import { drained, reasonOf, stateOf } from '../../support/settlement.js';

const END = { done: true, value: undefined };
const got = <T>(value: T) => ({ done: false, value });

/** The cases that hold for every kind of channel; the numbers are those of the conformance list. */
export function describeMpsc(flavour: Flavour): void {
  const create = flavour.create;

  describe(`${flavour.name} channel: basics and order`, () => {
    it('Receiver.recv() gives two awaited sends in order, then the end', async () => {
      const [tx, rx] = create<string>(4);
      const task = (async () => {
        await tx.send('one');
        await tx.send('two');
        tx.close();
      })();
      expect([await rx.recv(), await rx.recv(), await rx.recv()]).toEqual([got('one'), got('two'), END]);
      await task;
    });

    it('Sender.send() needs no await while there is room', async () => {
      const [tx, rx] = create<number>(2);
      void tx.send(1);
      void tx.send(2);
      tx.close();
      expect([await rx.recv(), await rx.recv(), await rx.recv()]).toEqual([got(1), got(2), END]);
    });

    it('any value travels as it is, and is no end marker', async () => {
      const thenable = { then: () => expect.fail('a thenable was adopted') };
      const promise = Promise.reject(new Error('not awaited'));
      promise.catch(() => {});
      const values: unknown[] = [
        undefined,
        null,
        Number.NaN,
        0,
        '',
        false,
        () => 1,
        promise,
        thenable,
        Symbol.iterator,
      ];
      const [tx, rx] = create<unknown>(16);
      for (const value of values) await tx.send(value);
      for (const value of values) expect((await rx.recv()).value).toBe(value);
      for (const value of values) await tx.send(value);
      const seen = await rx.recvMany(99);
      for (const [at, value] of values.entries()) expect(seen[at]).toBe(value);
      const waiting = rx.recv();
      void tx.send(thenable);
      expect((await waiting).value).toBe(thenable);
    });

    it('Receiver[Symbol.asyncIterator]() yields the same values as recv and finishes', async () => {
      const [tx, rx] = create<number>(2);
      const task = (async () => {
        for (let at = 0; at < 20; at++) await tx.send(at);
        tx.close();
      })();
      const seen: number[] = [];
      for await (const value of rx) seen.push(value);
      expect(seen).toEqual(Array.from({ length: 20 }, (_, at) => at));
      await task;
      for await (const _ of rx) expect.fail('it had ended');
    });

    it('Receiver.recv() gives the end at once when the only sender is closed at birth', async () => {
      const [tx, rx] = create(1);
      tx.close();
      expect(await rx.recv()).toEqual(END);
    });

    it('closing a clone does not end the channel', async () => {
      const [tx, rx] = create<number>(1);
      tx.clone().close();
      await tx.send(1);
      expect(await rx.recv()).toEqual(got(1));
      const waiting = rx.recv();
      expect(await stateOf(waiting)).toBe('pending');
      tx.close();
      expect(await waiting).toEqual(END);
    });
  });

  describe(`${flavour.name} channel: recvMany`, () => {
    it('Receiver.recvManyInto() with limit 0 takes nothing and resolves at once', async () => {
      const [tx, rx] = create<number>(4);
      const buffer = [7];
      expect(await rx.recvManyInto(buffer, 0)).toBe(0);
      await tx.send(1);
      expect(await rx.recvManyInto(buffer, 0)).toBe(0);
      expect(await rx.recvMany(0)).toEqual([]);
      expect(buffer).toEqual([7]);
      expect(rx.len).toBe(1);
    });

    it('Receiver.recvManyInto() appends at most what there is and at most the limit', async () => {
      const [tx, rx] = create<number>(8);
      for (const value of [1, 2, 3, 4, 5]) await tx.send(value);
      const buffer = [0];
      expect(await rx.recvManyInto(buffer, 2)).toBe(2);
      expect(buffer).toEqual([0, 1, 2]);
      expect(rx.len).toBe(3);
      expect(await rx.recvManyInto(buffer, 100)).toBe(3);
      expect(buffer).toEqual([0, 1, 2, 3, 4, 5]);
    });

    it('Receiver.recvMany() waits for at least one value, and takes what came with it', async () => {
      const [tx, rx] = create<number>(8);
      const waiting = rx.recvMany(3);
      expect(await stateOf(waiting)).toBe('pending');
      for (const value of [1, 2, 3, 4]) void tx.send(value);
      expect(await waiting).toEqual([1, 2, 3]);
      expect(rx.len).toBe(1);
    });

    it('Receiver.recvMany() collects everything from a blocked producer, in order', async () => {
      const [tx, rx] = create<number>(2);
      const task = (async () => {
        for (let at = 0; at < 100; at++) await tx.send(at);
        tx.close();
      })();
      const all: number[] = [];
      for (;;) if ((await rx.recvManyInto(all, 7)) === 0) break;
      expect(all).toEqual(Array.from({ length: 100 }, (_, at) => at));
      await task;
    });

    it('Receiver.recvManyInto() answers 0 only at the end, and leaves the buffer alone', async () => {
      const [tx, rx] = create<number>(4);
      const buffer = [9];
      const waiting = rx.recvManyInto(buffer, 5);
      expect(await stateOf(waiting)).toBe('pending');
      tx.close();
      expect(await waiting).toBe(0);
      expect(await rx.recvManyInto(buffer, 5)).toBe(0);
      expect(await rx.recvMany(5)).toEqual([]);
      expect(buffer).toEqual([9]);
    });

    it('Receiver.recvManyInto() has removed nothing when it is aborted', async () => {
      const [tx, rx] = create<number>(4);
      const controller = new AbortController();
      const buffer: number[] = [];
      const waiting = rx.recvManyInto(buffer, 5, { signal: controller.signal });
      controller.abort('enough');
      await expect(waiting).rejects.toBe('enough');
      await tx.send(1);
      expect(buffer).toEqual([]);
      expect(rx.len).toBe(1);
      expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
    });

    it('Receiver.recvMany() whose batch is open keeps it when its signal fires', async () => {
      const [tx, rx] = create<number>(4);
      const controller = new AbortController();
      const waiting = rx.recvMany(5, { signal: controller.signal });
      void tx.send(1);
      controller.abort('late');
      void tx.send(2);
      const first = await waiting;
      expect([...first, ...(rx.len > 0 ? await rx.recvMany(5) : [])]).toEqual([1, 2]);
    });

    it('Receiver.recvMany() served together leaves each at least one value', async () => {
      const [tx, rx] = create<number>(8);
      const both = [rx.recvMany(8), rx.recvMany(8)];
      for (const value of [1, 2, 3]) void tx.send(value);
      const [one, other] = await Promise.all(both);
      expect([...(one ?? []), ...(other ?? [])].sort()).toEqual([1, 2, 3]);
      expect(one?.[0]).toBe(1);
      expect(other?.length).toBeGreaterThan(0);
    });
  });

  describe(`${flavour.name} channel: closing and draining`, () => {
    it('Receiver.close() of an idle channel gives the end, and sends fail', async () => {
      const [tx, rx] = create<string>(1);
      rx.close();
      expect(await rx.recv()).toEqual(END);
      const error = await reasonOf(sendInto(tx, 'back'));
      expect(error).toBeInstanceOf(SendError);
      expect((error as SendError).code).toBe('ERR_CHANNEL_CLOSED');
      expect((error as SendError).value).toBe('back');
      expect(Object.keys(error as object)).not.toContain('value');
    });

    it('Receiver.close() leaves buffered values to be received, in order', async () => {
      const [tx, rx] = create<number>(4);
      for (const value of [1, 2, 3]) await tx.send(value);
      rx.close();
      expect([await rx.recv(), await rx.recv(), await rx.recv(), await rx.recv()]).toEqual([
        got(1),
        got(2),
        got(3),
        END,
      ]);
    });

    it('dropping the receiver lets go of the values, once, and later sends fail', async () => {
      const lost: number[] = [];
      const [tx, rx] = create<number>(4, { onUndelivered: (value) => lost.push(value) });
      for (const value of [1, 2, 3]) await tx.send(value);
      rx[Symbol.dispose]();
      rx[Symbol.dispose]();
      expect(lost).toEqual([1, 2, 3]);
      expect(((await reasonOf(sendInto(tx, 4))) as SendError).value).toBe(4);
      tx.close();
      expect(lost).toEqual([1, 2, 3]);
      expect(await rx.recv()).toEqual(END);
      expect(rx.len).toBe(0);
    });

    it('onUndelivered hears of every value although it throws, and may use the channel', async () => {
      const lost: number[] = [];
      const [tx, rx] = create<number>(4, {
        onUndelivered: (value) => {
          lost.push(value);
          rx[Symbol.dispose]();
          tx.close();
          throw new Error(`lost ${value}`);
        },
      });
      for (const value of [1, 2, 3]) await tx.send(value);
      expect(() => rx[Symbol.dispose]()).toThrow('lost 1');
      expect(lost).toEqual([1, 2, 3]);
    });

    it('Sender.closed() resolves when the receiver closes or is dropped, and ever after', async () => {
      for (const leave of ['close', 'drop'] as const) {
        const [tx, rx] = create(1);
        const closed = tx.closed();
        expect(await stateOf(closed)).toBe('pending');
        expect(tx.isClosed).toBe(false);
        if (leave === 'close') rx.close();
        else rx[Symbol.dispose]();
        await closed;
        await tx.closed();
        expect(tx.isClosed).toBe(true);
      }
    });

    it('a closing reason reaches the receiver after the buffered values', async () => {
      const [tx, rx] = create<number>(4);
      const reason = new Error('the producer failed');
      await tx.send(1);
      tx.close(reason);
      expect(await rx.recv()).toEqual(got(1));
      expect(await reasonOf(rx.recv())).toBe(reason);
      expect(await reasonOf(rx.recvMany(3))).toBe(reason);
      expect(rx.tryRecv()).toEqual({ state: 'closed', reason });
      expect(
        await reasonOf(
          (async () => {
            for await (const _ of rx);
          })(),
        ),
      ).toBe(reason);
    });

    it('a closing reason reaches waits that are pending, once the last sender is closed', async () => {
      const [tx, rx] = create<number>(4);
      const other = tx.clone();
      const waits = [rx.recv(), rx.recvMany(4), rx[Symbol.asyncIterator]().next()];
      tx.close('first');
      expect(await stateOf(waits[0] as Promise<unknown>)).toBe('pending');
      other.close('second');
      for (const wait of waits) expect(await reasonOf(wait)).toBe('first');
    });

    it('Sender.send() after its own close fails, and others are not touched', async () => {
      const [tx, rx] = create<number>(2);
      const other = tx.clone();
      tx.close();
      expect(((await reasonOf(sendInto(tx, 1))) as SendError).value).toBe(1);
      expect(() => tx.clone()).toThrow(SendError);
      await other.send(2);
      expect(await rx.recv()).toEqual(got(2));
    });
  });

  describe(`${flavour.name} channel: queries`, () => {
    it('Receiver.tryRecv() tells a value, empty and closed apart', async () => {
      const [tx, rx] = create<number>(2);
      expect(rx.tryRecv()).toEqual({ state: 'empty' });
      await tx.send(1);
      tx.close();
      expect(rx.tryRecv()).toEqual({ state: 'ok', value: 1 });
      expect(rx.tryRecv()).toEqual({ state: 'closed' });
    });

    it('Receiver.tryRecv() is closed after Receiver.close()', () => {
      const [, rx] = create(1);
      rx.close();
      expect(rx.tryRecv()).toEqual({ state: 'closed' });
    });

    it('Receiver.isClosed', async () => {
      const [tx, rx] = create<number>(1);
      expect(rx.isClosed).toBe(false);
      await tx.send(1);
      expect(rx.isClosed).toBe(false);
      tx.close();
      expect(rx.isClosed).toBe(true);
      const [, other] = create(1);
      other.close();
      expect(other.isClosed).toBe(true);
    });

    it('Receiver.isEmpty', async () => {
      const [tx, rx] = create<number>(2);
      expect(rx.isEmpty).toBe(true);
      await tx.send(1);
      await tx.send(2);
      await rx.recv();
      expect(rx.isEmpty).toBe(false);
      await rx.recv();
      expect(rx.isEmpty).toBe(true);
      tx.close();
      expect(rx.isEmpty).toBe(true);
    });

    it('Receiver.len counts exactly, whatever closes', async () => {
      const [tx, rx] = create<number>(5);
      expect(rx.len).toBe(0);
      for (let at = 1; at <= 5; at++) {
        await tx.send(at);
        expect(rx.len).toBe(at);
      }
      rx.close();
      expect(rx.len).toBe(5);
      tx.close();
      for (let left = 4; left >= 0; left--) {
        rx.tryRecv();
        expect(rx.len).toBe(left);
      }
    });

    it('Sender.sameChannel()', () => {
      const [tx] = create(1);
      const [other] = create(1);
      expect(tx.sameChannel(tx.clone())).toBe(true);
      expect(tx.sameChannel(other)).toBe(false);
    });

    it('dropping the receiver ends its waits', async () => {
      const [, rx] = create<number>(1);
      const waits = [rx.recv(), rx[Symbol.asyncIterator]().next(), rx.recv()];
      const many = rx.recvMany(4);
      rx[Symbol.dispose]();
      expect(await Promise.all(waits)).toEqual([END, END, END]);
      expect(await many).toEqual([]);
    });
  });

  describe(`${flavour.name} channel: weak senders and counts`, () => {
    it('a weak sender keeps nothing open, and upgrades while a strong one lives', async () => {
      const [tx, rx] = create<number>(2);
      const clone = tx.clone();
      const weak = clone.downgrade();
      clone.close();
      const again = weak.upgrade();
      await again?.send(1);
      again?.close();
      expect(await rx.recv()).toEqual(got(1));
      tx.close();
      expect(await rx.recv()).toEqual(END);
      expect(weak.upgrade()).toBeUndefined();
    });

    it.runIf(flavour.countsSenders)('strong and weak counts are seen alike by all', () => {
      const [tx, rx] = create(1);
      const weak = tx.downgrade();
      const clone = tx.clone();
      const counts = () => [tx, weak].map((each) => [each.strongCount, each.weakCount]);
      expect(counts()).toEqual([
        [2, 1],
        [2, 1],
      ]);
      const weaker = weak.clone();
      expect([rx.senderStrongCount, rx.senderWeakCount]).toEqual([2, 2]);
      weaker.close();
      weaker.close();
      clone.close();
      clone.close();
      expect(counts()).toEqual([
        [1, 1],
        [1, 1],
      ]);
      expect(weaker.upgrade()).toBeUndefined();
    });
  });

  describe(`${flavour.name} channel: waits`, () => {
    it('an aborted signal rejects before any effect, with its reason', async () => {
      const [tx, rx] = create<number>(2);
      await tx.send(1);
      const signal = AbortSignal.abort('no');
      for (const wait of [() => rx.recv({ signal }), () => rx.recvMany(3, { signal }), () => tx.closed({ signal })]) {
        expect(await reasonOf(wait())).toBe('no');
      }
      expect(rx.len).toBe(1);
    });

    it('an abort after the settlement does nothing', async () => {
      const [tx, rx] = create<number>(2);
      const controller = new AbortController();
      const waiting = rx.recv({ signal: controller.signal });
      await tx.send(1);
      controller.abort('late');
      expect(await waiting).toEqual(got(1));
    });

    it('concurrent recv and next calls are served in order, and settle on close', async () => {
      const [tx, rx] = create<number>(8);
      const iterator = rx[Symbol.asyncIterator]();
      const order: number[] = [];
      const waits = [rx.recv(), iterator.next(), iterator.next(), rx.recv(), iterator.next()];
      for (const [at, wait] of waits.entries()) void wait.then(() => order.push(at));
      for (const value of [10, 11, 12]) void tx.send(value);
      tx.close();
      expect(await Promise.all(waits)).toEqual([got(10), got(11), got(12), END, END]);
      expect(order).toEqual([0, 1, 2, 3, 4]);
    });

    it('Receiver.recv() leaves the message for the next receiver when its signal aborts', async () => {
      const [tx, rx] = create<number>(2);
      const controller = new AbortController();
      const abandoned = rx.recv({ signal: controller.signal });
      const next = rx.recv();
      controller.abort('gone');
      await tx.send(1);
      expect(await reasonOf(abandoned)).toBe('gone');
      expect(await next).toEqual(got(1));
    });

    it('leaving a for await early keeps the channel open and takes nothing', async () => {
      const [tx, rx] = create<number>(4);
      for (const value of [1, 2, 3]) await tx.send(value);
      for await (const value of rx) if (value === 2) break;
      expect(rx.isClosed).toBe(false);
      expect(await rx.recv()).toEqual(got(3));
    });

    it('return() of the iterator settles its pending next(), and only its own', async () => {
      const [tx, rx] = create<number>(4);
      const iterator = rx[Symbol.asyncIterator]();
      const other = rx.recv();
      const mine = iterator.next();
      expect(await iterator.return?.()).toEqual(END);
      expect(await mine).toEqual(END);
      expect(await iterator.next()).toEqual(END);
      await tx.send(1);
      expect(await other).toEqual(got(1));
    });

    it('20,000 receivers may be parked, and each gets one value in order', async () => {
      const [tx, rx] = create<number>(8);
      const waits = Array.from({ length: 20_000 }, () => rx.recv());
      for (let at = 0; at < 20_000; at++) void tx.send(at);
      const seen = await Promise.all(waits);
      expect(seen.every(({ value }, at) => value === at)).toBe(true);
    });

    it('20,000 waits may be abandoned in any order', async () => {
      const [tx, rx] = create<number>(8);
      const controllers = Array.from({ length: 20_000 }, () => new AbortController());
      const waits = controllers.map(({ signal }) => rx.recv({ signal }).catch((reason: unknown) => reason));
      for (let at = 0; at < controllers.length; at += 2) controllers[at]?.abort(at);
      for (let at = controllers.length - 1; at > 2; at -= 2) controllers[at]?.abort(at);
      await tx.send(5);
      expect(await waits[1]).toEqual(got(5));
      expect(rx.len).toBe(0);
    });

    it('handles dispose twice without harm, are not thenable, and survive an async function', async () => {
      const [tx, rx] = create<number>(1);
      const weak = tx.downgrade();
      for (const handle of [tx, rx, weak]) expect('then' in handle).toBe(false);
      expect(await (async () => rx)()).toBe(rx);
      const other = tx.clone();
      other[Symbol.dispose]();
      other[Symbol.dispose]();
      await other[Symbol.asyncDispose]();
      expect(tx.strongCount).toBe(1);
      weak[Symbol.dispose]();
      weak[Symbol.dispose]();
      expect(tx.weakCount).toBe(0);
      await rx[Symbol.asyncDispose]();
      expect(tx.isClosed).toBe(true);
    });

    it('handles and errors are printed without what they hold', async () => {
      const [tx, rx] = create<string>(2);
      await tx.send('a secret image');
      rx.close();
      const error = await reasonOf(sendInto(tx, 'a secret image'));
      for (const printed of [tx, rx, tx.downgrade(), error]) {
        expect(inspect(printed, { depth: 9, showHidden: false })).not.toContain('secret');
      }
      expect(inspect(rx)).toMatch(/^Receiver \{ len: 1, capacity: (1|Infinity), isClosed: true \}$/);
    });

    it('two tasks that wake each other let timers run', async () => {
      const [ping, pings] = create<number>(1);
      const [pong, pongs] = create<number>(1);
      let fired = false;
      setTimeout(() => {
        fired = true;
        ping.close();
      }, 1);
      const echo = (async () => {
        for await (const value of pings) void pong.send(value);
      })();
      for (let turns = 0; !fired && turns < 10_000_000; turns++) {
        void ping.send(turns);
        await pongs.recv();
      }
      expect(fired).toBe(true);
      await echo;
    });

    it('unknown options and things that are no signal are refused before any effect', async () => {
      const [tx, rx] = create<number>(2);
      await tx.send(1);
      expect(() => rx.recv({ sginal: undefined } as never)).toThrow(TypeError);
      expect(() => rx.recv({ signal: {} } as never)).toThrow(TypeError);
      expect(() => rx.recv(5 as never)).toThrow(TypeError);
      expect(() => rx.recv(null as never)).toThrow(TypeError);
      expect(() => create(1, { onUndeliverd: () => {} } as never)).toThrow(TypeError);
      expect(() => create(1, { onUndelivered: 5 } as never)).toThrow(TypeError);
      expect(rx.len).toBe(1);
      await drained();
    });
  });
}
