import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import {
  broadcast,
  CancellationToken,
  type Clock,
  createSelector,
  interval,
  mpsc,
  Notify,
  type Selectable,
  select,
  sleep,
  timeout,
} from '../../src/channels/index.js';
import { drained, reasonOf, stateOf } from '../support/settlement.js';

type Source = ReturnType<Selectable<number>['selectSource']>;

const FAULT = new Error('foreign code fails');

function fail(): never {
  throw FAULT;
}

/** An arm that never wins, whose methods are those that are given. */
function foreignArm(methods: Partial<Source>): Selectable<number> {
  const source: Source = { poll: () => 0, register: () => {}, unregister: () => {}, isEnded: () => false, ...methods };
  return { selectSource: () => source };
}

/** A clock whose timers fire when they are told to, and whose methods fail when they are told to. */
class TrickyClock implements Clock {
  time = 0;
  readonly fails = { now: false, setTimer: false, cancel: false };
  readonly timers = new Set<() => void>();

  now(): number {
    if (this.fails.now) fail();
    return this.time;
  }

  setTimer(callback: () => void): { cancel(): void } {
    if (this.fails.setTimer) fail();
    this.timers.add(callback);
    return {
      cancel: () => {
        if (this.fails.cancel) fail();
        this.timers.delete(callback);
      },
    };
  }

  fire(): void {
    for (const callback of [...this.timers]) {
      this.timers.delete(callback);
      callback();
    }
  }
}

describe('select() with an arm that throws', () => {
  const places: Readonly<Record<string, (arm: Selectable<number>, rx: mpsc.Receiver<number>) => Promise<unknown>>> = {
    'behind a receiver': (arm, rx) => select({ rx, arm }, { biased: true }),
    'before a receiver': (arm, rx) => select({ arm, rx }, { biased: true }),
    'in a selector': (arm, rx) => createSelector({ rx, arm }, { biased: true }).next(),
    'in a selector that is an arm': (arm, rx) => select({ rx, inner: createSelector({ rx, arm }) }, { biased: true }),
    'beside a promise': (arm, rx) => select({ rx, arm, never: new Promise(() => {}) }, { biased: true }),
  };

  describe.each(Object.entries(places))('%s', (_, place) => {
    it.each(['poll', 'register', 'isEnded', 'prepare'] as const)(
      'rejects with what %s() throws, and takes nothing',
      async (method) => {
        const [tx, rx] = mpsc.channel<number>(2);
        const event = place(foreignArm({ [method]: fail }), rx);
        expect(await reasonOf(event)).toBe(FAULT);
        tx.trySend(1);
        expect(rx.tryRecv()).toEqual({ state: 'ok', value: 1 });
      },
    );

    it('gives the value when unregister() throws, and leaves nothing behind', async () => {
      const [tx, rx] = mpsc.channel<number>(2);
      const event = place(foreignArm({ unregister: fail }), rx);
      await drained();
      tx.trySend(1);
      tx.trySend(2);
      expect(await event).toBeTruthy();
      expect(rx.tryRecv()).toEqual({ state: 'ok', value: 2 });
    });

    it('rejects with what isEnded() throws when another arm ends, and not into the one who ends it', async () => {
      const [tx, rx] = mpsc.channel<number>(2);
      let isBroken = false;
      const event = place(foreignArm({ isEnded: () => (isBroken ? fail() : false) }), rx);
      const reason = reasonOf(event);
      await drained();
      isBroken = true;
      tx.close();
      expect(await reason).toBe(FAULT);
    });
  });

  it('rejects with what unregister() throws when its signal fires', async () => {
    const [tx, rx] = mpsc.channel<number>(2);
    const controller = new AbortController();
    const { signal } = controller;
    const event = select({ broken: foreignArm({ unregister: fail }), rx }, { signal });
    const other = rx.recv({ signal });
    controller.abort('stop');
    expect(await reasonOf(event)).toBe(FAULT);
    expect(await reasonOf(other)).toBe('stop');
    tx.trySend(1);
    expect(rx.tryRecv()).toEqual({ state: 'ok', value: 1 });
  });

  it('is over when an arm wins while it is registered', async () => {
    const [tx, rx] = mpsc.channel<number>(2);
    const rash = foreignArm({ register: (waiter) => waiter.deliver(7) });
    expect(await select({ rx, rash }, { biased: true })).toEqual({ arm: 'rash', value: 7 });
    const sends = foreignArm({ register: () => tx.trySend(1) });
    expect(await select({ rx, sends, after: new Notify() }, { biased: true })).toEqual({ arm: 'rx', value: 1 });
    tx.trySend(2);
    expect(rx.tryRecv()).toEqual({ state: 'ok', value: 2 });
  });

  it('ignores an arm that tells it twice', async () => {
    const [tx, rx] = mpsc.channel<number>(2);
    const waiters: Parameters<Source['register']>[0][] = [];
    const selector = createSelector({ rx, twice: foreignArm({ register: (given) => void waiters.push(given) }) });
    const event = selector.next();
    const [waiter] = waiters;
    waiter?.deliver(1);
    waiter?.deliver(2);
    waiter?.end();
    waiter?.fail(FAULT);
    expect(await event).toEqual({ arm: 'twice', value: 1 });
    const next = selector.next();
    tx.trySend(3);
    expect(await next).toEqual({ arm: 'rx', value: 3 });
  });

  it('rejects with what its generator of random numbers throws', async () => {
    const [tx, rx] = mpsc.channel<number>(2);
    tx.trySend(1);
    expect(await reasonOf(select({ rx, other: new Notify() }, { random: fail }))).toBe(FAULT);
    expect(rx.tryRecv()).toEqual({ state: 'ok', value: 1 });
  });

  it('leaves an arm that is off alone, and fails when its end can not be told', async () => {
    const [tx, rx] = mpsc.channel<number>(2);
    let isBroken = false;
    const watchers: { deliver(): void }[] = [];
    const off = foreignArm({
      isEnded: () => (isBroken ? fail() : false),
      endings: () => [{ push: (given) => void watchers.push(given as { deliver(): void }) }],
    });
    const selector = createSelector({ off, rx });
    const event = selector.next({ off: ['off'] });
    isBroken = true;
    watchers[0]?.deliver();
    expect(await reasonOf(event)).toBe(FAULT);
    tx.trySend(1);
    expect(rx.tryRecv()).toEqual({ state: 'ok', value: 1 });
  });
});

