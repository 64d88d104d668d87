import { Session } from 'node:inspector';
import { describe, expect, it } from 'vitest';
import type { Selectable } from '../../src/channels/index.js';
import { drained } from '../support/settlement.js';

// Started before the channels are loaded: V8 counts the blocks only of what is compiled afterwards.
const session = new Session();
session.connect();
session.post('Profiler.enable');
session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
const {
  acquiring,
  broadcast,
  CancellationToken,
  JoinSet,
  mpsc,
  Notify,
  oneshot,
  reserving,
  Semaphore,
  select,
  sleep,
  watch,
} = await import('../../src/channels/index.js');

const FEW = 100;
const MANY = 1_000;
const LEAVING = 20;

interface Scene {
  /** Starts a wait, and answers how it leaves. */
  wait(): () => unknown;
  /** Lets go of those who are still waiting. */
  end(): void;
}

function aborting(wait: (signal: AbortSignal) => unknown): () => () => void {
  return () => {
    const controller = new AbortController();
    void Promise.resolve(wait(controller.signal)).catch(() => {});
    return () => controller.abort();
  };
}

function iterating(iterable: () => AsyncIterator<unknown>): () => () => unknown {
  return () => {
    const iterator = iterable();
    void iterator.next();
    return () => iterator.return?.();
  };
}

const selecting = (arm: Selectable<unknown>) => aborting((signal) => select({ arm, again: arm }, { signal }));

