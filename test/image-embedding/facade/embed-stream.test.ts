import { describe, expect, test } from 'vitest';
import {
  createEmbedStream,
  type EmbedStreamOptions,
  type StreamResult,
} from '../../../src/image-embedding/facade/embed-stream.js';

async function settle(): Promise<void> {
  for (let turn = 0; turn < 10; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

function stream(source: Iterable<number> | AsyncIterable<number>, more: Partial<EmbedStreamOptions<number>> = {}) {
  return createEmbedStream<number>({
    source,
    concurrency: 4,
    ordered: true,
    embed: async (input) => Float32Array.of(input),
    isOwn: (error) => error instanceof RangeError,
    signal: undefined,
    controller: new AbortController(),
    ...more,
  });
}

async function gather(results: AsyncIterable<StreamResult<number>>): Promise<StreamResult<number>[]> {
  const all: StreamResult<number>[] = [];
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

describe('createEmbedStream()', () => {
  test('answers each image, in the order of the source, whichever is done first', async () => {
    const embed = async (input: number) => {
      for (let turn = 0; turn < (input * 7) % 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
      return Float32Array.of(input);
    };
    const results = await gather(
      stream(
        Array.from({ length: 50 }, (_, index) => index),
        { embed },
      ),
    );
    expect(results.map(({ index }) => index)).toEqual(Array.from({ length: 50 }, (_, index) => index));
    expect(results.every(({ input, embedding }) => embedding?.[0] === input)).toBe(true);
  });

  test('answers as they finish when order does not matter', async () => {
    const gates = [0, 1, 2].map(() => {
      let open: () => void = () => undefined;
      const opened = new Promise<void>((resolve) => {
        open = resolve;
      });
      return { open, opened };
    });
    const results = stream([0, 1, 2], {
      ordered: false,
      embed: async (input) => {
        await gates[input]?.opened;
        return Float32Array.of(input);
      },
    });
    const next = results.next();
    await settle();
    gates[2]?.open();
    expect((await next).value?.index).toBe(2);
    gates[0]?.open();
    expect((await results.next()).value?.index).toBe(0);
    gates[1]?.open();
    expect((await results.next()).value?.index).toBe(1);
    expect((await results.next()).done).toBe(true);
  });

  test.each([true, false])('reads no further than the consumer takes (ordered: %s)', async (ordered) => {
    const { state, source } = counted(1_000);
    const results = stream(source, { ordered });
    await settle();
    expect(state.read).toBe(0);
    await results.next();
    await settle();
    expect(state.read).toBeLessThanOrEqual(6);
    for (let taken = 0; taken < 10; taken += 1) await results.next();
    await settle();
    expect(state.read).toBeLessThanOrEqual(16);
    await results.return();
    expect(state.isClosed).toBe(true);
  });

  test('gives up what is under way when it is left', async () => {
    const { state, source } = counted(1_000);
    const controller = new AbortController();
    const results = stream(source, {
      controller,
      embed: (input) =>
        input === 0
          ? Promise.resolve(Float32Array.of(0))
          : new Promise((_, reject) =>
              controller.signal.addEventListener('abort', () => reject(controller.signal.reason)),
            ),
    });
    for await (const { index } of results) {
      expect(index).toBe(0);
      break;
    }
    expect(controller.signal.aborted).toBe(true);
    await settle();
    expect(state.isClosed).toBe(true);
  });

  test('goes on after an image that failed, and ends with any other failure', async () => {
    const embed = async (input: number) => {
      if (input === 2) throw new RangeError('bad image');
      return Float32Array.of(input);
    };
    const results = await gather(stream([1, 2, 3], { embed }));
    expect(results.map(({ error }) => error?.message)).toEqual([undefined, 'bad image', undefined]);
    const broken = stream([1, 2, 3], {
      embed: async () => {
        throw new Error('the pool is closed');
      },
    });
    await expect(gather(broken)).rejects.toThrow('the pool is closed');
  });

  test('ends with the failure of its source, and with the reason of its signal', async () => {
    async function* failing(): AsyncGenerator<number> {
      yield 1;
      throw new Error('no such folder');
    }
    await expect(gather(stream(failing()))).rejects.toThrow('no such folder');
    const controller = new AbortController();
    const reason = new Error('enough');
    const results = stream([1, 2, 3], { signal: controller.signal });
    await results.next();
    controller.abort(reason);
    await expect(gather(results)).rejects.toBe(reason);
    await expect(gather(stream([1], { signal: AbortSignal.abort(reason) }))).rejects.toBe(reason);
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
      const results = stream(idle, { signal: outer.signal });
      expect((await results.next()).value?.index).toBe(0);
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
    expect(await gather(stream([]))).toEqual([]);
  });
});
