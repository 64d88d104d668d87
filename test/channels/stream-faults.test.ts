import { Duplex, PassThrough, Writable, type WritableOptions } from 'node:stream';
import { expect, test } from 'vitest';
import { fromAsyncIterable, fromReadableStream, fromWritableStream, type mpsc } from '../../src/channels/index.js';
import { fromNodeReadable, fromNodeWritable } from '../../src/channels/stream/node.js';
import { drained, turn, unheardOf } from '../support/settlement.js';

const upTo = (count: number): number[] => Array.from({ length: count }, (_, n) => n + 1);

async function sendAll(tx: mpsc.Sender<number>, values: readonly number[]): Promise<number[]> {
  const accepted: number[] = [];
  for (const value of values) {
    await tx.send(value).then(
      () => accepted.push(value),
      () => {},
    );
  }
  return accepted;
}

type Made = (written: number[], onUndelivered: (value: number) => void, capacity: number) => mpsc.Sender<number>;

/** Sinks that fail at the fifth value, each with a buffer of its own. */
const sinks: Record<string, Made> = {
  'a web stream': webSink((written) => ({
    async write(value) {
      await turn();
      if (value === 5) throw new Error('disk');
      written.push(value);
    },
  })),
  'a web stream that does not start': webSink(() => ({
    start: () => turn().then(() => Promise.reject(new Error('no'))),
  })),
  'a Node stream': nodeSink((written) => ({
    write(value: number, _encoding, done) {
      setImmediate(() => {
        if (value === 5) return done(new Error('disk'));
        written.push(value);
        done();
      });
    },
  })),
  'a Node stream that writes many at once': nodeSink((written) => ({
    writev(chunks, done) {
      setImmediate(() => {
        if (chunks.some(({ chunk }) => chunk >= 5)) return done(new Error('disk'));
        for (const { chunk } of chunks) written.push(chunk);
        done();
      });
    },
  })),
  'a Node stream that is destroyed in the middle of a write': nodeSink((written) => ({
    write(this: Writable, value: number, _encoding, done) {
      if (value === 5) return void setImmediate(() => this.destroy(new Error('disk')));
      written.push(value);
      setImmediate(done);
    },
  })),
  'a Node stream that is destroyed, and completes the write under way': nodeSink((written) => ({
    write(this: Writable, value: number, _encoding, done) {
      written.push(value);
      setImmediate(done);
      if (value === 5) this.destroy();
    },
  })),
  'a Node stream whose write throws': nodeSink(() => ({
    highWaterMark: 16,
    write() {
      throw new Error('disk');
    },
  })),
  'a Node stream that cannot be opened': nodeSink(() => ({
    construct: (done) => void setImmediate(done, new Error('ENOENT')),
    write() {},
  })),
  'a Node stream that is destroyed without an error before it was opened': (_, onUndelivered, capacity) => {
    let opened: () => void = () => {};
    const stream = new Duplex({
      objectMode: true,
      highWaterMark: 6,
      construct: (done) => {
        opened = done;
      },
      read() {},
      write() {},
    });
    void turn().then(() => {
      stream.destroy();
      opened();
    });
    return fromNodeWritable(stream, { capacity, onUndelivered });
  },
};

function webSink(make: (written: number[]) => ConstructorParameters<typeof WritableStream<number>>[0]): Made {
  return (written, onUndelivered, capacity) =>
    fromWritableStream(new WritableStream<number>(make(written), { highWaterMark: 6 }), { capacity, onUndelivered });
}

function nodeSink(make: (written: number[]) => WritableOptions): Made {
  return (written, onUndelivered, capacity) => {
    const stream = new Writable({ objectMode: true, highWaterMark: 6, ...make(written) });
    stream.on('error', () => {});
    return fromNodeWritable(stream, { capacity, onUndelivered });
  };
}

test.each(Object.entries(sinks))(
  '%s that fails gives back every accepted value that it has not written',
  async (_, make) => {
    for (const capacity of [1, 3, 20]) {
      const unheard = await unheardOf(async () => {
        const written: number[] = [];
        const lost: number[] = [];
        const tx = make(written, (value) => lost.push(value), capacity);
        const accepted = await sendAll(tx, upTo(20));
        await tx.closed();
        await drained();
        expect([...written, ...lost].sort((a, b) => a - b)).toEqual(accepted);
        await expect(tx.send(0)).rejects.toMatchObject({ code: 'ERR_CHANNEL_CLOSED', value: 0 });
      });
      expect(unheard).toEqual([]);
    }
  },
);