const scenes: Readonly<Record<string, () => Scene>> = {
  'mpsc iterators': () => {
    const [tx, rx] = mpsc.channel<number>(1);
    return { wait: iterating(() => rx[Symbol.asyncIterator]()), end: () => tx.close() };
  },
  'mpsc receives': () => {
    const [tx, rx] = mpsc.channel<number>(1);
    return { wait: aborting((signal) => rx.recv({ signal })), end: () => tx.close() };
  },
  'mpsc batches': () => {
    const [tx, rx] = mpsc.channel<number>(1);
    return { wait: aborting((signal) => rx.recvMany(2, { signal })), end: () => tx.close() };
  },
  'mpsc ready()': () => {
    const [tx, rx] = mpsc.channel<number>(1);
    return { wait: aborting((signal) => rx.ready({ signal })), end: () => tx.close() };
  },
  'mpsc arms': () => {
    const [tx, rx] = mpsc.channel<number>(1);
    return { wait: selecting(rx), end: () => tx.close() };
  },
  'mpsc sends': () => {
    const [tx, rx] = mpsc.channel<number>(1);
    tx.trySend(0);
    return { wait: aborting((signal) => tx.send(1, { signal })), end: () => rx.close() };
  },
  'mpsc reservations': () => {
    const [tx, rx] = mpsc.channel<number>(1);
    tx.trySend(0);
    return { wait: aborting((signal) => tx.reserve({ signal })), end: () => rx.close() };
  },
  'reserving() arms': () => {
    const [tx, rx] = mpsc.channel<number>(1);
    tx.trySend(0);
    return { wait: selecting(reserving(tx)), end: () => rx.close() };
  },
  'mpsc senders that wait for the close': () => {
    const [tx, rx] = mpsc.channel<number>(1);
    return {
      wait: () => {
        const clone = tx.clone();
        void clone.closed();
        return () => clone.close();
      },
      end: () => rx.close(),
    };
  },
  'broadcast receivers': () => {
    const tx = broadcast.sender<number>(4);
    return {
      wait: () => {
        const rx = tx.subscribe();
        void rx.recv();
        return () => rx.close();
      },
      end: () => tx.close(),
    };
  },
  'broadcast receives': () => {
    const [tx, rx] = broadcast.channel<number>(4);
    return { wait: aborting((signal) => rx.recv({ signal })), end: () => tx.close() };
  },
  'broadcast iterators of one receiver': () => {
    const [tx, rx] = broadcast.channel<number>(4);
    return { wait: iterating(() => rx[Symbol.asyncIterator]()), end: () => tx.close() };
  },
  'broadcast iterators of many receivers': () => {
    const tx = broadcast.sender<number>(4);
    return { wait: iterating(() => tx.subscribe()[Symbol.asyncIterator]()), end: () => tx.close() };
  },
  'broadcast arms': () => {
    const [tx, rx] = broadcast.channel<number>(4);
    return { wait: selecting(rx), end: () => tx.close() };
  },
  'broadcast senders that wait for the receivers to go': () => {
    const [tx, rx] = broadcast.channel<number>(4);
    return {
      wait: () => {
        const clone = tx.clone();
        void clone.closed();
        return () => clone.close();
      },
      end: () => rx.close(),
    };
  },
  'watch receivers': () => {
    const tx = watch.sender(0);
    return {
      wait: () => {
        const rx = tx.subscribe();
        void rx.changed().catch(() => {});
        return () => rx.close();
      },
      end: () => tx.close(),
    };
  },
  'watch iterators of one receiver': () => {
    const [tx, rx] = watch.channel(0);
    return { wait: iterating(() => rx.changes()), end: () => tx.close() };
  },
  'watch iterators of many receivers': () => {
    const tx = watch.sender(0);
    return { wait: iterating(() => tx.subscribe().changes()), end: () => tx.close() };
  },
  'watch arms': () => {
    const [tx, rx] = watch.channel(0);
    return { wait: selecting(rx), end: () => tx.close() };
  },
  'watch senders that wait for the receivers to go': () => {
    const [tx, rx] = watch.channel(0);
    return {
      wait: () => {
        const clone = tx.clone();
        void clone.closed();
        return () => clone.close();
      },
      end: () => rx.close(),
    };
  },
  'JoinSet iterators': () => {
    const set = new JoinSet<number>();
    set.spawn(() => new Promise<number>(() => {}));
    return { wait: iterating(() => set[Symbol.asyncIterator]()), end: () => set.detachAll() };
  },
  'oneshot receives': () => {
    const [tx, rx] = oneshot.channel<number>();
    return { wait: aborting((signal) => rx.recv({ signal })), end: () => tx.close() };
  },
  'notify waits': () => {
    const notify = new Notify();
    return { wait: aborting((signal) => notify.notified({ signal })), end: () => notify.notifyWaiters() };
  },
  'notify arms': () => {
    const notify = new Notify();
    return { wait: selecting(notify), end: () => notify.notifyWaiters() };
  },
  'semaphore waits': () => {
    const semaphore = new Semaphore(0);
    return { wait: aborting((signal) => semaphore.acquire({ signal })), end: () => semaphore.addPermits(MANY) };
  },
  'semaphore arms': () => {
    const semaphore = new Semaphore(0);
    return { wait: selecting(acquiring(semaphore)), end: () => semaphore.addPermits(MANY) };
  },
  'token waits': () => {
    const token = new CancellationToken();
    return { wait: aborting((signal) => token.cancelled({ signal })), end: () => token.cancel() };
  },
  'token children': () => {
    const token = new CancellationToken();
    return { wait: aborting((signal) => token.childToken().cancelled({ signal })), end: () => token.cancel() };
  },
  'timer arms': () => {
    const timer = sleep(1_000_000, { ref: false });
    return { wait: selecting(timer), end: () => timer.reset(0) };
  },
};

describe.each(Object.entries(scenes))('leaving among %s', (_, make) => {
  it('takes as many steps however many go on waiting', async () => {
    const among = await stepsOfLeaving(make, FEW);
    expect(among).toBeGreaterThan(0);
    expect(await stepsOfLeaving(make, MANY)).toBeLessThan(1.5 * among);
  });
});

/** How many blocks of our code run while some of those who wait leave. */
async function stepsOfLeaving(make: () => Scene, waiting: number): Promise<number> {
  const { wait, end } = make();
  const leaves = Array.from({ length: waiting }, wait);
  await drained();
  takeSteps();
  // From the middle, where neither end of a list is near.
  for (const leave of leaves.slice(waiting / 2, waiting / 2 + LEAVING)) void leave();
  const steps = takeSteps();
  end();
  await drained();
  return steps;
}

/** How many blocks of our code have run since the last call. */
function takeSteps(): number {
  let steps = 0;
  session.post('Profiler.takePreciseCoverage', (_error, { result }) => {
    for (const { url, functions } of result) {
      if (!url.includes('/dist/')) continue;
      for (const { ranges } of functions) for (const { count } of ranges) steps += count;
    }
  });
  return steps;
}
