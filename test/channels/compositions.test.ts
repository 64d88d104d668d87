/**
 * Waits put together in ways that no other test has: selectors in selectors over the two ends of one channel, permits that are given out to arms and
 * dropped, and an abort at each hop of each composition.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  acquiring,
  CancellationToken,
  createSelector,
  mpsc,
  Notify,
  reserving,
  Semaphore,
  select,
  timeout,
  withEnd,
} from '../../src/channels/index.js';
import { countingSignal, drained, stateOf } from '../support/settlement.js';

type Event = { readonly arm: string | null; readonly value?: unknown };

/** The event of the innermost selector that has won. */
function innermost(event: Event): Event {
  const { value } = event as { value?: Event };
  return typeof value === 'object' && value !== null && 'arm' in value ? innermost(value) : event;
}

/** Hands permits and slots back, and answers with the number of values in the event: 0 or 1. */
function settleEvent(event: Event): number {
  const { arm, value } = innermost(event);
  if (arm === 'room' || arm === 'permit') (value as { release(): void }).release();
  return arm === 'item' ? 1 : 0;
}

describe('a select over both ends of one channel', () => {
  it('takes the value or holds the slot, never both, at every depth', async () => {
    for (const filled of [0, 1, 2]) {
      for (let depth = 0; depth < 4; depth++) {
        const [tx, rx] = mpsc.channel<number>(2);
        for (let at = 0; at < filled; at++) tx.trySend(at);
        let arm: object = { item: rx, room: reserving(tx) };
        for (let level = 0; level < depth; level++) arm = { inner: createSelector(arm as { item: typeof rx }) };
        const event = innermost((await select(arm as { item: typeof rx })) as Event);
        const { arm: name, value } = event;
        expect(rx.len + (name === 'item' ? 1 : 0)).toBe(filled);
        expect(tx.capacity).toBe(2 - rx.len - (name === 'room' ? 1 : 0));
        if (name === 'room') (value as mpsc.Permit<number>).release();
        expect(tx.capacity).toBe(2 - rx.len);
      }
    }
  });

  it('that waits for a full channel is won by the slot that a receive of the same turn frees', async () => {
    const [tx, rx] = mpsc.channel<number>(1);
    tx.trySend(1);
    const waiting = select({ room: reserving(tx), nested: createSelector({ again: reserving(tx) }) });
    const taken = await select({ item: rx });
    expect(taken).toEqual({ arm: 'item', value: 1 });
    const event = innermost((await waiting) as Event);
    expect(tx.capacity).toBe(0);
    (event.value as mpsc.Permit<number>).send(2);
    expect(rx.tryRecv()).toEqual({ state: 'ok', value: 2 });
    expect(tx.capacity).toBe(1);
  });
});

describe('a permit that an arm has won and nobody uses', () => {
  it('is free again for the sender that waits behind it when it is disposed', async () => {
    const [tx, rx] = mpsc.channel<number>(1);
    const event = await select({ room: reserving(tx) });
    const blocked = tx.send(7);
    const many = tx.reserveMany(1);
    expect(await stateOf(blocked)).toBe('pending');
    if (event.arm === 'room') event.value[Symbol.dispose]();
    await blocked;
    expect(rx.tryRecv()).toEqual({ state: 'ok', value: 7 });
    (await many).release();
    expect(tx.capacity).toBe(1);
  });

  it('keeps the channel from ending until it is released, under a select that waits for the end', async () => {
    const [tx, rx] = mpsc.channel<number>(1);
    const event = await select({ room: reserving(tx) });
    const end = select({ end: withEnd(rx), inner: createSelector({ rx }) });
    tx.close();
    expect(await stateOf(end)).toBe('pending');
    if (event.arm === 'room') event.value.release();
    expect(await end).toEqual({ arm: 'end', value: { done: true, value: undefined } });
  });
});

/** Compositions of waits over one channel of two slots, a semaphore and a Notify. */
interface World {
  readonly tx: mpsc.Sender<number>;
  readonly rx: mpsc.Receiver<number>;
  readonly semaphore: Semaphore;
  readonly notify: Notify;
}
type Composition = (world: World, signal: AbortSignal) => Promise<unknown>;

