import { describe, expect, it } from 'vitest';
import {
  acquiring,
  broadcast,
  CancellationToken,
  createSelector,
  interval,
  JoinSet,
  mpsc,
  Notify,
  oneshot,
  Semaphore,
  SimulatedClock,
  select,
  timeout,
  watch,
} from '../../src/channels/index.js';
import { enterPhase, PHASES } from './support/budget-phase.js';
import { drained } from '../support/settlement.js';

type Wait = (signal: AbortSignal) => PromiseLike<unknown>;

interface Source {
  readonly wait: Wait;
  /** Has the source give something, once. */
  give(): void;
  /** How many of what was given are still there for the next. */
  left(): number;
  /** How many a result holds; one unless said. */
  held?(result: unknown): number;
}

const counted = (found: { readonly state: string }): number => (found.state === 'ok' ? 1 : 0);

const sources: Readonly<Record<string, () => Source>> = {
  'recv()': () => {
    const [tx, rx] = mpsc.channel<number>(4);
    return { wait: (signal) => rx.recv({ signal }), give: () => tx.trySend(1), left: () => counted(rx.tryRecv()) };
  },
  'recvMany()': () => {
    const [tx, rx] = mpsc.channel<number>(4);
    return {
      wait: (signal) => rx.recvMany(3, { signal }),
      give: () => {
        tx.trySend(1);
        tx.trySend(2);
      },
      left: () => rx.len,
      held: (result) => (result as number[]).length,
    };
  },
  'recvManyInto()': () => {
    const [tx, rx] = mpsc.channel<number>(4);
    const buffer: number[] = [];
    return {
      wait: (signal) => rx.recvManyInto(buffer, 3, { signal }),
      give: () => {
        tx.trySend(1);
        tx.trySend(2);
      },
      left: () => rx.len,
      held: (result) => result as number,
    };
  },
  'a wait for ready() and tryRecv()': () => {
    const [tx, rx] = mpsc.channel<number>(4);
    return {
      wait: (signal) => rx.ready({ signal }).then(() => rx.tryRecv()),
      give: () => tx.trySend(1),
      left: () => counted(rx.tryRecv()),
    };
  },
  'reserve()': () => {
    const [tx, rx] = mpsc.channel<number>(1);
    tx.trySend(1);
    return { wait: (signal) => tx.reserve({ signal }), give: () => void rx.tryRecv(), left: () => tx.capacity };
  },
  'reserveMany()': () => {
    const [tx, rx] = mpsc.channel<number>(2);
    tx.trySend(1);
    return {
      wait: (signal) => tx.reserveMany(2, { signal }),
      give: () => void rx.tryRecv(),
      left: () => tx.capacity / 2,
    };
  },
  'acquire()': () => {
    const semaphore = new Semaphore(0);
    return {
      wait: (signal) => semaphore.acquire({ signal }),
      give: () => semaphore.addPermits(1),
      left: () => semaphore.availablePermits,
    };
  },
  'acquireMany()': () => {
    const semaphore = new Semaphore(2);
    return {
      wait: (signal) => semaphore.acquireMany(3, { signal }),
      give: () => semaphore.addPermits(1),
      left: () => semaphore.availablePermits / 3,
    };
  },
  'oneshot recv()': () => {
    const [tx, rx] = oneshot.channel<number>();
    return { wait: (signal) => rx.recv({ signal }), give: () => void tx.send(1), left: () => counted(rx.tryRecv()) };
  },
  'watch changed()': () => {
    const [tx, rx] = watch.channel(0);
    return { wait: (signal) => rx.changed({ signal }), give: () => tx.send(1), left: () => (rx.hasChanged() ? 1 : 0) };
  },
  'broadcast recv()': () => {
    const [tx, rx] = broadcast.channel<number>(4);
    return { wait: (signal) => rx.recv({ signal }), give: () => void tx.send(1), left: () => counted(rx.tryRecv()) };
  },
  'notified()': () => {
    const notify = new Notify();
    return {
      wait: (signal) => notify.notified({ signal }),
      give: () => notify.notifyOne(),
      left: () => (notify.notified().enable() ? 1 : 0),
    };
  },
  'JoinSet joinNext()': () => {
    const set = new JoinSet<number>();
    const [tx, rx] = oneshot.channel<number>();
    set.spawn(() => rx.recv());
    return { wait: (signal) => set.joinNext({ signal }), give: () => void tx.send(1), left: () => set.len };
  },
  'interval tick()': () => {
    const clock = new SimulatedClock();
    const ticks = interval(10, { clock, startAt: 10 });
    let timer: (() => void) | undefined;
    const setTimer = clock.setTimer.bind(clock);
    clock.setTimer = (callback, ms, options) => {
      timer = callback;
      return setTimer(callback, ms, options);
    };
    let now = 0;
    clock.now = () => now;
    return {
      wait: (signal) => ticks.tick({ signal }),
      give: () => {
        now = 10;
        timer?.();
      },
      left: () => {
        const slot = { value: undefined };
        return ticks.selectSource().poll(slot) === 1 ? 1 : 0;
      },
    };
  },
  'select()': () => {
    const [tx, rx] = mpsc.channel<number>(4);
    const notify = new Notify();
    return {
      wait: (signal) => select({ rx, notify }, { signal }),
      give: () => tx.trySend(1),
      left: () => counted(rx.tryRecv()),
    };
  },
  'select() over watch and broadcast': () => {
    const [tx, rx] = broadcast.channel<number>(4, { clone: (value) => value });
    const [, config] = watch.channel(0);
    return {
      wait: (signal) => select({ rx, config }, { signal }),
      give: () => void tx.send(1),
      left: () => counted(rx.tryRecv()),
    };
  },
  'select() over a permit, in a selector': () => {
    const semaphore = new Semaphore(1);
    const inner = createSelector({ permit: acquiring(semaphore, 2) });
    return {
      wait: (signal) => select({ inner }, { signal }),
      give: () => semaphore.addPermits(1),
      left: () => semaphore.availablePermits / 2,
    };
  },
};