test('fromNodeWritable() gives back a value that a stream cannot carry', async () => {
  const lost: unknown[] = [];
  const stream = new PassThrough({ objectMode: true });
  stream.on('error', () => {});
  const tx = fromNodeWritable<unknown>(stream, { capacity: 4, onUndelivered: (value) => lost.push(value) });
  for (const value of [null, 1]) await tx.send(value);
  await tx.closed();
  expect(lost).toEqual([null, 1]);
});

test('fromNodeWritable() and fromWritableStream() that end well give nothing back', async () => {
  const lost: number[] = [];
  const onUndelivered = (value: number): void => void lost.push(value);
  const written: number[] = [];
  const node = new Writable({
    objectMode: true,
    highWaterMark: 6,
    write(value: number, _encoding, done) {
      written.push(value);
      setImmediate(done);
    },
  });
  const tx = fromNodeWritable<number>(node, { capacity: 3, onUndelivered });
  await sendAll(tx, upTo(20));
  tx.close();
  await new Promise((resolve) => node.on('close', resolve));
  const web = fromWritableStream(new WritableStream<number>({ write: (value) => void written.push(value) }), {
    onUndelivered,
  });
  await sendAll(web, upTo(20));
  web.close();
  await drained();
  expect([written, lost]).toEqual([[...upTo(20), ...upTo(20)], []]);
});

/** Iterators whose `return()` is not what it should be. */
const returns: Record<string, () => unknown> = {
  throws: () => {
    throw new Error('return');
  },
  rejects: () => Promise.reject(new Error('return')),
  'answers undefined': () => undefined,
  'answers a number': () => 5,
  'answers a promise of nothing': () => Promise.resolve(),
};

function iterableWith(end: () => unknown): AsyncIterable<number> {
  let n = 0;
  return { [Symbol.asyncIterator]: () => ({ next: async () => ({ done: false, value: ++n }), return: end as never }) };
}

test.each(Object.entries(returns))(
  'fromAsyncIterable() whose return() %s fails those who still receive',
  async (_, end) => {
    const unheard = await unheardOf(async () => {
      const rx = fromAsyncIterable(iterableWith(end), { capacity: 2 });
      expect(await rx.recv()).toEqual({ done: false, value: 1 });
      await drained();
      rx.close();
      await drained();
      const rest: unknown[] = [];
      await expect(
        (async () => {
          for await (const value of rx) rest.push(value);
        })(),
      ).rejects.toMatchObject({ code: 'ERR_STREAM_SOURCE', cause: expect.any(Error) });
      expect(rest).toEqual([2, 3]);
      fromAsyncIterable(iterableWith(end))[Symbol.dispose]();
    });
    expect(unheard).toEqual([]);
  },
);

test('fromAsyncIterable() takes a return() that answers a result without a promise, or is missing', async () => {
  const unheard = await unheardOf(async () => {
    for (const end of [() => ({ done: true, value: undefined }), undefined]) {
      const rx = fromAsyncIterable(iterableWith(end as never));
      expect(await rx.recv()).toEqual({ done: false, value: 1 });
      rx.close();
      await drained();
      while (!(await rx.recv()).done);
    }
  });
  expect(unheard).toEqual([]);
});

test.each([5, undefined, null, 'text'])(
  'fromAsyncIterable() whose next() answers %s fails its receiver',
  async (answer) => {
    const rx = fromAsyncIterable<number>({ [Symbol.asyncIterator]: () => ({ next: (async () => answer) as never }) });
    await expect(rx.recv()).rejects.toMatchObject({ code: 'ERR_STREAM_SOURCE' });
    const thrown = fromAsyncIterable<number>({
      [Symbol.asyncIterator]: () => ({
        next() {
          throw new RangeError('next');
        },
      }),
    });
    await expect(thrown.recv()).rejects.toThrow(new RangeError('next'));
    expect(() => fromAsyncIterable({ [Symbol.asyncIterator]: () => ({}) as never })).toThrow(TypeError);
  },
);

test('fromReadableStream() and fromNodeReadable() survive a source that cannot be let go of', async () => {
  const unheard = await unheardOf(async () => {
    const web = new ReadableStream<number>({
      pull: (controller) => controller.enqueue(1),
      cancel: () => {
        throw new Error('cancel');
      },
    });
    const rx = fromReadableStream(web);
    await rx.recv();
    rx[Symbol.dispose]();
    const node = new PassThrough({ objectMode: true });
    node.destroy = () => {
      throw new Error('destroy');
    };
    const other = fromNodeReadable<number>(node);
    other.close();
    await drained();
    await expect(other.recv()).rejects.toMatchObject({ code: 'ERR_STREAM_SOURCE' });
  });
  expect(unheard).toEqual([]);
});
