import { describe, expect, test } from 'vitest';
import { RunQueue } from '../../../src/image-embedding/pipeline/run-queue.js';

/** Lets everything that can go on without a run do so. */
async function settle(): Promise<void> {
  for (let count = 0; count < 10; count += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** Lets what is only promised happen, and no turn of the event loop. */
async function settleInTurn(): Promise<void> {
  for (let count = 0; count < 20; count += 1) await Promise.resolve();
}

/** A queue whose runs a test ends one by one. */
function createRig(maxBatch = 4, maxDelayMs = 0, isDecoding = () => true) {
  const runs: { items: string[]; end: () => void }[] = [];
  let gathering: { items: string[]; ended: Promise<void> } | undefined;
  const queue = new RunQueue<string, string>({
    maxBatch,
    maxDelayMs,
    isDecoding,
    runner: {
      // What is added in one turn is one run.
      async add(item) {
        if (gathering === undefined) {
          const items: string[] = [];
          let end: () => void = () => undefined;
          gathering = { items, ended: new Promise((resolve) => (end = resolve)) };
          runs.push({ items, end });
          queueMicrotask(() => (gathering = undefined));
        }
        const { items, ended } = gathering;
        items.push(item);
        await ended;
        if (item.startsWith('bad')) throw new Error(item);
        return item.toUpperCase();
      },
    },
  });
  const bulk = (...items: string[]) => Promise.all(items.map((each) => queue.add(each, true, undefined)));
  const single = (item: string, signal?: AbortSignal) => queue.add(item, false, signal);
  return { queue, runs, bulk, single };
}

describe('RunQueue', () => {
  test('.add() answers with what the run says, and runs single images before bulk', async () => {
    const { runs, bulk, single } = createRig();
    const first = bulk('a');
    await settle();
    const rest = Promise.all([bulk('b', 'c', 'd', 'e'), single('S'), single('bad').catch((error: Error) => error)]);
    await settle();
    expect(runs.map(({ items }) => items)).toEqual([['a']]);
    for (const count of [1, 2, 3]) {
      runs[count - 1]?.end();
      await settle();
    }
    expect(await first).toEqual(['A']);
    expect(runs.map(({ items }) => items)).toEqual([['a'], ['S', 'bad', 'b', 'c'], ['d', 'e']]);
    expect(await rest).toEqual([['B', 'C', 'D', 'E'], 'S', new Error('bad')]);
  });

  test('.add() runs an image at once that is the only one on its way, and lets others that come in the same turn join one that is not', async () => {
    let isDecoding = false;
    const { queue, runs, single } = createRig(4, 0, () => isDecoding);
    const arrival = queue.expect();
    const alone = single('a');
    arrival.end();
    await settleInTurn();
    expect(runs.map(({ items }) => items)).toEqual([['a']]);
    runs[0]?.end();
    expect(await alone).toBe('A');
    await settle();

    isDecoding = true;
    const both = [single('b')];
    await settleInTurn();
    expect(runs).toHaveLength(1);
    both.push(single('c'));
    await settle();
    expect(runs.map(({ items }) => items)).toEqual([['a'], ['b', 'c']]);
    runs[1]?.end();
    expect(await Promise.all(both)).toEqual(['B', 'C']);
    await settle();

    isDecoding = false;
    const arrivals = [queue.expect(), queue.expect()];
    const first = single('d');
    await settleInTurn();
    expect(runs).toHaveLength(2);
    for (const each of arrivals) each.end();
    await settle();
    runs[2]?.end();
    expect(await first).toBe('D');
  });

  test('.expect() has a batch of bulk wait for the single image', async () => {
    const { queue, runs, bulk, single } = createRig();
    const arrival = queue.expect();
    void bulk('a', 'b');
    await settle();
    expect(runs).toHaveLength(0);
    void single('S');
    arrival.end();
    await settle();
    expect(runs.map(({ items }) => items)).toEqual([['S', 'a', 'b']]);
  });

  test('.expect() has no batch wait for a second image that is expected while the first is waited for', async () => {
    const { queue, runs, bulk } = createRig();
    const first = queue.expect();
    void bulk('a');
    await settle();
    const second = queue.expect();
    first.end();
    await settle();
    expect(runs.map(({ items }) => items)).toEqual([['a']]);
    expect(queue.arriving).toBe(1);
    second.end();
    expect(queue.arriving).toBe(0);
  });

  test('.expect() has a batch of single images wait for nothing', async () => {
    const { queue, runs, bulk, single } = createRig(2);
    queue.expect();
    void single('S');
    await settle();
    expect(runs.map(({ items }) => items)).toEqual([['S']]);
    void single('T');
    void single('U');
    void bulk('a');
    runs[0]?.end();
    await settle();
    expect(runs[1]?.items).toEqual(['T', 'U']);
  });

  test('.expect() has nothing wait for ever', async () => {
    const { queue, runs, bulk } = createRig();
    queue.expect();
    void bulk('a');
    const before = performance.now();
    while (runs.length === 0) await new Promise((resolve) => setImmediate(resolve));
    expect(performance.now() - before).toBeGreaterThan(900);
  });

  test('.announce() has a batch of bulk wait for an image that is being received, and then for its pixels', async () => {
    const { queue, runs, bulk, single } = createRig();
    let receive: () => void = () => undefined;
    queue.announce(new Promise<void>((resolve) => (receive = resolve)), false);
    void bulk('a');
    await settle();
    expect(runs).toHaveLength(0);
    receive();
    // The worker's loop may give way to others twice before it takes what has come.
    for (let count = 0; count < 3; count += 1) await new Promise((resolve) => setImmediate(resolve));
    const arrival = queue.expect();
    await settle();
    expect(runs).toHaveLength(0);
    void single('S');
    arrival.end();
    await settle();
    expect(runs.map(({ items }) => items)).toEqual([['S', 'a']]);
  });

  test('.announce() has bulk wait for a fetch no longer than a part of the last run, and never fails with it', async () => {
    const { queue, runs, bulk } = createRig();
    queue.announce(new Promise(() => undefined), true);
    queue.announce(Promise.reject(new Error('no such host')), true);
    void bulk('a');
    await settle();
    // There has been no run yet.
    expect(runs).toHaveLength(1);
    runs[0]?.end();
    await settle();
    void bulk('b');
    const before = performance.now();
    while (runs.length === 1) await new Promise((resolve) => setImmediate(resolve));
    expect(performance.now() - before).toBeLessThan(900);
  });

  test('.add() leaves the queue when it is given up', async () => {
    const { queue, runs, bulk, single } = createRig();
    void bulk('a');
    await settle();
    const controller = new AbortController();
    const reason = new Error('enough');
    const given = single('S', controller.signal);
    expect(queue.length).toBe(1);
    controller.abort(reason);
    await expect(given).rejects.toBe(reason);
    expect(queue.length).toBe(0);
    await expect(single('T', controller.signal)).rejects.toBe(reason);
    runs[0]?.end();
    await settle();
    expect(runs).toHaveLength(1);
  });

  test('.add() waits for company as long as it may, and no longer than a batch takes to fill', async () => {
    const { runs, bulk, single } = createRig(2, 60_000);
    void single('S');
    await settle();
    expect(runs).toHaveLength(0);
    void bulk('a');
    await settle();
    expect(runs.map(({ items }) => items)).toEqual([['S', 'a']]);
    const short = createRig(2, 1);
    const before = performance.now();
    void short.single('S');
    while (short.runs.length === 0) await new Promise((resolve) => setImmediate(resolve));
    expect(performance.now() - before).toBeLessThan(5_000);
  });
});
