import { describe, expect, it } from 'vitest';
import {
  interval,
  mpsc,
  RecvError,
  SimulatedClock,
  select,
  sleep,
  TimeoutError,
  timeout,
} from '../../src/channels/index.js';
import { reasonOf, stateOf } from '../support/settlement.js';

const never = new Promise<never>(() => {});

describe('sleep()', () => {
  it('elapses on its clock, after its time and not before', async () => {
    const clock = new SimulatedClock();
    const timer = sleep(100, { clock });
    const awaited = Promise.resolve(timer);
    await clock.advance(99);
    expect(await stateOf(awaited)).toBe('pending');
    expect(timer.isElapsed).toBe(false);
    await clock.advance(1);
    await awaited;
    expect(timer.isElapsed).toBe(true);
    await timer;
    expect((await select({ timer })).arm).toBe('timer');
  });

  it('Sleep.reset() moves the deadline of those who wait', async () => {
    const clock = new SimulatedClock();
    const timer = sleep(100, { clock });
    const awaited = Promise.resolve(timer);
    await clock.advance(60);
    timer.reset(100);
    await clock.advance(99);
    expect(await stateOf(awaited)).toBe('pending');
    timer.resetAt(0);
    await clock.advance(0);
    await awaited;
    expect(timer.deadline).toBe(0);
    timer.reset(Number.POSITIVE_INFINITY);
    expect(timer.isElapsed).toBe(false);
    expect(clock.pendingTimers).toBe(0);
  });

  it('runs a host timer only while somebody waits', async () => {
    const clock = new SimulatedClock();
    const [tx, rx] = mpsc.channel<number>(1);
    const timer = sleep(100, { clock });
    expect(clock.pendingTimers).toBe(0);
    const event = select({ item: rx, timer });
    expect(clock.pendingTimers).toBe(1);
    await tx.send(1);
    expect((await event).arm).toBe('item');
    expect(clock.pendingTimers).toBe(0);
    const [one, other] = [select({ timer }), select({ timer })];
    expect(clock.pendingTimers).toBe(1);
    await clock.advance(100);
    await Promise.all([one, other]);
    expect(clock.pendingTimers).toBe(0);
  });

  it('its signal rejects those who wait, and leaves no timer', async () => {
    const clock = new SimulatedClock();
    const controller = new AbortController();
    const timer = sleep(100, { clock, signal: controller.signal });
    const waits = [reasonOf(timer), reasonOf(select({ timer }))];
    controller.abort('no');
    expect(await Promise.all(waits)).toEqual(['no', 'no']);
    expect(await reasonOf(timer)).toBe('no');
    expect(clock.pendingTimers).toBe(0);
  });

  it('sleep(NaN) is refused', () => {
    expect(() => sleep(Number.NaN)).toThrow(RangeError);
    expect(() => sleep('1' as never)).toThrow(TypeError);
    expect(() => sleep(1, { reff: true } as never)).toThrow(TypeError);
    expect(() => sleep(1, { clock: {} } as never)).toThrow(TypeError);
  });
});

describe('timeout()', () => {
  it('a value that is ready beats a deadline of now, and one past', async () => {
    const clock = new SimulatedClock();
    const [tx, rx] = mpsc.channel<number>(4);
    for (const value of [1, 2, 3, 4]) await tx.send(value);
    expect(await timeout(0, rx, { clock })).toBe(1);
    const awaited = timeout(0, async (signal) => (await rx.recv({ signal })).value, { clock });
    await clock.advance(1);
    expect(await awaited).toBe(2);
    const promise = timeout(0, Promise.resolve('ready'), { clock });
    await clock.advance(1);
    expect(await promise).toBe('ready');
    expect(clock.pendingTimers).toBe(0);
  });

  it('a pending value has until the deadline', async () => {
    const clock = new SimulatedClock();
    const [tx, rx] = mpsc.channel<number>(4);
    const early = timeout(100, rx, { clock });
    expect(await stateOf(early)).toBe('pending');
    await clock.advance(99);
    await tx.send(1);
    expect(await early).toBe(1);
    expect(clock.pendingTimers).toBe(0);
    for (const operation of [rx, never, () => never, (signal: AbortSignal) => rx.recv({ signal })]) {
      const late = reasonOf(timeout(100, operation as Promise<never>, { clock }));
      await clock.advance(99);
      expect(await stateOf(late)).toBe('pending');
      await clock.advance(1);
      expect(await late).toBeInstanceOf(TimeoutError);
      expect(clock.pendingTimers).toBe(0);
    }
    const now = reasonOf(timeout(0, never, { clock }));
    await clock.advance(0);
    expect(await now).toMatchObject({ code: 'ERR_TIMEOUT' });
  });

  it('an operation that never yields by itself still times out', async () => {
    const [tx, rx] = mpsc.channel<number>(1);
    const late = timeout(5, async (signal) => {
      while (!signal.aborted) {
        await tx.send(1);
        await rx.recv();
      }
      throw new Error('stopped');
    });
    expect(await reasonOf(late)).toBeInstanceOf(TimeoutError);
  });

  it('a timed-out recv has consumed nothing', async () => {
    const clock = new SimulatedClock();
    const [tx, rx] = mpsc.channel<number>(4);
    const waits = [timeout(10, rx, { clock }), timeout(10, (signal) => rx.recv({ signal }), { clock })].map(reasonOf);
    await clock.advance(10);
    await Promise.all(waits);
    await tx.send(1);
    expect(await rx.recv()).toEqual({ done: false, value: 1 });
  });

  it('passes on a failure, an abort and the end of a channel', async () => {
    const clock = new SimulatedClock();
    const [tx, rx] = mpsc.channel<number>(4);
    expect(await reasonOf(timeout(10, Promise.reject('broken'), { clock }))).toBe('broken');
    const controller = new AbortController();
    let inner: AbortSignal | undefined;
    const remember = (signal: AbortSignal) => {
      inner = signal;
      return never;
    };
    const waits = [
      timeout(10, rx, { clock, signal: controller.signal }),
      timeout(10, remember, { clock, signal: controller.signal }),
    ].map(reasonOf);
    controller.abort('no');
    expect(await Promise.all(waits)).toEqual(['no', 'no']);
    expect(inner?.reason).toBe('no');
    expect(await reasonOf(timeout(10, rx, { clock, signal: controller.signal }))).toBe('no');
    tx.close();
    expect(await reasonOf(timeout(10, rx, { clock }))).toBeInstanceOf(RecvError);
    expect(clock.pendingTimers).toBe(0);
  });
});