describe('a clock that fails', () => {
  it('rejects a wait for a timer, which can be waited for again', async () => {
    for (const method of ['now', 'setTimer'] as const) {
      const clock = new TrickyClock();
      const timer = sleep(10, { clock });
      clock.fails[method] = true;
      expect(await reasonOf(timer)).toBe(FAULT);
      const [tx, rx] = mpsc.channel<number>(1);
      expect(await reasonOf(select({ rx, timer }, { biased: true }))).toBe(FAULT);
      tx.trySend(1);
      expect(rx.tryRecv()).toEqual({ state: 'ok', value: 1 });
      clock.fails[method] = false;
      const waits = [Promise.resolve(timer), select({ timer })];
      await drained();
      expect(clock.timers.size).toBe(1);
      clock.fire();
      await Promise.all(waits);
    }
  });

  it('leaves a timer as it was when it is not set anew', async () => {
    const clock = new TrickyClock();
    const timer = sleep(10, { clock });
    const elapsed = Promise.resolve(timer);
    await drained();
    clock.fails.setTimer = true;
    expect(() => timer.reset(20)).toThrow(FAULT);
    expect([timer.deadline, clock.timers.size]).toEqual([10, 1]);
    clock.fire();
    await elapsed;
  });

  it('fails the ticks that are waited for, instead of keeping them for ever', async () => {
    const clock = new TrickyClock();
    const ticks = interval(10, { clock, startAt: 10 });
    clock.fails.setTimer = true;
    expect(await reasonOf(ticks.tick())).toBe(FAULT);
    clock.fails.setTimer = false;
    const waits = [ticks.tick(), ticks.tick()].map(async (tick) => tick.catch((error) => error));
    clock.time = 10;
    clock.fails.setTimer = true;
    clock.fire();
    expect(await Promise.all(waits)).toEqual([10, FAULT]);
    clock.fails.setTimer = false;
    const controller = new AbortController();
    const aborted = reasonOf(ticks.tick({ signal: controller.signal }));
    const behind = reasonOf(new Notify().notified({ signal: controller.signal }));
    clock.fails.cancel = true;
    controller.abort('stop');
    expect(await Promise.all([aborted, behind])).toEqual([FAULT, 'stop']);
  });

  it('fails those who wait for a timer whose signal fires, whatever stopping it throws', async () => {
    const clock = new TrickyClock();
    const controller = new AbortController();
    const { signal } = controller;
    const waits = [reasonOf(sleep(10, { clock, signal })), reasonOf(select({ timer: sleep(10, { clock, signal }) }))];
    const behind = reasonOf(new Notify().notified({ signal }));
    await drained();
    clock.fails.cancel = true;
    controller.abort('stop');
    expect(await Promise.all(waits)).toEqual([FAULT, FAULT]);
    expect(await behind).toBe('stop');
  });

  it('abandons a send, or lets it be', async () => {
    const clock = new TrickyClock();
    const [tx, rx] = mpsc.channel<number>(1, { clock });
    tx.trySend(1);
    clock.fails.setTimer = true;
    expect(await reasonOf(tx.sendTimeout(2, 50))).toBe(FAULT);
    clock.fails.setTimer = false;
    clock.fails.cancel = true;
    const sent = tx.sendTimeout(3, 50);
    expect([rx.tryRecv(), await sent, rx.tryRecv(), rx.tryRecv()]).toEqual([
      { state: 'ok', value: 1 },
      undefined,
      { state: 'ok', value: 3 },
      { state: 'empty' },
    ]);
    await drained();
  });

  it('starts no operation under a timeout that can not be set, and takes none of its value when it can not be stopped', async () => {
    const clock = new TrickyClock();
    const [tx, rx] = mpsc.channel<number>(4);
    clock.fails.setTimer = true;
    let started = 0;
    const operation = (signal: AbortSignal) => {
      started++;
      return rx.recv({ signal });
    };
    expect(await reasonOf(timeout(50, operation, { clock }))).toBe(FAULT);
    expect(await reasonOf(timeout(50, rx, { clock }))).toBe(FAULT);
    expect(await reasonOf(timeout(50, Promise.reject(new Error('unseen')), { clock }))).toBe(FAULT);
    expect(started).toBe(0);
    clock.fails.setTimer = false;
    clock.fails.cancel = true;
    const waits = [timeout(50, operation, { clock }), timeout(50, rx, { clock })];
    tx.trySend(1);
    tx.trySend(2);
    expect(await Promise.all(waits)).toEqual([{ done: false, value: 1 }, 2]);
    const controller = new AbortController();
    const aborted = timeout(50, operation, { clock, signal: controller.signal });
    controller.abort('stop');
    expect(await reasonOf(aborted)).toBe(FAULT);
    tx.trySend(3);
    expect(rx.tryRecv()).toEqual({ state: 'ok', value: 3 });
  });
});

