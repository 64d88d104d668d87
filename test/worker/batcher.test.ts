import { inspect } from 'node:util';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { SimulatedClock } from '../../src/core/index.js';
import { createBatcher } from '../../src/worker/index.js';
import { settled, turn } from '../support/settlement.js';

/** A turn of the event loop: after many microtasks in a row a channel waits for one, so that microtasks alone may not lead anywhere. */
/** A run that waits until it is told to go on. */
function gate(): { open: () => void; closed: Promise<void> } {
  let open = (): void => {};
  const closed = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { open, closed };
}

test('Batcher.add() answers each item with its own result', async () => {
  const sizes: number[] = [];
  const batcher = createBatcher<number, string>({
    maxBatch: 3,
    run: async (items) => {
      sizes.push(items.length);
      return items.map((item) => `#${item}`);
    },
  });
  expect(await Promise.all([0, 1, 2, 3, 4, 5, 6].map((n) => batcher.add(n)))).toEqual([
    '#0',
    '#1',
    '#2',
    '#3',
    '#4',
    '#5',
    '#6',
  ]);
  expect(sizes).toEqual([3, 3, 1]);
  await batcher.close();
});

test('createBatcher() lets a free model wait for nobody', async () => {
  const clock = new SimulatedClock();
  const batcher = createBatcher<number, number>({ clock, run: (items) => items });
  expect(await batcher.add(1)).toBe(1);
  expect(clock.pendingTimers).toBe(0);
  await batcher.close();
});

test('createBatcher() gathers what arrives while a batch runs', async () => {
  const sizes: number[] = [];
  const first = gate();
  const batcher = createBatcher<number, number>({
    maxBatch: 8,
    run: async (items) => {
      sizes.push(items.length);
      if (sizes.length === 1) await first.closed;
      return items;
    },
  });
  const answers = [batcher.add(0)];
  while (batcher.running === 0) await turn();
  for (let n = 1; n < 6; n++) answers.push(batcher.add(n));
  while (batcher.waiting < 5) await turn();
  first.open();
  expect(await Promise.all(answers)).toEqual([0, 1, 2, 3, 4, 5]);
  expect(sizes).toEqual([1, 5]);
  await batcher.close();
});

test('createBatcher() with maxDelayMs counts the time that an item has waited behind a running batch', async () => {
  const clock = new SimulatedClock();
  const gates: (() => void)[] = [];
  const batcher = createBatcher<number, number>({
    clock,
    maxBatch: 3,
    maxDelayMs: 10,
    run: async (items) => {
      await new Promise<void>((resolve) => gates.push(resolve));
      return items;
    },
  });
  const answers = [batcher.add(0)];
  await clock.advance(10);
  expect(gates).toHaveLength(1);
  answers.push(batcher.add(1));
  await clock.advance(7);
  gates[0]?.();
  await clock.advance(2);
  expect(gates).toHaveLength(1);
  await clock.advance(1);
  expect(gates).toHaveLength(2);
  // One that has waited long enough does not wait at all.
  answers.push(batcher.add(2));
  await clock.advance(10);
  gates[1]?.();
  await clock.advance(0);
  expect(gates).toHaveLength(3);
  gates[2]?.();
  expect(await Promise.all(answers)).toEqual([0, 1, 2]);
  await batcher.close();
});

test('createBatcher() with maxDelayMs waits for company, but not longer, and not once it is full', async () => {
  const clock = new SimulatedClock();
  const sizes: number[] = [];
  const batcher = createBatcher<number, number>({
    clock,
    maxBatch: 3,
    maxDelayMs: 10,
    run: (items) => {
      sizes.push(items.length);
      return items;
    },
  });
  const early = batcher.add(0);
  await clock.advance(6);
  const late = batcher.add(1);
  await clock.advance(3);
  expect(sizes).toEqual([]);
  await clock.advance(1);
  expect(await Promise.all([early, late])).toEqual([0, 1]);
  expect(sizes).toEqual([2]);
  await Promise.all([batcher.add(2), batcher.add(3), batcher.add(4)]);
  expect(sizes).toEqual([2, 3]);
  expect(clock.pendingTimers).toBe(0);
  await batcher.close();
});

test('Batcher.add() aborted in a waiting batch leaves it at once', async () => {
  const clock = new SimulatedClock();
  const seen: number[][] = [];
  const batcher = createBatcher<number, number>({
    clock,
    maxDelayMs: 10,
    run: (items) => {
      seen.push([...items]);
      return items;
    },
  });
  const controller = new AbortController();
  const kept = batcher.add(1);
  const dropped = settled(batcher.add(2, { signal: controller.signal }));
  await clock.advance(5);
  controller.abort('no');
  expect(await dropped).toEqual({ error: 'no' });
  await clock.advance(5);
  expect(await kept).toBe(1);
  expect(seen).toEqual([[1]]);
  await expect(batcher.add(3, { signal: AbortSignal.abort('before') })).rejects.toBe('before');
  await batcher.close();
});

