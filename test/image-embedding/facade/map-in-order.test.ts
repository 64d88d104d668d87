import { describe, expect, test } from 'vitest';
import { type MapOptions, mapInOrder } from '../../../src/image-embedding/facade/map-in-order.js';

async function settle(): Promise<void> {
  for (let turn = 0; turn < 10; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

function mapped(source: Iterable<number> | AsyncIterable<number>, more: Partial<MapOptions<number, number>> = {}) {
  return mapInOrder<number, number>(source, { concurrency: 4, map: async (item) => item, ...more });
}

async function gather(results: AsyncIterable<number>): Promise<number[]> {
  const all: number[] = [];
  for await (const each of results) all.push(each);
  return all;
}

/** Counts what is read from a source, and whether it was closed. */
function counted(length: number) {
  const state = { read: 0, isClosed: false };
  async function* generate(): AsyncGenerator<number> {
    try {
      for (; state.read < length; ) {
        state.read += 1;
        yield state.read - 1;
      }
    } finally {
      state.isClosed = true;
    }
  }
  return { state, source: generate() };
}

describe('mapInOrder()', () => {
  test('yields in the order of the source, whatever finishes first, with no more than so many under way', async () => {
    let most = 0;
    let running = 0;
    const map = async (item: number, index: number) => {
      most = Math.max(most, ++running);
      for (let turn = 0; turn < (item * 7) % 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
      running -= 1;
      return 100 * item + index;
    };
    const all = Array.from({ length: 50 }, (_, index) => index);
    expect(await gather(mapped(all, { map }))).toEqual(all.map((each) => 101 * each));
    expect(most).toBe(4);
  });

  test('yields as they finish when order does not matter', async () => {
    const gates = [0, 1, 2].map(() => {
      let open: () => void = () => undefined;
      const opened = new Promise<void>((resolve) => {
        open = resolve;
      });
      return { open, opened };
    });
    const results = mapped([0, 1, 2], {
      ordered: false,
      map: async (item) => {
        await gates[item]?.opened;
        return item;
      },
    });
    const next = results.next();
    await settle();
    gates[2]?.open();
    expect((await next).value).toBe(2);
    gates[0]?.open();
    expect((await results.next()).value).toBe(0);
    gates[1]?.open();
    expect((await results.next()).value).toBe(1);
    expect((await results.next()).done).toBe(true);
  });

  test.each([true, false])('reads no further than the consumer takes (ordered: %s)', async (ordered) => {
    const { state, source } = counted(1_000);
    const results = mapped(source, { ordered });
    await settle();
    expect(state.read).toBe(0);
    await results.next();
    await settle();
    expect(state.read).toBe(4);
    for (let taken = 0; taken < 10; taken += 1) await results.next();
    await settle();
    expect(state.read).toBe(14);
    await results.return();
    expect(state.isClosed).toBe(true);
  });

  test('gives up what is under way when it is left', async () => {
    const { state, source } = counted(1_000);
    let given: AbortSignal | undefined;
    const map = (item: number, _: number, signal: AbortSignal): Promise<number> => {
      given = signal;
      return item === 0 ? Promise.resolve(0) : new Promise(() => undefined);
    };
    for await (const item of mapped(source, { map })) {
      expect(item).toBe(0);
      break;
    }
    expect(given?.aborted).toBe(true);
    await settle();
    expect(state.isClosed).toBe(true);
  });

  test('ends with the first call that rejects, though an earlier one never ends', async () => {
    const map = (item: number): Promise<number> =>
      item === 2
        ? new Promise(() => undefined)
        : item === 3
          ? Promise.reject(new Error('no pool'))
          : Promise.resolve(item);
    const { state, source } = counted(1_000);
    await expect(gather(mapped(source, { map }))).rejects.toThrow('no pool');
    expect(state.isClosed).toBe(true);
  });

  test('ends with what has to be well before, and asks the source for nothing', async () => {
    const { state, source } = counted(5);
    await expect(gather(mapped(source, { before: () => Promise.reject(new Error('no model')) }))).rejects.toThrow(
      'no model',
    );
    expect(state.read).toBe(0);
  });

  test('ends with the failure of its source after what came before, and with the reason of its signal', async () => {
    async function* failing(): AsyncGenerator<number> {
      yield 1;
      throw new Error('no such folder');
    }
    const seen: number[] = [];
    const reading = (async () => {
      for await (const item of mapped(failing())) seen.push(item);
    })();
    await expect(reading).rejects.toThrow('no such folder');
    expect(seen).toEqual([1]);
    const controller = new AbortController();
    const reason = new Error('enough');
    const results = mapped([1, 2, 3], { signal: controller.signal });
    await results.next();
    controller.abort(reason);
    await expect(gather(results)).rejects.toBe(reason);
    await expect(gather(mapped([1], { signal: AbortSignal.abort(reason) }))).rejects.toBe(reason);
  });

  test.each(['left', 'aborted'])(
    'ends at once when it is %s, though its source may never answer again',
    async (how) => {
      const state = { isClosed: false };
      const idle = {
        count: 0,
        next() {
          this.count += 1;
          return this.count === 1 ? Promise.resolve({ done: false, value: 1 }) : new Promise<never>(() => undefined);
        },
        async return() {
          state.isClosed = true;
          return { done: true as const, value: undefined };
        },
        [Symbol.asyncIterator]() {
          return this;
        },
      };
      const outer = new AbortController();
      const results = mapped(idle, { signal: outer.signal });
      expect((await results.next()).value).toBe(1);
      if (how === 'left') expect((await results.return()).done).toBe(true);
      else {
        const next = results.next();
        outer.abort(new Error('enough'));
        await expect(next).rejects.toThrow('enough');
      }
      expect(state.isClosed).toBe(true);
    },
  );

  test('an empty source is an empty stream', async () => {
    expect(await gather(mapped([]))).toEqual([]);
  });
});
