import { expect, test } from 'vitest';
import { createWorkerChannels, operation, type WorkerState, workerTransitions } from '../../src/worker/index.js';
import { canTransition } from '../../src/worker/internal.js';
import { StateMachine } from '../../src/worker/state.js';

const states = Object.keys(workerTransitions) as WorkerState[];

/** A shortest way from the first state to each. */
function pathsTo(): Map<WorkerState, WorkerState[]> {
  const paths = new Map<WorkerState, WorkerState[]>([['spawning', []]]);
  for (const [state, path] of paths) {
    for (const next of workerTransitions[state]) if (!paths.has(next)) paths.set(next, [...path, next]);
  }
  return paths;
}

function machineIn(state: WorkerState): { machine: StateMachine; steps: string[] } {
  let now = 0;
  const steps: string[] = [];
  const machine = new StateMachine(
    () => now++,
    (from, to) => steps.push(`${from} ${to}`),
  );
  for (const each of pathsTo().get(state) as WorkerState[]) machine.enter(each);
  steps.length = 0;
  return { machine, steps };
}

test('workerTransitions reaches every state from spawning, and leads every state to dead', () => {
  expect([...pathsTo().keys()].sort()).toEqual([...states].sort());
  for (const state of states) {
    const reached = new Set<WorkerState>([state]);
    for (const each of reached) for (const next of workerTransitions[each]) reached.add(next);
    expect(reached.has('dead')).toBe(true);
  }
});

test('workerTransitions is frozen', () => {
  expect(Object.isFrozen(workerTransitions)).toBe(true);
  for (const state of states) expect(Object.isFrozen(workerTransitions[state])).toBe(true);
});

for (const from of states) {
  for (const to of states) {
    const isEdge = workerTransitions[from].includes(to);
    test(`StateMachine.enter() ${isEdge ? 'takes' : 'refuses'} the step from ${from} to ${to}`, () => {
      const { machine, steps } = machineIn(from);
      const before = machine.borrow();
      expect(canTransition(from, to)).toBe(isEdge);
      if (isEdge) {
        machine.enter(to, 'why');
        expect(machine.current).toBe(to);
        expect(machine.borrow()).toMatchObject({ state: to, cause: 'why' });
        expect(machine.borrow().enteredAt).toBeGreaterThan(before.enteredAt);
        expect(steps).toEqual([`${from} ${to}`]);
      } else {
        expect(() => machine.enter(to)).toThrow(expect.objectContaining({ code: 'ERR_WORKER_STATE' }));
        expect(machine.borrow()).toBe(before);
        expect(steps).toEqual([]);
      }
    });
  }
}

test('WorkerStateView.waitFor() resolves at once in the state, and later when it is entered', async () => {
  const { machine } = machineIn('loading');
  expect((await machine.waitFor('loading')).state).toBe('loading');
  const ready = machine.waitFor('ready');
  const either = machine.waitFor(['idle', 'processing']);
  const tested = machine.waitFor((status) => status.state === 'processing');
  machine.enter('ready');
  expect((await ready).state).toBe('ready');
  machine.enter('processing');
  expect((await either).state).toBe('processing');
  expect((await tested).state).toBe('processing');
});

test('WorkerStateView.waitFor() rejects when the state can not be reached any more', async () => {
  const { machine } = machineIn('loading');
  const ready = machine.waitFor('ready');
  const failed = machine.waitFor('failed');
  const dead = machine.waitFor('dead');
  const why = new Error('no model');
  machine.enter('failed', why);
  await expect(ready).rejects.toMatchObject({ code: 'ERR_WORKER_CLOSED', cause: why });
  expect((await failed).cause).toBe(why);
  machine.enter('dead');
  expect((await dead).state).toBe('dead');
});

test('WorkerStateView.waitFor() rejects with the reason of its signal', async () => {
  const { machine } = machineIn('loading');
  const controller = new AbortController();
  const waiting = machine.waitFor('ready', { signal: controller.signal });
  controller.abort('enough');
  await expect(waiting).rejects.toBe('enough');
});

test('WorkerStateView.subscribe() answers a receiver to select over', async () => {
  const { machine } = machineIn('loading');
  const receiver = machine.subscribe();
  machine.enter('ready');
  await receiver.changed();
  expect(receiver.borrowAndUpdate().state).toBe('ready');
  receiver.close();
});

test('WorkerChannels.enter() publishes steps, refuses forbidden ones, and answers false on the way out', async () => {
  const { handle, channels } = createWorkerChannels({ work: operation<number, number>() });
  expect(() => channels.enter('idle')).toThrow(expect.objectContaining({ code: 'ERR_WORKER_STATE' }));
  expect(channels.enter('loading')).toBe(true);
  expect(channels.enter('ready')).toBe(true);
  expect(channels.enter('idle')).toBe(true);
  const closing = handle.close();
  expect(channels.enter('loading')).toBe(false);
  channels.finish();
  await closing;
  expect(channels.enter('ready')).toBe(false);
  expect(handle.state.current).toBe('dead');
});

test.each([
  ['spawning', RangeError],
  ['processing', RangeError],
  ['evicting', RangeError],
  ['dead', RangeError],
  [undefined, TypeError],
])('WorkerChannels.enter() refuses %s, which is no step of a loop', async (state, type) => {
  const { handle, channels } = createWorkerChannels({ work: operation<number, number>() });
  channels.enter('loading');
  channels.enter('ready');
  expect(() => channels.enter(state as 'ready')).toThrow(type);
  expect(handle.state.current).toBe('ready');
  channels.finish();
});
