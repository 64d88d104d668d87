import { getEventListeners } from 'node:events';
import { describe, expect, it, vi } from 'vitest';
import {
  acquiring,
  broadcast,
  CancellationToken,
  createSelector,
  JoinSet,
  mpsc,
  Notify,
  Semaphore,
  select,
  sleep,
  watch,
} from '../../src/channels/index.js';
import { drained } from '../support/settlement.js';

const collect = (globalThis as unknown as { gc(): void }).gc;

/**
 * The growth of the heap over many turns, in bytes a turn, once warm: the least of three spells. What turns leave behind is there in each of them; what
 * the engine makes of the code (optimised code, feedback, at a time of its own) is there in one.
 */
async function growth(turns: number, turn: (at: number) => Promise<unknown>): Promise<number> {
  for (let at = 0; at < 5_000; at++) await turn(at);
  let least = Number.POSITIVE_INFINITY;
  for (let spell = 0; spell < 3; spell++) {
    await drained();
    collect();
    const before = process.memoryUsage().heapUsed;
    for (let at = 0; at < turns / 3; at++) await turn(at);
    await drained();
    collect();
    least = Math.min(least, (process.memoryUsage().heapUsed - before) / (turns / 3));
  }
  return least;
}

function idleArms() {
  const [, config] = watch.channel(0);
  const [, events] = broadcast.channel<number>(4);
  const tasks = new JoinSet<void>();
  tasks.spawn(() => new Promise<void>(() => {}));
  return {
    config,
    events,
    tasks,
    idle: new Notify(),
    slot: acquiring(new Semaphore(0)),
    stop: new CancellationToken(),
  };
}

// A million turns, on a machine that may be busy with something else.
vi.setConfig({ testTimeout: 120_000 });