describe('interval()', () => {
  it('ticks at once, then every period', async () => {
    const clock = new SimulatedClock(1000);
    const ticks = interval(100, { clock });
    expect(await ticks.tick()).toBe(1000);
    const second = ticks.tick();
    const third = ticks.tick();
    await clock.advance(99);
    expect(await stateOf(second)).toBe('pending');
    await clock.advance(101);
    expect([await second, await third]).toEqual([1100, 1200]);
    expect(clock.pendingTimers).toBe(0);
  });

  it.each([
    ['burst', [100, 200, 300, 400]],
    ['delay', [100, 450, 550, 650]],
    ['skip', [100, 400, 500, 600]],
  ] as const)('%s makes up for missed ticks as tokio does', async (missedTickBehavior, expected) => {
    const clock = new SimulatedClock();
    const ticks = interval(100, { clock, missedTickBehavior });
    expect(ticks.missedTickBehavior).toBe(missedTickBehavior);
    await ticks.tick();
    await clock.advance(350);
    const seen: number[] = [];
    for (let at = 0; at < 4; at++) {
      const tick = ticks.tick();
      if ((await stateOf(tick)) === 'pending') await clock.advance(100);
      seen.push(await tick);
    }
    expect(seen).toEqual(expected);
  });

  it('reset, resetImmediately, resetAfter and resetAt change the next tick', async () => {
    const clock = new SimulatedClock();
    const ticks = interval(100, { clock });
    await ticks.tick();
    const next = async () => {
      const before = clock.now();
      const tick = ticks.tick();
      for (let waited = 0; (await stateOf(tick)) === 'pending' && waited < 1000; waited += 10) await clock.advance(10);
      return (await tick) - before;
    };
    await clock.advance(50);
    ticks.reset();
    expect(await next()).toBe(100);
    await clock.advance(50);
    ticks.resetImmediately();
    expect(await next()).toBe(0);
    ticks.resetAfter(250);
    expect(await next()).toBe(250);
    ticks.resetAt(clock.now() + 330);
    expect(await next()).toBe(330);
    expect(await next()).toBe(100);
  });

  it('a reset moves a tick that is awaited', async () => {
    const clock = new SimulatedClock();
    const ticks = interval(100, { clock });
    await ticks.tick();
    const tick = ticks.tick();
    await clock.advance(50);
    ticks.resetAfter(200);
    await clock.advance(199);
    expect(await stateOf(tick)).toBe('pending');
    await clock.advance(1);
    expect(await tick).toBe(250);
  });

  it('an aborted tick is left for the next; as an arm it wins with a tick', async () => {
    const clock = new SimulatedClock();
    const ticks = interval(100, { clock, startAt: 100 });
    const controller = new AbortController();
    const abandoned = reasonOf(ticks.tick({ signal: controller.signal }));
    const event = select({ tick: ticks });
    controller.abort('no');
    expect(await abandoned).toBe('no');
    await clock.advance(100);
    expect(await event).toEqual({ arm: 'tick', value: 100 });
    ticks[Symbol.dispose]();
    expect(clock.pendingTimers).toBe(0);
  });
});
