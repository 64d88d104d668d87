import { PassThrough, Readable, Writable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import {
  broadcast,
  fromAsyncIterable,
  fromReadableStream,
  fromWritableStream,
  mpsc,
  toReadableStream,
  toRepeater,
} from '../../src/channels/index.js';
import { fromNodeReadable, fromNodeWritable, toNodeReadable } from '../../src/channels/stream/node.js';
import { turn } from '../support/settlement.js';

const item = <T>(value: T) => ({ done: false, value });
const END = { done: true, value: undefined };

/** A channel that tells what nobody has received. */
function watched(capacity = 8) {
  const lost: number[] = [];
  const [tx, rx] = mpsc.channel<number>(capacity, { onUndelivered: (value) => lost.push(value) });
  return { tx, rx, lost };
}

async function settled(): Promise<void> {
  for (let turns = 0; turns < 4; turns++) await turn();
}

describe('streams lose nothing in silence', () => {
  it('toReadableStream() that is cancelled hands what lies in the channel to onUndelivered, once', async () => {
    const { tx, rx, lost } = watched();
    for (const value of [1, 2, 3]) tx.trySend(value);
    const reader = toReadableStream(rx).getReader();
    expect(await reader.read()).toEqual(item(1));
    await reader.cancel('enough');
    expect(lost).toEqual([2, 3]);
    expect(tx.isClosed).toBe(true);
    rx[Symbol.dispose]();
    expect(lost).toEqual([2, 3]);
  });

  it('toReadableStream() that is read with preventCancel leaves the rest in the channel', async () => {
    const { tx, rx, lost } = watched();
    for (const value of [1, 2, 3]) tx.trySend(value);
    const stream = toReadableStream(rx);
    for await (const value of stream.values({ preventCancel: true })) if (value === 2) break;
    expect([rx.len, lost]).toEqual([1, []]);
    for await (const value of stream) expect(value).toBe(3 * Number(tx.close() === undefined));
  });

  it.each([0, 1, 2, 3, 4, 5])(
    'toReadableStream() that is cancelled %s hops after the send neither loses nor doubles',
    async (hops) => {
      const { tx, rx, lost } = watched();
      const reader = toReadableStream(rx).getReader();
      const read = reader.read();
      await turn();
      tx.trySend(1);
      for (let hop = 0; hop < hops; hop++) await null;
      await reader.cancel('enough');
      const { done, value } = await read;
      expect([...(done ? [] : [value]), ...lost]).toEqual([1]);
    },
  );

  it.each([0, 1, 2, 3, 4, 5])(
    'toRepeater() that is left %s hops after the send gives the value or leaves it',
    async (hops) => {
      for (const leave of ['return', 'throw'] as const) {
        const { tx, rx } = watched();
        const repeater = toRepeater(rx);
        const next = repeater.next();
        await turn();
        tx.trySend(1);
        for (let hop = 0; hop < hops; hop++) await null;
        const left = leave === 'return' ? repeater.return(undefined) : repeater.throw(new Error('left'));
        await left.catch(() => {});
        const { done, value } = await next;
        await settled();
        const found = rx.tryRecv();
        expect([...(done ? [] : [value]), ...(found.state === 'ok' ? [found.value] : [])]).toEqual([1]);
        expect(tx.isClosed).toBe(false);
      }
    },
  );

  it.each([0, 1, 2, 3, 4, 5])(
    'toRepeater() of a broadcast that is left %s hops after the send reads it or does not',
    async (hops) => {
      const [tx, rx] = broadcast.channel<number>(4);
      const repeater = toRepeater(rx);
      const next = repeater.next();
      await turn();
      tx.send(1);
      for (let hop = 0; hop < hops; hop++) await null;
      await repeater.return(undefined);
      const { done } = await next;
      expect(rx.len).toBe(done ? 1 : 0);
    },
  );

  it.each([0, 1, 2, 3, 4, 5])(
    'toNodeReadable() that is destroyed %s hops after the send neither loses nor doubles',
    async (hops) => {
      const { tx, rx, lost } = watched();
      const stream = toNodeReadable(rx);
      const seen: number[] = [];
      stream.on('data', (value: number) => seen.push(value));
      await settled();
      tx.trySend(1);
      tx.trySend(2);
      for (let hop = 0; hop < hops; hop++) await null;
      stream.destroy();
      await settled();
      expect([...seen, ...lost]).toEqual([1, 2]);
      expect(tx.isClosed).toBe(true);
    },
  );

  it('fromAsyncIterable() and the others hand on what was read when the receiver goes', async () => {
    const numbers = async function* () {
      for (let value = 1; ; value++) yield value;
    };
    const sources = {
      iterable: (onUndelivered: (value: number) => void) =>
        fromAsyncIterable(numbers(), { capacity: 2, onUndelivered }),
      web: (onUndelivered: (value: number) => void) =>
        fromReadableStream(
          new ReadableStream<number>(
            {
              pull: (() => {
                let n = 0;
                return (controller: ReadableStreamDefaultController<number>) => controller.enqueue(++n);
              })(),
            },
            { highWaterMark: 0 },
          ),
          { capacity: 2, onUndelivered },
        ),
      node: (onUndelivered: (value: number) => void) =>
        fromNodeReadable<number>(Readable.from(numbers(), { highWaterMark: 1 }), { capacity: 2, onUndelivered }),
    };
    for (const make of Object.values(sources)) {
      const lost: number[] = [];
      const rx = make((value) => lost.push(value));
      expect(await rx.recv()).toEqual(item(1));
      await settled();
      rx[Symbol.dispose]();
      await settled();
      expect(lost.sort()).toEqual([2, 3, 4]);
      const kept: number[] = [];
      const closing = make((value) => kept.push(value));
      expect(await closing.recv()).toEqual(item(1));
      await settled();
      closing.close();
      await settled();
      expect(kept).toEqual([4]);
      expect([await closing.recv(), await closing.recv(), await closing.recv()]).toEqual([item(2), item(3), END]);
    }
  });

  it('fromWritableStream() and fromNodeWritable() hand on what was accepted when the stream fails', async () => {
    const lost: number[] = [];
    const onUndelivered = (value: number) => lost.push(value);
    let fail: (error: unknown) => void = () => {};
    const web = fromWritableStream<number>(
      new WritableStream<number>({
        write: () =>
          new Promise((_, reject) => {
            fail = reject;
          }),
      }),
      { capacity: 2, onUndelivered },
    );
    for (const value of [1, 2, 3]) await web.send(value);
    await settled();
    fail(new RangeError('disk'));
    await web.closed();
    expect(lost).toEqual([1, 2, 3]);

    lost.length = 0;
    const node = new Writable({ objectMode: true, highWaterMark: 1, write() {} });
    node.on('error', () => {});
    const tx = fromNodeWritable<number>(node, { capacity: 2, onUndelivered });
    for (const value of [1, 2, 3]) await tx.send(value);
    await settled();
    node.destroy(new RangeError('disk'));
    await tx.closed();
    expect(lost).toEqual([2, 3]);
    await expect(tx.send(4)).rejects.toMatchObject({ code: 'ERR_CHANNEL_CLOSED', value: 4 });
  });

  it('refuse what is no receiver, and unknown options', () => {
    for (const make of [toReadableStream, toRepeater, toNodeReadable]) {
      for (const source of [undefined, null, 5, {}, { ready() {} }])
        expect(() => make(source as never)).toThrow(TypeError);
    }
    for (const options of [{ capacity: 0 }, { capacity: '1' }, { onUndelivered: 5 }, { size: 1 }, 5, null]) {
      expect(() => fromNodeReadable(new PassThrough({ objectMode: true }), options as never)).toThrow(/^Cannot read/);
    }
  });
});
