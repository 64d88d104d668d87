import { expect, test } from 'vitest';
import {
  broadcast,
  fromAsyncIterable,
  fromCallback,
  fromReadableStream,
  fromWritableStream,
  mpsc,
  toReadableStream,
  toRepeater,
  toWritableStream,
} from '../../src/channels/index.js';
import { drained, stateOf, turn, unheardOf } from '../support/settlement.js';

const item = <T>(value: T) => ({ done: false, value });
const end = { done: true, value: undefined };
const closedError = expect.objectContaining({ code: 'ERR_CHANNEL_CLOSED' });

test('toRepeater() gives what the receiver gives, and receives only what is asked for', async () => {
  const [tx, rx] = mpsc.channel<number>(8);
  for (let i = 0; i < 3; i++) tx.trySend(i);
  const repeater = toRepeater(rx);
  expect(rx.len).toBe(3);
  expect(await repeater.next()).toEqual(item(0));
  expect(rx.len).toBe(2);
  const both = Promise.all([repeater.next(), repeater.next(), repeater.next()]);
  await drained();
  tx.close();
  expect(await both).toEqual([item(1), item(2), end]);
});

test('toRepeater() left early settles its pending next() and takes nothing', async () => {
  const [tx, rx] = mpsc.channel<number>(8);
  const repeater = toRepeater(rx);
  const pending = repeater.next();
  await drained();
  await repeater.return(undefined);
  expect(await pending).toEqual(end);
  tx.trySend(1);
  await drained();
  expect(rx.len).toBe(1);
  for await (const value of toRepeater(rx)) {
    expect(value).toBe(1);
    break;
  }
  tx.trySend(2);
  expect(await rx.recv()).toEqual(item(2));
});

test('toRepeater() fails as the receive fails', async () => {
  const [tx, rx] = broadcast.channel<number>(1);
  tx.send(1);
  tx.send(2);
  await expect(toRepeater(rx).next()).rejects.toMatchObject({ skipped: 1 });
  expect(() => toRepeater({} as never)).toThrow(TypeError);
});

test('fromCallback() buffers, overflows as told, and lets go of its source however it ends', async () => {
  const subscribers = new Set<{ push: (n: number) => void; end: (error?: unknown) => void }>();
  const source = (push: (n: number) => void, endIt: (error?: unknown) => void) => {
    const entry = { push, end: endIt };
    subscribers.add(entry);
    return () => subscribers.delete(entry);
  };
  const feed = async (iterator: AsyncIterator<number>) => {
    const first = iterator.next();
    for (const { push } of subscribers) for (let i = 0; i < 6; i++) push(i);
    return first;
  };
  const oldest = fromCallback<number>(source, { capacity: 2, overflow: 'drop-oldest' });
  expect(await feed(oldest)).toEqual(item(0));
  expect([await oldest.next(), await oldest.next()]).toEqual([item(4), item(5)]);
  await oldest.return(undefined);
  const newest = fromCallback<number>(source, { capacity: 2, overflow: 'drop-newest' });
  expect(await feed(newest)).toEqual(item(0));
  expect([await newest.next(), await newest.next()]).toEqual([item(1), item(2)]);
  const pending = newest.next();
  for (const { end: endIt } of subscribers) endIt(new RangeError('source'));
  await expect(pending).rejects.toThrow('source');
  expect(subscribers.size).toBe(0);
  const ended = fromCallback<number>(source);
  const next = ended.next();
  for (const { end: endIt } of subscribers) endIt();
  expect(await next).toEqual(end);
  expect(subscribers.size).toBe(0);
  expect(() => fromCallback(source, { overflow: 'drop' as never })).toThrow(RangeError);
  expect(() => fromCallback(source, { capacity: 0 })).toThrow(RangeError);
  expect(() => fromCallback(1 as never)).toThrow(TypeError);
});

test('fromAsyncIterable() reads when there is room, and passes a failure after the values', async () => {
  let asked = 0;
  async function* numbers() {
    for (let i = 0; i < 5; i++) {
      asked++;
      yield i;
    }
    throw new RangeError('source');
  }
  const rx = fromAsyncIterable(numbers(), { capacity: 2 });
  await drained();
  expect(asked).toBe(3);
  const seen: number[] = [];
  for (let i = 0; i < 5; i++) seen.push((await rx.recv()).value as number);
  expect(seen).toEqual([0, 1, 2, 3, 4]);
  await expect(rx.recv()).rejects.toThrow('source');
});

test('fromAsyncIterable() returns the iterator when the receiver closes, waiting or blocked', async () => {
  const returned: string[] = [];
  const source = (name: string, value: () => Promise<number>): AsyncIterable<number> => ({
    [Symbol.asyncIterator]: () => ({
      next: async () => ({ done: false, value: await value() }),
      return: async () => {
        returned.push(name);
        return { done: true, value: undefined };
      },
    }),
  });
  const waiting = fromAsyncIterable(source('waiting', () => new Promise<number>(() => {})));
  const blocked = fromAsyncIterable(source('blocked', async () => 1));
  await drained();
  waiting.close();
  blocked.close();
  await drained();
  expect(returned.sort()).toEqual(['blocked', 'waiting']);
  expect(() => fromAsyncIterable(1 as never)).toThrow(TypeError);
  expect(() =>
    fromAsyncIterable(
      source('x', async () => 1),
      { capacity: 0 },
    ),
  ).toThrow(RangeError);
});

