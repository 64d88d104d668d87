import { expect, expectTypeOf, test } from 'vitest';
import {
  acquiring,
  broadcast,
  createSelector,
  JoinSet,
  Notify,
  Semaphore,
  type SemaphorePermit,
  SimulatedClock,
  select,
  type TaskResult,
  timeout,
  watch,
  withEnd,
} from '../../src/channels/index.js';
import { stateOf, turn } from '../support/settlement.js';

test('select() types each arm with what it wins with', async () => {
  const [, config] = watch.channel('v1');
  const [, events] = broadcast.channel<Date>(1);
  const arms = {
    config,
    events,
    tasks: new JoinSet<number>(),
    permit: acquiring(new Semaphore(1)),
    poke: new Notify(),
    end: withEnd(events),
  };
  const event = await select(arms, { biased: true });
  switch (event.arm) {
    case 'config':
      expectTypeOf(event.value).toEqualTypeOf<string>();
      break;
    case 'events':
      expectTypeOf(event.value).toEqualTypeOf<Date>();
      break;
    case 'tasks':
      expectTypeOf(event.value).toEqualTypeOf<TaskResult<number>>();
      break;
    case 'permit':
      expectTypeOf(event.value).toEqualTypeOf<SemaphorePermit>();
      break;
    case 'end':
      expectTypeOf(event.value).toEqualTypeOf<IteratorResult<Date, undefined>>();
      break;
    case 'poke':
    case null:
      break;
    default:
      expectTypeOf(event).toEqualTypeOf<never>();
  }
  expect(event.arm).toBe('permit');
});

test('withEnd() wins with the end of watch, broadcast and JoinSet, parked or not', async () => {
  const [tx, config] = watch.channel(0);
  const [btx, events] = broadcast.channel<number>(1);
  const done = { done: true, value: undefined };
  expect(await select({ set: withEnd(new JoinSet<void>()) })).toEqual({ arm: 'set', value: done });
  const parked = select({ config: withEnd(config) });
  const other = select({ events: withEnd(events) });
  await turn();
  tx.close();
  btx.close();
  expect(await parked).toEqual({ arm: 'config', value: done });
  expect(await other).toEqual({ arm: 'events', value: done });
  expect(await select({ config: withEnd(config) })).toEqual({ arm: 'config', value: done });
});

test('arms that end while a select waits are disabled one by one, the last gives null', async () => {
  const [tx, config] = watch.channel(0);
  const [btx, events] = broadcast.channel<number>(1);
  const set = new JoinSet<void>();
  set.spawn(() => new Promise<void>(() => {}));
  const event = select({ config, events, set });
  tx.close();
  expect(await stateOf(event)).toBe('pending');
  set.detachAll();
  expect(await stateOf(event)).toBe('pending');
  btx.close();
  expect(await event).toEqual({ arm: null });
});

test('one semaphore in two arms: the loser gives back what it had gathered', async () => {
  const semaphore = new Semaphore(1);
  const selector = createSelector({ three: acquiring(semaphore, 3), two: acquiring(semaphore, 2) });
  const event = selector.next();
  await turn();
  semaphore.addPermits(1);
  await turn();
  semaphore.addPermits(1);
  const { arm, value } = (await event) as { arm: string; value: SemaphorePermit };
  expect(['two', 'three']).toContain(arm);
  value.release();
  expect(semaphore.availablePermits).toBe(3);
});

test('select() over a watch receiver sees several sends of one turn as one change', async () => {
  const [tx, rx] = watch.channel(0);
  const event = select({ rx });
  await turn();
  tx.send(1);
  tx.send(2);
  expect(await event).toEqual({ arm: 'rx', value: 2 });
  expect(await stateOf(select({ rx }))).toBe('pending');
});

test('a nested selector of these arms consumes nothing when it loses', async () => {
  const [tx, rx] = broadcast.channel<number>(8);
  const notify = new Notify();
  const inner = createSelector({ rx, notify });
  const wake = new Notify();
  const event = select({ inner, wake });
  await turn();
  wake.notifyOne();
  expect((await event).arm).toBe('wake');
  tx.send(1);
  notify.notifyOne();
  expect(await rx.recv()).toEqual({ done: false, value: 1 });
  await notify.notified();
});

test('timeout() on these arms has consumed nothing when the time is up', async () => {
  const clock = new SimulatedClock();
  const [tx, rx] = broadcast.channel<number>(2);
  const [wtx, wrx] = watch.channel(0);
  const semaphore = new Semaphore(0);
  const late = [timeout(10, rx, { clock }), timeout(10, wrx, { clock }), timeout(10, acquiring(semaphore), { clock })];
  const codes = Promise.all(
    late.map((each) => (each as Promise<unknown>).catch((error: { code: string }) => error.code)),
  );
  await clock.advance(10);
  expect(await codes).toEqual(['ERR_TIMEOUT', 'ERR_TIMEOUT', 'ERR_TIMEOUT']);
  tx.send(1);
  wtx.send(1);
  semaphore.addPermits(1);
  expect([rx.len, wrx.hasChanged(), semaphore.availablePermits]).toEqual([1, true, 1]);
});