type Outcome = { readonly result: unknown } | undefined;
/** Runs a wait in a wrapper until it gives something or is stopped. */
type Wrapper = (wait: Wait, signal: AbortSignal) => Promise<Outcome>;

const outcomeOf = (promise: PromiseLike<unknown>): Promise<Outcome> =>
  Promise.resolve(promise).then(
    (result) => ({ result }),
    () => undefined,
  );

const LONG = 1_000_000;

const wrappers: Readonly<Record<string, Wrapper>> = {
  alone: (wait, signal) => outcomeOf(wait(signal)),
  'timeout()': (wait, signal) => outcomeOf(timeout(LONG, wait, { signal })),
  'timeout() in timeout()': (wait, signal) =>
    outcomeOf(timeout(LONG, (outer) => timeout(LONG, wait, { signal: outer }), { signal })),
  'three of timeout()': (wait, signal) =>
    outcomeOf(
      timeout(LONG, (a) => timeout(LONG, (b) => timeout(LONG, wait, { signal: b }), { signal: a }), { signal }),
    ),
  'timeout() of a promise in timeout()': (wait, signal) =>
    outcomeOf(timeout(LONG, (outer) => timeout(LONG, Promise.resolve(wait(outer))), { signal })),
  'timeout() whose time is up': (wait, signal) => {
    const setTimer = (callback: () => void): { cancel(): void } => {
      const onAbort = () => callback();
      signal.addEventListener('abort', onAbort);
      return { cancel: () => signal.removeEventListener('abort', onAbort) };
    };
    return outcomeOf(timeout(LONG, wait, { clock: { now: () => 0, setTimer } }));
  },
  'an async function in timeout()': (wait, signal) =>
    outcomeOf(
      timeout(
        LONG,
        async (inner) => {
          const result = await wait(inner);
          await null;
          return result;
        },
        { signal },
      ),
    ),
  'a loop of ready waits in timeout()': (wait, signal) =>
    outcomeOf(
      timeout(
        LONG,
        async (inner) => {
          const result = await wait(inner);
          const done = new CancellationToken();
          done.cancel();
          for (let hop = 0; hop < 3; hop++) await done.cancelled();
          return result;
        },
        { signal },
      ),
    ),
  'runUntilCancelled()': (wait, signal) => untilCancelled(signal, wait),
  'timeout() in runUntilCancelled()': (wait, signal) =>
    untilCancelled(signal, (inner) => timeout(LONG, wait, { signal: inner })),
  'runUntilCancelled() in timeout()': (wait, signal) =>
    timeout(LONG, (inner) => untilCancelled(inner, wait), { signal }).catch(() => undefined),
};

async function untilCancelled(signal: AbortSignal, wait: Wait): Promise<Outcome> {
  const token = CancellationToken.fromSignal(signal);
  const outcome = await outcomeOf(token.runUntilCancelled(async (inner) => ({ result: await wait(inner) })));
  const { result } = outcome ?? {};
  const { state, value } = (result ?? {}) as { state?: string; value?: Outcome };
  return state === undefined ? (result as Outcome) : value;
}

async function trial(make: () => Source, wrapper: Wrapper, phase: number, hops: number, abortsFirst: boolean) {
  const { wait, give, left, held } = make();
  const controller = new AbortController();
  await enterPhase(phase);
  const outcome = wrapper(wait, controller.signal);
  await null;
  const steps = [give, () => controller.abort('stop')];
  if (abortsFirst) steps.reverse();
  steps[0]?.();
  for (let hop = 0; hop < hops; hop++) await null;
  steps[1]?.();
  const given = await outcome;
  await drained();
  const has = given === undefined ? 0 : (held?.(given.result) ?? 1);
  return { has, left: left() };
}

describe.each(Object.entries(wrappers))('%s', (_wrapper, wrapper) => {
  it.each(Object.entries(sources))(
    'of %s loses nothing to an abort, in every phase of the budget',
    async (name, make) => {
      const all = name.startsWith('recvMany') ? 2 : 1;
      for (let phase = 0; phase < PHASES; phase++) {
        for (const abortsFirst of [false, true]) {
          for (const hops of [0, 2]) {
            const { has, left } = await trial(make, wrapper, phase, hops, abortsFirst);
            expect(has + left, `phase ${phase}, ${hops} hops, ${abortsFirst ? 'abort' : 'value'} first`).toBe(all);
          }
        }
      }
    },
  );
});