const compositions: Readonly<Record<string, Composition>> = {
  'select of a receiver': ({ rx }, signal) => select({ item: rx }, { signal }),
  'selector in a selector': ({ rx, tx }, signal) =>
    createSelector({ inner: createSelector({ item: rx, room: reserving(tx) }), item: rx }).next({ signal }),
  'selector with an arm that is off': ({ rx, tx }, signal) =>
    createSelector({ item: rx, room: reserving(tx) }).next({ off: ['room'], signal }),
  'timeout of a select': ({ rx, semaphore }, signal) =>
    timeout(1e6, (inner) => select({ item: rx, permit: acquiring(semaphore) }, { signal: inner }), { signal }),
  'timeout of a selector as an arm': ({ rx, semaphore }, signal) =>
    timeout(1e6, createSelector({ item: rx, permit: acquiring(semaphore, 2) }), { signal }),
  'select in runUntilCancelled()': ({ rx, tx }, signal) =>
    CancellationToken.fromSignal(signal)
      .runUntilCancelled((inner) => select({ item: rx, room: reserving(tx) }, { signal: inner }))
      .then((outcome) => (outcome.state === 'ok' ? outcome.value : undefined)),
  'a reservation of every slot, in a timeout': ({ tx }, signal) =>
    timeout(1e6, (inner) => tx.reserveMany(2, { signal: inner }), { signal }).then((value) => ({ arm: 'room', value })),
  'iterator of a selector': async ({ rx, notify }, signal) => {
    const events = createSelector({ item: rx, notify })[Symbol.asyncIterator]();
    const next = events.next();
    const leave = () => void events.return?.();
    if (signal.aborted) leave();
    signal.addEventListener('abort', leave);
    const { value } = await next;
    signal.removeEventListener('abort', leave);
    return value;
  },
};

describe.each(Object.entries(compositions))('%s', (_, compose) => {
  it('loses neither value nor slot nor permit, whatever happens in which order, and leaves no listener', async () => {
    const steps = ['send', 'send', 'take', 'take', 'abort', 'add', 'hop', 'hop', 'release', 'start', 'start'] as const;
    const property = fc.asyncProperty(
      fc.array(fc.constantFrom(...steps), { maxLength: 24 }),
      fc.nat(2),
      async (order, filled) => {
        const [tx, rx] = mpsc.channel<number>(2);
        const world: World = { tx, rx, semaphore: new Semaphore(1), notify: new Notify() };
        let sent = 0;
        let had = 0;
        let total = 1;
        const send = (): void => {
          if (tx.capacity === 0) return;
          tx.trySend(sent);
          sent++;
        };
        for (let at = 0; at < filled; at++) send();
        const { signal, controller, listeners } = countingSignal();
        const waits: Promise<void>[] = [];
        const held: Event[] = [];
        const start = (): void => {
          const wait = compose(world, signal).then(
            (event) => {
              if (event !== undefined) held.push(event as Event);
            },
            (reason: unknown) => expect(reason).toBe('stop'),
          );
          waits.push(wait);
        };
        const release = (): void => {
          for (const event of held.splice(0)) had += settleEvent(event);
        };
        start();
        for (const step of order) {
          if (step === 'send') send();
          else if (step === 'take') had += rx.tryRecv().state === 'ok' ? 1 : 0;
          else if (step === 'abort') controller.abort('stop');
          else if (step === 'add') {
            world.semaphore.addPermits(1);
            total++;
          } else if (step === 'hop') await null;
          else if (step === 'release') release();
          else start();
        }
        controller.abort('stop');
        await Promise.all(waits);
        await drained();
        release();
        for (let found = rx.tryRecv(); found.state === 'ok'; found = rx.tryRecv()) had++;
        expect([had, tx.capacity, world.semaphore.availablePermits, listeners()]).toEqual([sent, 2, total, 0]);
      },
    );
    await fc.assert(property, { numRuns: 300 });
  });
});
