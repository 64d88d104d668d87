import { getEventListeners } from 'node:events';
import { expect, it } from 'vitest';
import {
  broadcast,
  CancellationToken,
  createSelector,
  mpsc,
  OnceCell,
  oneshot,
  SimulatedClock,
  select,
  sleep,
  TaskTracker,
  timeout,
  watch,
} from '../../src/channels/index.js';
import { drained } from '../support/settlement.js';
import { takingWaits, type WaitOfKind } from './support/wait-kinds.js';

function full(): [mpsc.Sender<number>, mpsc.Receiver<number>] {
  const [tx, rx] = mpsc.channel<number>(1);
  tx.trySend(0);
  return [tx, rx];
}

/** A wait of each kind, and what settles it. */
const kinds: Readonly<Record<string, () => Omit<WaitOfKind, 'left' | 'held'>>> = {
  ...takingWaits,
  'mpsc send': () => {
    const [tx, rx] = full();
    return { wait: (signal) => tx.send(1, { signal }), give: () => void rx.tryRecv() };
  },
  'mpsc sendTimeout': () => {
    const [tx, rx] = full();
    return { wait: (signal) => tx.sendTimeout(1, 1e6, { signal }), give: () => void rx.tryRecv() };
  },
  'mpsc sendMany': () => {
    const [tx, rx] = full();
    return { wait: (signal) => tx.sendMany([1], { signal }), give: () => void rx.tryRecv() };
  },
  'mpsc forEach': () => {
    const [tx, rx] = mpsc.channel<number>(1);
    return { wait: (signal) => rx.forEach(() => {}, { signal }), give: () => tx.close() };
  },
  'mpsc closed': () => {
    const [tx, rx] = mpsc.channel<number>(1);
    return { wait: (signal) => tx.closed({ signal }), give: () => rx.close() };
  },
  'oneshot closed': () => {
    const [reply, answer] = oneshot.channel<number>();
    return { wait: (signal) => reply.closed({ signal }), give: () => answer.close() };
  },
  'broadcast closed': () => {
    const [tx, rx] = broadcast.channel<number>(1);
    return { wait: (signal) => tx.closed({ signal }), give: () => rx.close() };
  },
  'watch closed': () => {
    const [tx, rx] = watch.channel(0);
    return { wait: (signal) => tx.closed({ signal }), give: () => rx.close() };
  },
  'watch waitFor': () => {
    const [tx, rx] = watch.channel(0);
    return { wait: (signal) => rx.waitFor((value) => value === 1, { signal }), give: () => tx.send(1) };
  },
  'OnceCell getOrInit': () => {
    const [tx, rx] = oneshot.channel<number>();
    const cell = new OnceCell<number>();
    void cell.getOrInit(() => rx.recv());
    return { wait: (signal) => cell.getOrInit(() => 2, { signal }), give: () => void tx.send(1) };
  },
  'CancellationToken cancelled': () => {
    const token = new CancellationToken();
    return { wait: (signal) => token.childToken().cancelled({ signal }), give: () => token.cancel() };
  },
  'TaskTracker wait': () => {
    const tracker = new TaskTracker();
    return { wait: (signal) => tracker.wait({ signal }).then(() => {}), give: () => void tracker.close() };
  },
  sleep: () => {
    const clock = new SimulatedClock();
    const timer = sleep(1e6, { clock });
    return { wait: (signal) => sleep(1e6, { clock, signal }), give: () => void clock.advance(timer.deadline) };
  },
  'Selector next': () => {
    const [tx, rx] = mpsc.channel<number>(1);
    return { wait: (signal) => createSelector({ rx }).next({ signal }), give: () => tx.trySend(1) };
  },
  timeout: () => {
    const [tx, rx] = mpsc.channel<number>(1);
    return { wait: (signal) => timeout(1e6, rx, { signal }), give: () => tx.trySend(1) };
  },
  'timeout of a function': () => {
    const [tx, rx] = oneshot.channel<number>();
    return { wait: (signal) => timeout(1e6, () => rx.recv(), { signal }), give: () => void tx.send(1) };
  },
};

const ROUNDS = 3_000;

it.each(Object.entries(kinds))(
  'thousands of waits on one AbortSignal, each %s, leave no listener on it',
  async (_, make) => {
    const { signal } = new AbortController();
    for (let round = 0; round < ROUNDS; round++) {
      const { wait, give } = make();
      const waiting = wait(signal);
      if (round % 100 === 0) expect(getEventListeners(signal, 'abort').length).toBeLessThanOrEqual(1);
      give();
      await waiting;
    }
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  },
);

it('tokens from one AbortSignal, and selects that have it as an arm, leave no listener on it', async () => {
  const { signal } = new AbortController();
  for (let round = 0; round < ROUNDS; round++) {
    const token = CancellationToken.fromSignal(signal).childToken();
    const waiting = token.cancelled();
    const [tx, rx] = mpsc.channel<number>(1);
    const event = select({ rx, signal }, { signal });
    tx.trySend(1);
    token.cancel();
    await Promise.all([waiting, event]);
  }
  expect(getEventListeners(signal, 'abort')).toHaveLength(0);
});

it('10,000 concurrent waits of every kind on one AbortSignal give no warning, and all are rejected with its reason', async () => {
  const warnings: unknown[] = [];
  const record = (warning: unknown) => warnings.push(warning);
  process.on('warning', record);
  const made = Object.values(kinds).map((make) => make());
  for (const { wait } of made) await expect(wait(AbortSignal.abort('before'))).rejects.toBe('before');
  const controller = new AbortController();
  const { signal } = controller;
  const rejections = Promise.all(
    Array.from({ length: 10_000 }, (_, at) =>
      Promise.resolve(made[at % made.length]?.wait(signal)).then(
        () => 'it settled',
        (reason: unknown) => reason,
      ),
    ),
  );
  await drained();
  expect(getEventListeners(signal, 'abort')).toHaveLength(1);
  controller.abort('all');
  expect(new Set(await rejections)).toEqual(new Set(['all']));
  await drained();
  process.off('warning', record);
  expect(warnings).toEqual([]);
  expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  const left = Object.values(takingWaits).map((make) => make().left());
  expect(made.flatMap((each) => ('left' in each ? [(each as WaitOfKind).left()] : []))).toEqual(left);
});