test('createBatcher() never runs a batch that everybody has left', async () => {
  const clock = new SimulatedClock();
  let runs = 0;
  const batcher = createBatcher<number, number>({
    clock,
    maxDelayMs: 10,
    run: (items) => {
      runs++;
      return items;
    },
  });
  const controller = new AbortController();
  const answers = [1, 2, 3].map((n) => settled(batcher.add(n, { signal: controller.signal })));
  await clock.advance(5);
  controller.abort('all');
  await Promise.all(answers);
  await clock.advance(20);
  expect(runs).toBe(0);
  expect(await Promise.race([batcher.close(), clock.advance(100)])).toBeUndefined();
});

test('BatchContext.signal aborts when every item of the running batch was given up, not before', async () => {
  let signal: AbortSignal | undefined;
  const running = gate();
  const batcher = createBatcher<number, number>({
    run: async (items, context) => {
      signal = context.signal;
      await running.closed;
      return items;
    },
  });
  const controllers = [new AbortController(), new AbortController()];
  const answers = controllers.map((each, n) => settled(batcher.add(n, { signal: each.signal })));
  while (batcher.running < 2) await turn();
  controllers[0]?.abort('one');
  expect(signal?.aborted).toBe(false);
  controllers[1]?.abort('two');
  expect(signal?.reason).toBe('two');
  running.open();
  expect(await Promise.all(answers)).toEqual([{ error: 'one' }, { error: 'two' }]);
  await batcher.close();
});

test('createBatcher() fails only the guilty items, in at most 1 + 2·k·⌈log2 n⌉ runs', async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 40 }), fc.uniqueArray(fc.nat(39)), async (n, guilty) => {
      const bad = new Set(guilty.filter((each) => each < n));
      let runs = 0;
      const batcher = createBatcher<number, number>({
        maxBatch: n,
        run: async (items) => {
          runs++;
          const culprit = items.find((item) => bad.has(item));
          if (culprit !== undefined) throw new Error(`bad ${culprit}`);
          return items.map((item) => item * 2);
        },
      });
      const answers = await Promise.all(Array.from({ length: n }, (_, item) => settled(batcher.add(item))));
      answers.forEach((answer, item) => {
        expect(answer).toEqual(bad.has(item) ? { error: new Error(`bad ${item}`) } : { value: item * 2 });
      });
      expect(runs).toBeLessThanOrEqual(1 + 2 * bad.size * Math.ceil(Math.log2(n)));
      await batcher.close();
    }),
    { numRuns: 150 },
  );
});

test('createBatcher() answers every item once, whatever is aborted and whatever fails', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.scheduler(),
      fc.array(fc.record({ isBad: fc.boolean(), abortAfter: fc.option(fc.nat(6), { nil: undefined }) }), {
        maxLength: 24,
      }),
      fc.integer({ min: 1, max: 6 }),
      async (scheduler, items, maxBatch) => {
        const batcher = createBatcher<number, number>({
          maxBatch,
          run: async (batch) => {
            await scheduler.schedule(Promise.resolve());
            if (batch.some((item) => items[item]?.isBad)) throw new Error('bad');
            return batch;
          },
        });
        const answers = items.map(async ({ abortAfter }, item) => {
          const controller = new AbortController();
          const answer = settled(batcher.add(item, { signal: controller.signal }));
          for (let hop = 0; hop < (abortAfter ?? 0); hop++) await Promise.resolve();
          if (abortAfter !== undefined) controller.abort('gone');
          return answer;
        });
        await scheduler.waitFor(Promise.all(answers));
        for (const [item, answer] of (await Promise.all(answers)).entries()) {
          const { isBad, abortAfter } = items[item] as (typeof items)[number];
          if (abortAfter !== undefined && 'error' in answer && answer.error === 'gone') continue;
          expect(answer).toEqual(isBad ? { error: new Error('bad') } : { value: item });
        }
        expect(batcher.waiting + batcher.running).toBe(0);
        await scheduler.waitFor(batcher.close());
      },
    ),
    { numRuns: 60 },
  );
});

test('createBatcher() fails every item when run answers with the wrong number of results', async () => {
  const batcher = createBatcher<number, number>({ run: (items) => items.slice(1) });
  const answers = await Promise.all([batcher.add(1), batcher.add(2)].map(settled));
  for (const answer of answers) {
    expect(answer).toMatchObject({ error: { code: 'ERR_BATCH_CONTRACT', fault: 'model' } });
  }
  await batcher.close();
});

test('Batcher.close() finishes what was added and takes no more', async () => {
  const batcher = createBatcher<number, number>({ maxBatch: 2, run: async (items) => items });
  const answers = [1, 2, 3].map((n) => batcher.add(n));
  const closing = batcher.close();
  await expect(batcher.add(4)).rejects.toMatchObject({ code: 'ERR_BATCHER_CLOSED' });
  expect(await Promise.all(answers)).toEqual([1, 2, 3]);
  await closing;
});