describe('leaks', () => {
  it('1e6 turns over four queues and an idle shutdown leave nothing', async () => {
    const channels = [0, 1, 2, 3].map(() => mpsc.unboundedChannel<number>());
    const [a, b, c, d] = channels.map(([, rx]) => rx) as [mpsc.Receiver<number>, ...mpsc.Receiver<number>[]];
    const stop = new CancellationToken().childToken();
    const selector = createSelector({ a, b, c, d, stop });
    const perTurn = await growth(1_000_000, (at) => {
      const event = selector.next();
      channels[at & 3]?.[0].send(at);
      return event;
    });
    expect(perTurn).toBeLessThan(1);
  });

  it('1e6 turns of select() itself over five arms and a shutdown that never comes leave nothing', async () => {
    const [tx, job] = mpsc.unboundedChannel<number>();
    const [, idle] = mpsc.channel<number>(1);
    const controller = new AbortController();
    const never = new Promise<never>(() => {});
    const stop = new CancellationToken().childToken();
    const perTurn = await growth(1_000_000, (at) => {
      // Half of them find a value, half have to wait at every arm.
      if (at % 2 === 0) tx.send(at);
      const event = select({ job, idle, never, signal: controller.signal, stop });
      if (at % 2 === 1) tx.send(at);
      return event;
    });
    expect(perTurn).toBeLessThan(1);
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
  }, 60_000);

  it('idle promises, signals, timers and queues are left as they were', async () => {
    const [tx, rx] = mpsc.channel<number>(1);
    const [, idle] = mpsc.channel<number>(1);
    const controller = new AbortController();
    const never = new Promise<never>(() => {});
    const timer = sleep(1_000_000);
    const arms = { rx, idle, never, timer, signal: controller.signal };
    const perTurn = await growth(50_000, (at) => {
      const event = at % 2 === 0 ? select(arms) : select(arms, { signal: controller.signal });
      tx.trySend(at);
      return event;
    });
    expect(perTurn).toBeLessThan(20);
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
  });

  it('1e5 waits on one signal leave no listener on it', async () => {
    const [tx, rx] = mpsc.channel<number>(1);
    const { signal } = new AbortController();
    const perWait = await growth(100_000, async (at) => {
      const waiting = rx.recv({ signal });
      tx.trySend(at);
      await waiting;
    });
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
    expect(perWait).toBeLessThan(20);
  });

  it('a dropped receiver retains no value through a live sender', async () => {
    const [tx, rx] = mpsc.channel<object>(4);
    const refs: WeakRef<object>[] = [];
    await (async () => {
      for (let at = 0; at < 3; at++) {
        const value = { at };
        refs.push(new WeakRef(value));
        await tx.send(value);
      }
    })();
    rx[Symbol.dispose]();
    await drained();
    collect();
    expect(refs.map((ref) => ref.deref())).toEqual([undefined, undefined, undefined]);
    expect(tx.isClosed).toBe(true);
  });

  it('a received value is not retained by the channel or by a selector', async () => {
    const [tx, rx] = mpsc.channel<object>(4);
    const selector = createSelector({ rx });
    const refs: WeakRef<object>[] = [];
    const once = async (receive: () => Promise<unknown>) => {
      const value = {};
      refs.push(new WeakRef(value));
      const early = refs.length % 2 === 0 ? receive() : undefined;
      await tx.send(value);
      await (early ?? receive());
    };
    for (let at = 0; at < 4; at++) {
      await once(() => rx.recv());
      await once(() => selector.next());
      await once(() => rx.recvMany(4));
    }
    await drained();
    collect();
    expect(refs.filter((ref) => ref.deref() !== undefined)).toEqual([]);
    expect(rx.len).toBe(0);
  });

  it('children of a long-lived token that were waited on leave nothing in it', async () => {
    const root = new CancellationToken();
    const perTurn = await growth(20_000, async () => {
      const child = root.childToken();
      const waiting = child.cancelled();
      const { signal } = child;
      child.cancel();
      await waiting;
      return signal;
    });
    // What the host keeps is a constant; a child that stayed would be hundreds of bytes.
    expect(perTurn).toBeLessThan(40);
  });

  it('an idle channel and an unfired token cost little', () => {
    const count = 20_000;
    const kept: unknown[] = new Array(count).fill(null);
    const bytesEach = (make: () => unknown): number => {
      kept.fill(null);
      collect();
      const before = process.memoryUsage().heapUsed;
      for (let at = 0; at < count; at++) kept[at] = make();
      collect();
      return (process.memoryUsage().heapUsed - before) / count;
    };
    bytesEach(() => mpsc.channel(64));
    expect(bytesEach(() => mpsc.channel(64))).toBeLessThan(500);
    expect(kept).toHaveLength(count);
  });

  it('createSelector() over idle watch, broadcast, JoinSet, Notify, semaphore and token leaves nothing behind', async () => {
    const wake = new Notify();
    const selector = createSelector({ ...idleArms(), wake });
    const bytes = await growth(150_000, async () => {
      const event = selector.next();
      wake.notifyOne();
      if ((await event).arm !== 'wake') throw new Error('another arm has won');
    });
    expect(bytes).toBeLessThan(1);
  });

  it('select() over the same arms anew each turn leaves nothing behind', async () => {
    const arms = idleArms();
    const wake = new Notify();
    const bytes = await growth(40_000, async () => {
      const event = select({ ...arms, wake });
      wake.notifyOne();
      if ((await event).arm !== 'wake') throw new Error('another arm has won');
    });
    expect(bytes).toBeLessThan(4);
  });

  it('waits given up by a signal of their own leave nothing on what they waited for', async () => {
    const [, config] = watch.channel(0);
    const [, events] = broadcast.channel<number>(4);
    const semaphore = new Semaphore(0);
    const notify = new Notify();
    const given = async (wait: (signal: AbortSignal) => PromiseLike<unknown>) => {
      const controller = new AbortController();
      const waiting = wait(controller.signal).then(
        () => {},
        () => {},
      );
      controller.abort('given up');
      await waiting;
    };
    const bytes = await growth(6_000, async () => {
      await given((signal) => config.changed({ signal }));
      await given((signal) => events.recv({ signal }));
      await given((signal) => semaphore.acquire({ signal }));
      await given((signal) => notify.notified({ signal }));
    });
    // Far below one waiter.
    expect(bytes).toBeLessThan(40);
  });

  it('nothing that is handed out is thenable, save the wait that is there to be awaited', async () => {
    const [tx, rx] = watch.channel(0);
    const [btx, brx] = broadcast.channel(1);
    const semaphore = new Semaphore(1);
    const things = [tx, rx, btx, brx, btx.downgrade(), semaphore, semaphore.tryAcquire(), new Notify(), new JoinSet()];
    for (const thing of things) {
      expect('then' in thing).toBe(false);
      expect(await (async () => thing)()).toBe(thing);
    }
  });
});
