import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import {
  CancellationToken,
  createSelector,
  mpsc,
  oneshot,
  reserving,
  SimulatedClock,
  select,
  sleep,
  withEnd,
} from '../../src/channels/index.js';
import { drained, reasonOf, stateOf, unheardOf } from '../support/settlement.js';

const never = new Promise<never>(() => {});

/** A channel with values in it. */
function filled<T>(...values: T[]) {
  const [tx, rx] = mpsc.unboundedChannel<T>();
  for (const value of values) tx.send(value);
  return [tx, rx] as const;
}

describe('select()', () => {
  it('a single ready arm wins, again and again', async () => {
    const [, rx] = filled(1, 2);
    expect(await select({ item: rx })).toEqual({ arm: 'item', value: 1 });
    expect(await select({ item: rx })).toEqual({ arm: 'item', value: 2 });
  });

  it('a selector is an arm of another, and wins with its event', async () => {
    const [tx, rx] = mpsc.channel<number>(4);
    const inner = createSelector({ item: rx, stop: new CancellationToken() });
    const waiting = select({ inner, other: never });
    await tx.send(1);
    await tx.send(2);
    expect(await waiting).toEqual({ arm: 'inner', value: { arm: 'item', value: 1 } });
    expect(await select({ inner })).toEqual({ arm: 'inner', value: { arm: 'item', value: 2 } });
    const lost = select({ inner, done: Promise.resolve('done') });
    expect((await lost).arm).toBe('done');
    await tx.send(3);
    expect(rx.len).toBe(1);
    const [closing, end] = mpsc.channel(1);
    closing.close();
    expect(await select({ inner: createSelector({ end }) })).toEqual({ arm: null });
    expect(await select({ inner: createSelector({ done: Promise.resolve(5) }) })).toEqual({
      arm: 'inner',
      value: { arm: 'done', value: 5 },
    });
  });

  it('a ready arm wins at once over one that never is', async () => {
    const [, rx] = filled(1);
    expect((await select({ never, item: rx })).arm).toBe('item');
  });

  it('one arm is executed per call, and losers have consumed nothing', async () => {
    const [one, a] = filled(1, 2, 3);
    const [other, b] = filled(4, 5, 6);
    one.close();
    other.close();
    const seen: number[] = [];
    for (;;) {
      const left = a.len + b.len;
      const event = await select({ a, b });
      if (event.arm === null) break;
      expect(a.len + b.len).toBe(left - 1);
      seen.push(event.value);
    }
    expect(seen.filter((value) => value < 4)).toEqual([1, 2, 3]);
    expect(seen.filter((value) => value > 3)).toEqual([4, 5, 6]);
  });

  it('a losing arm that waited has consumed nothing', async () => {
    const [tx, rx] = mpsc.channel<number>(2);
    const stop = new CancellationToken();
    const event = select({ item: rx, stop });
    stop.cancel();
    await tx.send(1);
    expect((await event).arm).toBe('stop');
    expect(rx.len).toBe(1);
  });

  it('a falsy arm is never looked at, and may be given the next time', async () => {
    const [, rx] = filled(1);
    const other = new CancellationToken();
    for (const off of [false, null, undefined, 0, 0n, ''] as const) {
      expect(await stateOf(select({ off, other }))).toBe('pending');
    }
    expect(rx.len).toBe(1);
    expect(await select({ rx, other })).toEqual({ arm: 'rx', value: 1 });
  });

  it('an arm whose channel ends is disabled, and waiting goes on', async () => {
    const [tx, rx] = mpsc.channel<number>(1);
    const [other, others] = mpsc.channel<number>(1);
    const event = select({ a: rx, b: others });
    tx.close();
    expect(await stateOf(event)).toBe('pending');
    await other.send(2);
    expect(await event).toEqual({ arm: 'b', value: 2 });
  });

  it('{ arm: null } when every arm that was given has ended, for ever after', async () => {
    const [tx, rx] = mpsc.channel<number>(1);
    const [other, others] = mpsc.channel<number>(1);
    const [reply, answer] = oneshot.channel<number>();
    const selector = createSelector({ a: rx, b: others, c: answer, d: undefined, e: reserving(other) });
    const event = selector.next({ off: ['e'] });
    tx.close();
    other.close();
    expect(await stateOf(event)).toBe('pending');
    reply.close();
    expect(await event).toEqual({ arm: null });
    expect(await selector.next()).toEqual({ arm: null });
    expect(await select({ a: rx, c: answer })).toEqual({ arm: null });
  });

  it('a call whose arms are all falsy throws at once', () => {
    expect(() => select({})).toThrow(TypeError);
    expect(() => select({ a: null, b: false })).toThrow('Cannot select: an arm must be enabled, received none');
    expect(() => createSelector({ a: undefined })).toThrow(TypeError);
  });

  it('biased looks at the arms in the order written', async () => {
    const [txs, rxs] = [0, 1, 2]
      .map(() => mpsc.channel<number>(4))
      .reduce<[mpsc.Sender<number>[], mpsc.Receiver<number>[]]>(
        ([senders, receivers], [tx, rx]) => [
          [...senders, tx],
          [...receivers, rx],
        ],
        [[], []],
      );
    const [a, b, c] = rxs as [mpsc.Receiver<number>, mpsc.Receiver<number>, mpsc.Receiver<number>];
    const selector = createSelector({ a, b, c }, { biased: true });
    txs[2]?.trySend(30);
    txs[1]?.trySend(20);
    expect(await selector.next()).toEqual({ arm: 'b', value: 20 });
    txs[1]?.trySend(21);
    txs[0]?.trySend(10);
    const visited: (string | null)[] = [];
    for (let turn = 0; turn < 3; turn++) visited.push((await selector.next()).arm);
    expect(visited).toEqual(['a', 'b', 'c']);
  });

  it.each([
    [
      'createSelector',
      (arms: Record<string, mpsc.Receiver<number>>) => {
        const selector = createSelector(arms);
        return () => selector.next();
      },
    ],
    ['select', (arms: Record<string, mpsc.Receiver<number>>) => () => select(arms)],
    [
      'createSelector with a seed',
      (arms: Record<string, mpsc.Receiver<number>>) => {
        const selector = createSelector(arms, { seed: 7 });
        return () => selector.next();
      },
    ],
  ] as const)('%s serves arms that stay ready equally, whoever stands between them', async (name, make) => {
    const arms: Record<string, mpsc.Receiver<number>> = {};
    const counts: Record<string, number> = {};
    for (const arm of ['a', 'b', 'c', 'd', 'e', 'f']) {
      const [tx, rx] = mpsc.unboundedChannel<number>();
      arms[arm] = rx;
      if (arm === 'c' || arm === 'd') continue;
      counts[arm] = 0;
      for (let at = 0; at < 12_000; at++) tx.send(at);
    }
    const next = make(arms);
    for (let turn = 0; turn < 24_000; turn++) counts[(await next()).arm as string]! += 1;
    const shares = Object.values(counts);
    expect(Math.min(...shares) / Math.max(...shares)).toBeGreaterThan(name === 'createSelector' ? 0.999 : 0.9);
  });

  it('with a seed, or a generator, the choices can be repeated', async () => {
    const choices = async (options: object) => {
      const arms = {
        a: filled(...Array(64).fill(0))[1],
        b: filled(...Array(64).fill(0))[1],
        c: filled(...Array(64).fill(0))[1],
      };
      const selector = createSelector(arms, options);
      const chosen: (string | null)[] = [];
      for (let turn = 0; turn < 60; turn++) chosen.push((await selector.next()).arm);
      return chosen.join('');
    };
    expect(await choices({ seed: 42 })).toBe(await choices({ seed: 42 }));
    expect(await choices({ seed: 42 })).not.toBe(await choices({ seed: 43 }));
    expect(await choices({ random: () => 0 })).toBe('a'.repeat(60));
  });

  it('arms work', async () => {
    const arms: Record<string, mpsc.Receiver<number>> = {};
    const senders: mpsc.Sender<number>[] = [];
    for (let at = 0; at < 64; at++) {
      const [tx, rx] = mpsc.channel<number>(1);
      arms[`arm${at}`] = rx;
      senders.push(tx);
    }
    const selector = createSelector(arms);
    for (let at = 0; at < 64; at++) {
      const event = selector.next();
      senders[at]?.trySend(at);
      expect(await event).toEqual({ arm: `arm${at}`, value: at });
    }
  });

  it("the event's value is the caller's own", async () => {
    const job = { done: false };
    const [, rx] = filled(job);
    const event = await select({ rx });
    if (event.arm === 'rx') event.value.done = true;
    expect(job.done).toBe(true);
  });

  it('promises and thenables are arms; a losing rejection is no unhandled one', async () => {
    const unheard = await unheardOf(async () => {
      let reject: (reason: unknown) => void = () => {};
      const failing = new Promise<never>((_, no) => {
        reject = no;
      });
      const [, rx] = filled(1);
      expect((await select({ failing, item: rx }, { biased: true })).arm).toBe('item');
      reject(new Error('late'));
      await drained();
      const thenable = {
        then: (resolve: (value: string) => void) => resolve('then'),
      } as unknown as PromiseLike<string>;
      expect(await select({ thenable, never })).toEqual({ arm: 'thenable', value: 'then' });
      expect(await reasonOf(select({ failing }))).toEqual(new Error('late'));
      const waiting = select({
        broken: (async () => {
          await drained();
          throw new Error('broken');
        })(),
      });
      expect(await reasonOf(waiting)).toEqual(new Error('broken'));
    });
    expect(unheard).toEqual([]);
  });

  it('withEnd() wins with values, with the end, and with the end ever after', async () => {
    const [tx, rx] = mpsc.channel<number>(2);
    const waiting = select({ item: withEnd(rx) });
    await tx.send(1);
    expect(await waiting).toEqual({ arm: 'item', value: { done: false, value: 1 } });
    const end = select({ item: withEnd(rx) });
    tx.close();
    for (const event of [await end, await select({ item: withEnd(rx) })]) {
      expect(event).toEqual({ arm: 'item', value: { done: true, value: undefined } });
    }
    expect(() => withEnd({} as never)).toThrow(TypeError);
  });

  it('an arm whose channel ended with a reason rejects the select', async () => {
    const [tx, rx] = mpsc.channel<number>(2);
    const waiting = [select({ rx }), select({ item: withEnd(rx) })].map(reasonOf);
    tx.close('broken');
    expect(await Promise.all(waiting)).toEqual(['broken', 'broken']);
    expect(await reasonOf(select({ rx }))).toBe('broken');
  });

  it('reserving() wins with a permit, holds no slot when it loses, and ends with the channel', async () => {
    const [tx, rx] = mpsc.channel<number>(1);
    const room = reserving(tx);
    const event = await select({ room });
    const waiting = select({ room, never });
    if (event.arm === 'room') event.value.send(1);
    expect(await stateOf(waiting)).toBe('pending');
    await rx.recv();
    const won = await waiting;
    if (won.arm === 'room') won.value.release();
    expect(tx.capacity).toBe(1);
    tx.trySend(2);
    const stop = new CancellationToken();
    const lost = select({ room, stop });
    stop.cancel();
    await lost;
    await rx.recv();
    expect(tx.capacity).toBe(1);
    tx.trySend(3);
    const closing = select({ room });
    rx.close();
    expect(await closing).toEqual({ arm: null });
    expect(await select({ room })).toEqual({ arm: null });
    expect(() => reserving(mpsc.unboundedChannel()[0] as never)).toThrow(TypeError);
  });

  it('Selector.next() may overlap: each call gets an event of its own, in order', async () => {
    const [tx, rx] = mpsc.channel<number>(4);
    const selector = createSelector({ rx });
    const controller = new AbortController();
    const waits = [selector.next(), selector.next({ signal: controller.signal }), selector.next(), selector.next()];
    controller.abort('no');
    expect(await reasonOf(waits[1] as Promise<unknown>)).toBe('no');
    await tx.send(1);
    await tx.send(2);
    tx.close();
    expect(await waits[0]).toEqual({ arm: 'rx', value: 1 });
    expect(await waits[2]).toEqual({ arm: 'rx', value: 2 });
    expect(await waits[3]).toEqual({ arm: null });
  });

  it('a selector keeps the arms it was made with', async () => {
    const [, rx] = filled(1, 2);
    const arms: { rx: mpsc.Receiver<number> | null } = { rx };
    const selector = createSelector(arms);
    arms.rx = null;
    expect(await selector.next()).toEqual({ arm: 'rx', value: 1 });
  });

  it('signals: an arm, an option, and one that has fired already', async () => {
    const [tx, rx] = mpsc.channel<number>(2);
    const controller = new AbortController();
    const { signal } = controller;
    const waits = [select({ rx, signal }), select({ rx }, { signal }), createSelector({ rx }).next({ signal })];
    expect(getEventListeners(signal, 'abort')).toHaveLength(1);
    controller.abort('fired');
    expect(await waits[0]).toEqual({ arm: 'signal', value: 'fired' });
    expect(await reasonOf(waits[1] as Promise<unknown>)).toBe('fired');
    expect(await reasonOf(waits[2] as Promise<unknown>)).toBe('fired');
    await tx.send(1);
    expect(await reasonOf(select({ rx }, { signal }))).toBe('fired');
    expect(await reasonOf(select({ done: Promise.resolve() }, { signal }))).toBe('fired');
    expect(rx.len).toBe(1);
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });

  it('a signal that fires while a new promise arm is asked rejects, and nothing is taken', async () => {
    const [, rx] = filled(1);
    const controller = new AbortController();
    const waiting = select({ done: Promise.resolve(1), rx }, { signal: controller.signal });
    controller.abort('now');
    expect(await reasonOf(waiting)).toBe('now');
    expect(rx.len).toBe(1);
  });

  it('a signal whose abort lets another wait on it win settles each once', async () => {
    const [tx, rx] = mpsc.channel<number>(2);
    tx.trySend(1);
    tx.trySend(2);
    const { signal, abort } = (() => {
      const controller = new AbortController();
      return { signal: controller.signal, abort: () => controller.abort('both') };
    })();
    const gathering = reasonOf(tx.reserveMany(2, { signal }));
    const waiting = select({ room: reserving(tx) }, { signal });
    rx.tryRecv();
    abort();
    expect(await gathering).toBe('both');
    const event = await waiting;
    if (event.arm === 'room') event.value.release();
    expect(event.arm).toBe('room');
    expect(tx.capacity).toBe(1);
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });

  it('a listener on a token that lets another wait win while the token is cancelled settles each once', async () => {
    const [tx, rx] = mpsc.channel<number>(2);
    const stop = new CancellationToken();
    stop.signal.addEventListener('abort', () => tx.trySend(1));
    const waiting = select({ stop, rx });
    stop.cancel();
    expect(await waiting).toEqual({ arm: 'rx', value: 1 });
  });

  it('timers reset without a new object', async () => {
    const clock = new SimulatedClock();
    const idle = sleep(100, { clock });
    const [tx, rx] = mpsc.channel<number>(1);
    const selector = createSelector({ item: rx, idle });
    for (let turn = 0; turn < 5; turn++) {
      const event = selector.next();
      await clock.advance(90);
      await tx.send(turn);
      expect((await event).arm).toBe('item');
      idle.reset(100);
    }
    const event = selector.next();
    await clock.advance(100);
    expect((await event).arm).toBe('idle');
    expect(clock.pendingTimers).toBe(0);
  });

  it('a oneshot receiver is an arm, which ends when its sender is gone', async () => {
    const [reply, answer] = oneshot.channel<number>();
    const waiting = select({ answer });
    reply.send(1);
    expect(await waiting).toEqual({ arm: 'answer', value: 1 });
    expect(await select({ answer })).toEqual({ arm: null });
    const [dropped, none] = oneshot.channel<number>();
    const ends = select({ none: withEnd(none) });
    dropped.close();
    expect(await ends).toEqual({ arm: 'none', value: { done: true, value: undefined } });
    const [late, kept] = oneshot.channel<number>();
    const lost = select({ kept, done: Promise.resolve() });
    await lost;
    late.send(5);
    expect(await kept.recv()).toBe(5);
  });

  it('refuses what is no arm, and names that look like integers', () => {
    const [, rx] = filled(1);
    for (const arm of [5, 'rx', {}, () => {}, [], true]) {
      expect(() => select({ rx, arm } as never)).toThrow(TypeError);
    }
    expect(() => select(null as never)).toThrow(TypeError);
    expect(() => select({ 0: rx } as never)).toThrow('must be anything but an integer');
    expect(() => createSelector({ '17': rx } as never)).toThrow(TypeError);
    expect(() => select({ rx }, { baised: true } as never)).toThrow(TypeError);
    expect(() => select({ rx }, { biased: 1 } as never)).toThrow(TypeError);
    expect(() => select({ rx }, { seed: Number.NaN })).toThrow(TypeError);
    expect(() => select({ rx }, { random: 5 as never })).toThrow(TypeError);
    expect(() => createSelector({ rx }).next({ off: ['xr' as never] })).toThrow(TypeError);
    expect(() => createSelector({ rx }).next({ off: 'rx' as never })).toThrow(TypeError);
    expect(() => createSelector({ rx }).next({ of: [] } as never)).toThrow(TypeError);
    expect(rx.len).toBe(1);
  });

  it('off may name an arm that was falsy, and the same arm twice', async () => {
    const [, rx] = filled(1);
    const selector = createSelector({ rx, none: undefined, never });
    expect(await selector.next({ off: ['none', 'never', 'never'] })).toEqual({ arm: 'rx', value: 1 });
  });
});
