import { expect, test } from 'vitest';
import { OnceCell } from '../../src/channels/index.js';
import { countingSignal, stateOf, turn } from '../support/settlement.js';

test('OnceCell.getOrInit() runs one initialiser for callers that race', async () => {
  const cell = new OnceCell<number>();
  let runs = 0;
  const init = async () => {
    runs++;
    await turn();
    return 7;
  };
  expect(await Promise.all([cell.getOrInit(init), cell.getOrInit(init), cell.getOrInit(init)])).toEqual([7, 7, 7]);
  expect(runs).toBe(1);
  expect(await cell.getOrInit(() => 8)).toBe(7);
  expect(cell.get()).toBe(7);
});

test('OnceCell.getOrInit() runs the next caller’s initialiser when one fails', async () => {
  const cell = new OnceCell<number>();
  const fault = new Error('first');
  const first = cell.getOrInit(async () => {
    await turn();
    throw fault;
  });
  const second = cell.getOrInit(() => 2);
  const third = cell.getOrInit(() => 3);
  await expect(first).rejects.toBe(fault);
  expect(await Promise.all([second, third])).toEqual([2, 2]);
  const sync = new OnceCell<number>();
  await expect(
    sync.getOrInit(() => {
      throw fault;
    }),
  ).rejects.toBe(fault);
  expect(await sync.getOrInit(() => 4)).toBe(4);
});

test('OnceCell.set() twice fails, and during an initialiser fails otherwise', async () => {
  const cell = new OnceCell<string>();
  cell.set('a');
  expect(() => cell.set('b')).toThrow(expect.objectContaining({ code: 'ERR_ONCE_CELL_INITIALIZED', value: 'b' }));
  expect(cell.get()).toBe('a');
  const busy = new OnceCell<string>();
  const made = busy.getOrInit(async () => {
    await turn();
    return 'made';
  });
  await null;
  expect(() => busy.set('set')).toThrow(expect.objectContaining({ code: 'ERR_ONCE_CELL_INITIALIZING', value: 'set' }));
  expect(await made).toBe('made');
  expect(() => busy.set('set')).toThrow(expect.objectContaining({ code: 'ERR_ONCE_CELL_INITIALIZED' }));
});

test('OnceCell holds undefined as a value like any other', async () => {
  const cell = new OnceCell<undefined>();
  expect(cell.isInitialized).toBe(false);
  await cell.getOrInit(() => undefined);
  expect(cell.isInitialized).toBe(true);
  expect(() => cell.set(undefined)).toThrow();
  expect(OnceCell.of(1).get()).toBe(1);
});

test('OnceCell.getOrInit() whose caller aborts hands over to the next caller', async () => {
  const cell = new OnceCell<number>();
  const { signal, controller, listeners } = countingSignal();
  let seen: AbortSignal | undefined;
  let late: ((value: number) => void) | undefined;
  const first = cell.getOrInit(
    (given) => {
      seen = given;
      return new Promise<number>((resolve) => {
        late = resolve;
      });
    },
    { signal },
  );
  const second = cell.getOrInit(() => 2);
  expect(await stateOf(second)).toBe('pending');
  controller.abort('gone');
  await expect(first).rejects.toBe('gone');
  expect(seen?.aborted).toBe(true);
  expect(await second).toBe(2);
  late?.(1);
  await turn();
  expect(cell.get()).toBe(2);
  expect(listeners()).toBe(0);
  const waiting = new AbortController();
  const fresh = new OnceCell<number>();
  void fresh.getOrInit(() => new Promise<number>(() => {}));
  const abandoned = fresh.getOrInit(() => 1, { signal: waiting.signal });
  await turn();
  waiting.abort('stop');
  await expect(abandoned).rejects.toBe('stop');
});

test('OnceCell.take() empties the cell', async () => {
  const cell = OnceCell.of('a');
  expect(cell.take()).toBe('a');
  expect(cell.take()).toBeUndefined();
  expect(cell.isInitialized).toBe(false);
  cell.set('b');
  expect(cell.get()).toBe('b');
  cell.take();
  const old = cell.getOrInit(async () => {
    await turn();
    await turn();
    return 'old';
  });
  await turn();
  cell.take();
  cell.set('new');
  expect(await old).toBe('old');
  expect(cell.get()).toBe('new');
});
