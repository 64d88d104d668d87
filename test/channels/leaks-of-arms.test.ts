import { getEventListeners } from 'node:events';
import { expect, test, vi } from 'vitest';
import {
  acquiring,
  broadcast,
  CancellationToken,
  createSelector,
  JoinSet,
  Notify,
  Semaphore,
  select,
  watch,
} from '../../src/channels/index.js';

vi.setConfig({ testTimeout: 120_000 });

function liveHeap(): number {
  const { gc } = globalThis as { gc?: () => void };
  gc?.();
  gc?.();
  return process.memoryUsage().heapUsed;
}

/** What a turn leaves on the heap, in bytes. */
async function bytesPerTurn(turns: number, turn: (index: number) => Promise<unknown>): Promise<number> {
  for (let i = 0; i < turns / 4; i++) await turn(i);
  const before = liveHeap();
  for (let i = 0; i < turns; i++) await turn(i);
  return (liveHeap() - before) / turns;
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

test('createSelector() over idle watch, broadcast, JoinSet, Notify, semaphore and token leaves nothing behind', async () => {
  const wake = new Notify();
  const selector = createSelector({ ...idleArms(), wake });
  const bytes = await bytesPerTurn(150_000, async () => {
    const event = selector.next();
    wake.notifyOne();
    if ((await event).arm !== 'wake') throw new Error('another arm has won');
  });
  expect(bytes).toBeLessThan(1);
});

test('select() over the same arms anew each turn leaves nothing behind', async () => {
  const arms = idleArms();
  const wake = new Notify();
  const bytes = await bytesPerTurn(40_000, async () => {
    const event = select({ ...arms, wake });
    wake.notifyOne();
    if ((await event).arm !== 'wake') throw new Error('another arm has won');
  });
  expect(bytes).toBeLessThan(4);
});

test('waits given up by a signal of their own leave nothing on what they waited for, nor on a shared signal', async () => {
  const [, config] = watch.channel(0);
  const [, events] = broadcast.channel<number>(4);
  const semaphore = new Semaphore(0);
  const notify = new Notify();
  const shared = new AbortController();
  const given = async (wait: (signal: AbortSignal) => PromiseLike<unknown>) => {
    const controller = new AbortController();
    const waiting = wait(controller.signal).then(
      () => {},
      () => {},
    );
    controller.abort('given up');
    await waiting;
  };
  const bytes = await bytesPerTurn(6_000, async () => {
    await given((signal) => config.changed({ signal }));
    await given((signal) => events.recv({ signal }));
    await given((signal) => semaphore.acquire({ signal }));
    await given((signal) => notify.notified({ signal }));
  });
  // Far below one waiter.
  expect(bytes).toBeLessThan(40);
  for (let i = 0; i < 1_000; i++) {
    notify.notifyOne();
    semaphore.addPermits(1);
    await notify.notified({ signal: shared.signal });
    await semaphore.acquire({ signal: shared.signal });
  }
  expect(getEventListeners(shared.signal, 'abort')).toHaveLength(0);
});

test('nothing that is handed out is thenable, save the wait that is there to be awaited', async () => {
  const [tx, rx] = watch.channel(0);
  const [btx, brx] = broadcast.channel(1);
  const semaphore = new Semaphore(1);
  const things = [tx, rx, btx, brx, btx.downgrade(), semaphore, semaphore.tryAcquire(), new Notify(), new JoinSet()];
  for (const thing of things) {
    expect('then' in thing).toBe(false);
    expect(await (async () => thing)()).toBe(thing);
  }
});
