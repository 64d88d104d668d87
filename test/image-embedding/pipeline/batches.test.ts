import { describe, expect, test } from 'vitest';
import { Batches, type BatchesOptions, type QueuedImage } from '../../../src/image-embedding/pipeline/batches.js';

/** Lets everything that can go on without a run do so. */
async function settle(): Promise<void> {
  for (let count = 0; count < 10; count += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** A promise, and how it is resolved. */
function gate(): { readonly opened: Promise<void>; readonly open: () => void } {
  let open: () => void = () => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open };
}

class Named implements QueuedImage<string> {
  isSettled = false;
  readonly name: string;
  readonly isBulk: boolean;
  readonly answer: Promise<string>;
  succeed!: (result: string) => void;
  fail!: (error: unknown) => void;

  constructor(name: string, isBulk: boolean) {
    this.name = name;
    this.isBulk = isBulk;
    this.answer = new Promise((resolve, reject) => {
      this.succeed = resolve;
      this.fail = reject;
    });
  }
}

type Options = BatchesOptions<Named, string>;

/** Batches whose runs a test ends one by one. */
function createRig(more: Partial<Options> = {}) {
  const runs: { readonly names: string[]; readonly end: () => void }[] = [];
  const batches = new Batches<Named, string>({
    maxBatch: 4,
    maxDelayMs: 0,
    run: async (images) => {
      const { opened, open } = gate();
      const names = images.map(({ name }) => name);
      runs.push({ names, end: open });
      await opened;
      if (names.includes('bad')) throw new Error('bad');
      return names.map((each) => each.toUpperCase());
    },
    ...more,
  });
  const add = (name: string, isBulk: boolean) => {
    const image = new Named(name, isBulk);
    batches.add(image);
    return image.answer;
  };
  const bulk = (...names: string[]) => Promise.all(names.map((each) => add(each, true)));
  const single = (name: string) => add(name, false);
  const named = () => runs.map(({ names }) => names);
  return { batches, runs, named, bulk, single };
}

describe('Batches', () => {
  test('.add() answers with what the run says, and runs single images before bulk', async () => {
    const { runs, named, bulk, single } = createRig();
    const first = bulk('a');
    await settle();
    const rest = Promise.all([bulk('b', 'c', 'd', 'e'), single('S'), single('T')]);
    await settle();
    expect(named()).toEqual([['a']]);
    for (const count of [1, 2, 3]) {
      runs[count - 1]?.end();
      await settle();
    }
    expect(await first).toEqual(['A']);
    expect(named()).toEqual([['a'], ['S', 'T', 'b', 'c'], ['d', 'e']]);
    expect(await rest).toEqual([['B', 'C', 'D', 'E'], 'S', 'T']);
  });

  test('.add() fails the image that fails by itself, and no other of its run', async () => {
    const { runs, named, bulk, single } = createRig();
    const all = Promise.all([bulk('a', 'b'), single('bad').catch((error: Error) => error)]);
    for (const run of [0, 1, 2]) {
      await settle();
      runs[run]?.end();
    }
    await settle();
    for (const { end } of runs) end();
    expect(await all).toEqual([['A', 'B'], new Error('bad')]);
    expect(named()).toEqual([['bad', 'a', 'b'], ['bad'], ['a', 'b']]);
  });

  test('.add() lets others that come in the same turn join', async () => {
    const { runs, named, single } = createRig();
    const both = [single('b')];
    for (let count = 0; count < 20; count += 1) await Promise.resolve();
    expect(runs).toHaveLength(0);
    both.push(single('c'));
    await settle();
    expect(named()).toEqual([['b', 'c']]);
    runs[0]?.end();
    expect(await Promise.all(both)).toEqual(['B', 'C']);
  });

  test('.hold() has a batch of bulk wait for the single image', async () => {
    const { batches, named, bulk, single } = createRig();
    const { opened, open } = gate();
    batches.hold('single', opened);
    void bulk('a', 'b');
    await settle();
    expect(named()).toEqual([]);
    void single('S');
    open();
    await settle();
    expect(named()).toEqual([['S', 'a', 'b']]);
  });

  test('.hold() has no batch wait for a second image that is expected while the first is waited for', async () => {
    const { batches, named, bulk } = createRig();
    const { opened, open } = gate();
    batches.hold('single', opened);
    void bulk('a');
    await settle();
    batches.hold('single', new Promise(() => undefined));
    open();
    await settle();
    expect(named()).toEqual([['a']]);
  });

  test('.hold() has a batch of single images wait for nothing', async () => {
    const { batches, runs, named, bulk, single } = createRig({ maxBatch: 2 });
    batches.hold('single', new Promise(() => undefined));
    void single('S');
    await settle();
    expect(named()).toEqual([['S']]);
    void single('T');
    void single('U');
    void bulk('a');
    runs[0]?.end();
    await settle();
    expect(named()[1]).toEqual(['T', 'U']);
  });

  test('.hold() has nothing wait for ever', async () => {
    const { batches, runs, bulk } = createRig();
    batches.hold('single', new Promise(() => undefined));
    void bulk('a');
    const before = performance.now();
    while (runs.length === 0) await new Promise((resolve) => setImmediate(resolve));
    expect(performance.now() - before).toBeGreaterThan(900);
  });

  test('.hold() has bulk wait for a fetch no longer than a part of the last run, and never fails with it', async () => {
    const { batches, runs, bulk } = createRig();
    batches.hold('fetch', new Promise(() => undefined));
    batches.hold('fetch', Promise.reject(new Error('no such host')));
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

  test('have bulk wait for a call that is arriving, and then for the pixels of its image', async () => {
    const message = gate();
    let arriving: Promise<void> | undefined = message.opened;
    const { batches, runs, named, bulk, single } = createRig({ arriving: () => arriving });
    void bulk('a');
    await settle();
    expect(runs).toHaveLength(0);
    arriving = undefined;
    const { opened, open } = gate();
    batches.hold('single', opened);
    message.open();
    await settle();
    expect(runs).toHaveLength(0);
    void single('S');
    open();
    await settle();
    expect(named()).toEqual([['S', 'a']]);
  });

  test('.remove() takes an image out that was given up', async () => {
    const { batches, runs, bulk } = createRig();
    void bulk('a');
    await settle();
    const given = new Named('S', false);
    batches.add(given);
    expect(batches.length).toBe(1);
    batches.remove(given);
    expect(batches.length).toBe(0);
    runs[0]?.end();
    await settle();
    expect(runs).toHaveLength(1);
    await batches.idle();
  });

  test('.add() waits for others as long as it may, and no longer than a batch takes to fill', async () => {
    const { runs, named, bulk, single } = createRig({ maxBatch: 2, maxDelayMs: 60_000 });
    void single('S');
    await settle();
    expect(runs).toHaveLength(0);
    void bulk('a');
    await settle();
    expect(named()).toEqual([['S', 'a']]);
    const short = createRig({ maxBatch: 2, maxDelayMs: 1 });
    const before = performance.now();
    void short.single('S');
    while (short.runs.length === 0) await new Promise((resolve) => setImmediate(resolve));
    expect(performance.now() - before).toBeLessThan(5_000);
  });
});