describe('a buffer that refuses a value', () => {
  const buffers: Readonly<Record<string, () => { readonly buffer: number[]; readonly takes: number }>> = {
    'at once': () => {
      const buffer: number[] = [];
      buffer.push = fail;
      return { buffer, takes: 0 };
    },
    'after one': () => {
      const buffer = new Proxy<number[]>([], {
        set: (target, key, value) => (key === '1' ? fail() : Reflect.set(target, key, value)),
      });
      return { buffer, takes: 1 };
    },
    'as it can not grow': () => ({
      buffer: Object.defineProperty([], 'length', { writable: false }) as number[],
      takes: 0,
    }),
  };

  it.each(Object.entries(buffers))('%s leaves the values in the channel, in order', async (_, make) => {
    for (const waits of [false, true]) {
      const [tx, rx] = mpsc.channel<number>(3);
      const { buffer, takes } = make();
      const send = () => [1, 2, 3].map((value) => tx.trySend(value));
      if (!waits) send();
      const received = rx.recvManyInto(buffer, 2);
      if (waits) send();
      expect(await reasonOf(received)).toBeInstanceOf(Error);
      expect([rx.len, tx.capacity, [...buffer]]).toEqual([3 - takes, takes, [1].slice(0, takes)]);
      expect(await rx.recvMany(5)).toEqual([1, 2, 3].slice(takes));
      expect(tx.capacity).toBe(3);
      tx.close();
      expect(rx.tryRecv()).toEqual({ state: 'closed' });
    }
  });

  it('neither throws into the sender nor keeps the values from another receiver', async () => {
    const [tx, rx] = mpsc.channel<number>(1);
    const buffer: number[] = [];
    buffer.push = fail;
    const refused = reasonOf(rx.recvManyInto(buffer, 8));
    const next = rx.recv();
    const sends = [tx.send(1), tx.send(2), tx.send(3)];
    expect(await refused).toBe(FAULT);
    const values = [(await next).value];
    while (values.length < 3) values.push((await rx.recv()).value);
    expect(values.sort()).toEqual([1, 2, 3]);
    await Promise.all(sends);
    expect(tx.capacity).toBe(1);
  });
});

describe('onUndelivered() that throws', () => {
  it('throws at the one who drops the receiver or sends on a permit, and nothing else suffers', async () => {
    const seen: number[] = [];
    const onUndelivered = (value: number): void => {
      seen.push(value);
      fail();
    };
    const [tx, rx] = mpsc.channel<number>(4, { onUndelivered });
    const permit = await tx.reserve();
    const other = await tx.reserve();
    tx.trySend(1);
    tx.trySend(2);
    const closed = tx.closed();
    expect(() => rx[Symbol.dispose]()).toThrow(FAULT);
    expect(() => permit.send(3)).toThrow(FAULT);
    other.release();
    await closed;
    expect([seen, await rx.recv(), permit.isUsed]).toEqual([[1, 2, 3], { done: true, value: undefined }, true]);
  });
});