test('Batcher.destroy() answers everything now, and tells the running batch', async () => {
  const running = gate();
  let signal: AbortSignal | undefined;
  const batcher = createBatcher<number, number>({
    maxBatch: 1,
    run: async (items, context) => {
      signal = context.signal;
      await running.closed;
      return items;
    },
  });
  const answers = [1, 2].map((n) => settled(batcher.add(n)));
  while (batcher.running === 0) await turn();
  const destroying = batcher.destroy('why');
  for (const answer of await Promise.all(answers)) {
    expect(answer).toMatchObject({ error: { code: 'ERR_BATCHER_CLOSED', cause: 'why' } });
  }
  expect(signal?.aborted).toBe(true);
  running.open();
  await destroying;
});

test('createBatcher() refuses options that make no sense', () => {
  const run = (items: number[]): number[] => items;
  expect(() => createBatcher({ run, maxBatch: 0 })).toThrow(RangeError);
  expect(() => createBatcher({ run, maxDelayMs: -1 })).toThrow(RangeError);
  expect(() => createBatcher({} as { run: typeof run })).toThrow(/run must be a function/);
  expect(() => createBatcher({ run, clock: {} as never })).toThrow(/clock.now must be a function/);
  expect(() => createBatcher({ run, size: 3 } as object as { run: typeof run })).toThrow(/unknown option 'size'/);
  expect(inspect(createBatcher({ run }))).toBe('Batcher { waiting: 0, running: 0, isClosed: false }');
});

test('createBatcher() fills a batch with items that are still wanted, whatever was given up before them', async () => {
  const sizes: number[] = [];
  const first = gate();
  const batcher = createBatcher<number, number>({
    maxBatch: 4,
    run: async (items) => {
      sizes.push(items.length);
      if (sizes.length === 1) await first.closed;
      return items;
    },
  });
  const running = batcher.add(-1);
  while (batcher.running === 0) await turn();
  const controller = new AbortController();
  const answers = Array.from({ length: 16 }, (_, n) =>
    settled(batcher.add(n, n % 2 === 0 ? {} : { signal: controller.signal })),
  );
  controller.abort('never mind');
  first.open();
  expect(await running).toBe(-1);
  await Promise.all(answers);
  expect(sizes).toEqual([1, 4, 4]);
  await batcher.close();
});

test('Batcher.add() given up while another batch runs keeps nothing of its item', async () => {
  const first = gate();
  const batcher = createBatcher<object, number>({
    run: async (items) => {
      await first.closed;
      return items.map(() => 1);
    },
  });
  const running = batcher.add({});
  while (batcher.running === 0) await turn();
  const controller = new AbortController();
  const giveUp = async (): Promise<WeakRef<object>> => {
    const item = { large: new Uint8Array(1_000) };
    const answer = settled(batcher.add(item, { signal: controller.signal }));
    controller.abort('never mind');
    await answer;
    return new WeakRef(item);
  };
  const item = await giveUp();
  // A reference that was looked at is kept to the end of the turn.
  await new Promise((resolve) => setImmediate(resolve));
  globalThis.gc?.();
  expect(item.deref()).toBeUndefined();
  first.open();
  await running;
  await batcher.close();
});

test('Batcher.running counts no item that is given up at any moment before its batch begins', async () => {
  for (let hops = 0; hops < 12; hops++) {
    const batcher = createBatcher<number, number>({ run: (items) => items });
    const controller = new AbortController();
    const answer = settled(batcher.add(1, { signal: controller.signal }));
    for (let hop = 0; hop < hops; hop++) await Promise.resolve();
    controller.abort('never mind');
    await answer;
    await new Promise((resolve) => setImmediate(resolve));
    expect([batcher.running, batcher.waiting]).toEqual([0, 0]);
    await batcher.close();
  }
});

test.each(['close', 'destroy'] as const)('Batcher.%s() waits for no company', async (end) => {
  const clock = new SimulatedClock();
  const batcher = createBatcher<number, number>({ clock, maxDelayMs: 60_000, run: (items) => items });
  const answer = settled(batcher.add(1));
  await clock.advance(1);
  await batcher[end]();
  expect(await answer).toMatchObject(end === 'close' ? { value: 1 } : { error: { code: 'ERR_BATCHER_CLOSED' } });
  expect(clock.pendingTimers).toBe(0);
});

test('createBatcher() fails only the batch whose results throw when they are read', async () => {
  const odd = new Proxy([1], {
    get() {
      throw new Error('not to be read');
    },
  });
  const batcher = createBatcher<number, number>({ maxBatch: 1, run: (items) => (items[0] === 0 ? odd : items) });
  const [bad, good] = await Promise.all([settled(batcher.add(0)), settled(batcher.add(1))]);
  expect(bad).toMatchObject({ error: { message: 'not to be read' } });
  expect(good).toEqual({ value: 1 });
  await batcher.close();
});