test('toReadableStream() receives only what is read, closes with the channel and fails with it', async () => {
  const [tx, rx] = mpsc.channel<number | null | undefined>(8);
  for (const value of [1, null, undefined]) tx.trySend(value);
  const reader = toReadableStream(rx).getReader();
  await drained();
  expect(rx.len).toBe(3);
  expect([await reader.read(), await reader.read(), await reader.read()]).toEqual([
    item(1),
    item(null),
    item(undefined),
  ]);
  const last = reader.read();
  tx.close();
  expect(await last).toEqual(end);
  const [failing, failed] = mpsc.channel<number>(1);
  const broken = toReadableStream(failed).getReader().read();
  failing.close(new RangeError('producer'));
  await expect(broken).rejects.toThrow('producer');
});

test('toReadableStream() that is cancelled closes the receiver and takes no value', async () => {
  const [tx, rx] = mpsc.channel<number>(8);
  const reader = toReadableStream(rx).getReader();
  const read = reader.read();
  await drained();
  await reader.cancel('enough');
  expect(await read).toEqual(end);
  expect(() => tx.trySend(1)).toThrow(closedError);
  const [again, kept] = mpsc.channel<number>(2);
  again.trySend(1);
  for await (const value of toReadableStream(kept)) {
    expect(value).toBe(1);
    break;
  }
  expect(kept.isClosed).toBe(true);
});

test('fromReadableStream() keeps to the pace of the receiver, passes failures, cancels when it closes', async () => {
  let pulled = 0;
  let cancelled = false;
  const stream = new ReadableStream<number>(
    {
      pull(controller) {
        controller.enqueue(pulled++);
      },
      cancel() {
        cancelled = true;
      },
    },
    { highWaterMark: 0 },
  );
  const rx = fromReadableStream(stream, { capacity: 2 });
  await drained();
  expect(pulled).toBe(3);
  expect([await rx.recv(), await rx.recv()]).toEqual([item(0), item(1)]);
  rx.close();
  await drained();
  expect([cancelled, stream.locked]).toEqual([true, false]);
  const broken = new ReadableStream<number>({
    pull(controller) {
      if (pulled++ > 5) controller.error(new RangeError('stream'));
      else controller.enqueue(1);
    },
  });
  const failing = fromReadableStream(broken);
  await expect(
    (async () => {
      for await (const _ of failing);
    })(),
  ).rejects.toThrow('stream');
});

test('toWritableStream() waits for room, and closes or aborts the sender', async () => {
  const [tx, rx] = mpsc.channel<number>(1);
  const writer = toWritableStream(tx).getWriter();
  await writer.write(1);
  const second = writer.write(2);
  expect(await stateOf(second)).toBe('pending');
  expect(await rx.recv()).toEqual(item(1));
  await second;
  await writer.close();
  expect([await rx.recv(), await rx.recv()]).toEqual([item(2), end]);
  const [failing, failed] = mpsc.channel<number>(1);
  const aborted = toWritableStream(failing).getWriter();
  await aborted.write(1);
  const blocked = aborted.write(2);
  blocked.catch(() => {});
  await drained();
  await aborted.abort(new RangeError('stop'));
  await expect(blocked).rejects.toThrow('stop');
  expect(await failed.recv()).toEqual(item(1));
  await expect(failed.recv()).rejects.toThrow('stop');
});

test('toWritableStream() fails when the receiver goes', async () => {
  const [tx, rx] = mpsc.channel<number>(1);
  const writer = toWritableStream(tx).getWriter();
  rx.close();
  await expect(writer.closed).rejects.toEqual(closedError);
  await expect(writer.write(1)).rejects.toEqual(closedError);
});

test('fromWritableStream() writes in order at the pace of the stream, closes it, and fails with it', async () => {
  const written: number[] = [];
  let closed = false;
  const tx = fromWritableStream(
    new WritableStream<number>({
      async write(value) {
        await turn();
        written.push(value);
      },
      close() {
        closed = true;
      },
    }),
  );
  for (let i = 0; i < 5; i++) await tx.send(i);
  tx.close();
  for (let i = 0; i < 20 && !closed; i++) await turn();
  expect([written, closed]).toEqual([[0, 1, 2, 3, 4], true]);
  const unheard = await unheardOf(async () => {
    const failing = fromWritableStream(
      new WritableStream<number>({
        write() {
          throw new RangeError('disk');
        },
      }),
    );
    await failing.send(1);
    await failing.closed();
    await expect(failing.send(2)).rejects.toEqual(closedError);
    let reason: unknown;
    const aborting = fromWritableStream(
      new WritableStream<number>({
        abort(given) {
          reason = given;
        },
      }),
    );
    aborting.close('why');
    await drained();
    expect(reason).toBe('why');
  });
  expect(unheard).toEqual([]);
});

test('a pipe through web streams from channel to channel keeps order and back-pressure', async () => {
  const [tx, rx] = mpsc.channel<number>(4);
  const [out, sink] = mpsc.channel<number>(4);
  const double = new TransformStream<number, number>({
    transform(value, controller) {
      controller.enqueue(value * 2);
    },
  });
  const piped = toReadableStream(rx).pipeThrough(double).pipeTo(toWritableStream(out));
  const produced = (async () => {
    for (let i = 0; i < 1_000; i++) await tx.send(i);
    tx.close();
  })();
  let sum = 0;
  for await (const value of sink) sum += value;
  await Promise.all([piped, produced]);
  expect(sum).toBe(999_000);
});