describe('clone() of a broadcast that throws or sends', () => {
  it('fails the one receive, parked or in a select', async () => {
    const [tx, rx] = broadcast.channel<number>(4, { clone: (value) => (value === 1 ? fail() : value) });
    const other = tx.subscribe();
    const waits = [reasonOf(rx.recv()), reasonOf(select({ other }))];
    await drained();
    expect(tx.send(1)).toBe(2);
    expect(await Promise.all(waits)).toEqual([FAULT, FAULT]);
    tx.send(2);
    expect([await rx.recv(), await select({ other })]).toEqual([
      { done: false, value: 2 },
      { arm: 'other', value: 2 },
    ]);
  });

  it('loses no value to a select in whose other arm it sends', async () => {
    const [sends, item] = mpsc.channel<number>(4);
    const [tx, rx] = broadcast.channel<number>(4, {
      clone: (value) => {
        sends.trySend(value);
        return value;
      },
    });
    const event = select({ a: rx, item, b: rx });
    await drained();
    tx.send(1);
    expect((await event).arm).toBe('a');
    expect(item.tryRecv()).toEqual({ state: 'ok', value: 1 });
  });
});

describe('a signal that refuses listeners', () => {
  it('rejects the wait, which has taken nothing and leaves nothing', async () => {
    const { signal } = new AbortController();
    signal.addEventListener = fail;
    const [tx, rx] = mpsc.channel<number>(1);
    const notify = new Notify();
    const token = CancellationToken.fromSignal(signal);
    const waits: (() => PromiseLike<unknown>)[] = [
      () => rx.recv({ signal }),
      () => rx.recvMany(2, { signal }),
      () => rx.ready({ signal }),
      () => select({ rx }, { signal }),
      () => select({ rx, signal }),
      () => select({ rx, token }),
      () => timeout(1_000, rx, { signal }),
      () => timeout(1_000, (inner) => rx.recv({ signal: inner }), { signal }),
      () => notify.notified({ signal }),
    ];
    for (const wait of waits) expect(await reasonOf(Promise.resolve().then(wait))).toBe(FAULT);
    tx.trySend(1);
    notify.notifyOne();
    expect(rx.tryRecv()).toEqual({ state: 'ok', value: 1 });
    await notify.notified();
  });

  it('settles the wait when a listener can not be taken back', async () => {
    const { signal } = new AbortController();
    signal.removeEventListener = fail;
    const [tx, rx] = mpsc.channel<number>(1);
    const received = rx.recv({ signal });
    tx.trySend(1);
    expect(await received).toEqual({ done: false, value: 1 });
  });
});

describe('a promise that rejects and that nobody waits for', () => {
  class Subclass<T> extends Promise<T> {}
  const error = new Error('unseen');
  const promises: Readonly<Record<string, () => PromiseLike<unknown>>> = {
    'of the language': () => Promise.reject(error),
    'of a subclass': () => Subclass.reject(error),
    'of another realm': () => runInNewContext('Promise.reject(error)', { error }) as PromiseLike<unknown>,
    'of a subclass of another realm': () =>
      runInNewContext('(class Other extends Promise {}).reject(error)', { error }) as PromiseLike<unknown>,
  };

  it.each(Object.entries(promises))('%s counts as handled as an arm', async (_, make) => {
    createSelector({ promise: make() });
    const [, rx] = mpsc.channel<number>(1);
    const off = createSelector({ promise: make(), rx }).next({ off: ['promise'] });
    const other = select({ promise: make() }, { signal: AbortSignal.abort('stop') });
    expect(await reasonOf(other)).toBe('stop');
    await drained();
    expect(await stateOf(off)).toBe('pending');
    expect(await reasonOf(select({ promise: make() }))).toBe(error);
  });

  it.each(Object.entries(promises))('%s counts as handled when the time was up before', async (_, make) => {
    const signal = AbortSignal.abort('stop');
    expect(await reasonOf(timeout(50, make(), { signal }))).toBe('stop');
    const token = new CancellationToken();
    token.cancel('stop');
    expect(await token.runUntilCancelled(make())).toEqual({ state: 'cancelled', reason: 'stop' });
    const late = new CancellationToken();
    const running = late.runUntilCancelled(new Promise((_resolve, reject) => setImmediate(reject, error)));
    late.cancel('stop');
    expect(await running).toEqual({ state: 'cancelled', reason: 'stop' });
    await drained();
  });

  it('starts no thenable whose turn does not come', async () => {
    let asked = 0;
    const lazy = { then: () => void asked++ } as unknown as PromiseLike<number>;
    createSelector({ lazy });
    await reasonOf(timeout(50, lazy, { signal: AbortSignal.abort('stop') }));
    await drained();
    expect(asked).toBe(0);
  });
});
