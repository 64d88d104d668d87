import { PassThrough, Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { expect, test } from 'vitest';
import { mpsc } from '../../src/channels/index.js';
import { fromNodeReadable, fromNodeWritable, toNodeReadable, toNodeWritable } from '../../src/channels/stream/node.js';
import { drained } from '../support/settlement.js';

const item = <T>(value: T) => ({ done: false, value });
const closedError = expect.objectContaining({ code: 'ERR_CHANNEL_CLOSED' });

test('toNodeReadable() receives what is read, ends with the channel and fails with it', async () => {
  const [tx, rx] = mpsc.channel<number>(8);
  for (let i = 0; i < 3; i++) tx.trySend(i);
  const stream = toNodeReadable(rx);
  await drained();
  expect(rx.len).toBe(3);
  const seen: number[] = [];
  setImmediate(() => tx.close());
  for await (const value of stream) seen.push(value);
  expect(seen).toEqual([0, 1, 2]);
  const [failing, failed] = mpsc.channel<number>(1);
  failing.close(new RangeError('producer'));
  await expect(
    (async () => {
      for await (const _ of toNodeReadable(failed));
    })(),
  ).rejects.toThrow('producer');
});

test('toNodeReadable() that is destroyed closes the receiver, and null is refused', async () => {
  const [tx, rx] = mpsc.channel<number | null>(8);
  const stream = toNodeReadable(rx);
  stream.resume();
  await drained();
  stream.destroy();
  await drained();
  expect(() => tx.trySend(1)).toThrow(closedError);
  const [nulls, received] = mpsc.channel<null>(1);
  nulls.trySend(null);
  await expect(
    (async () => {
      for await (const _ of toNodeReadable(received));
    })(),
  ).rejects.toThrow('Cannot read: a Node stream cannot carry null');
});

test('fromNodeReadable() reads at the pace of the receiver, passes failures, destroys when it closes', async () => {
  const rx = fromNodeReadable<number>(Readable.from([1, 2, 3]));
  expect([await rx.recv(), await rx.recv(), await rx.recv()]).toEqual([item(1), item(2), item(3)]);
  expect((await rx.recv()).done).toBe(true);
  const endless = new PassThrough({ objectMode: true });
  endless.write(1);
  const early = fromNodeReadable<number>(endless);
  await early.recv();
  early.close();
  await drained();
  expect(endless.destroyed).toBe(true);
  const broken = new PassThrough({ objectMode: true });
  const failing = fromNodeReadable<number>(broken);
  broken.write(1);
  await drained();
  broken.destroy(new RangeError('file'));
  await expect(
    (async () => {
      for await (const _ of failing);
    })(),
  ).rejects.toThrow('file');
});

test('toNodeWritable() waits for room, ends, and is destroyed when the receiver goes', async () => {
  const [tx, rx] = mpsc.channel<number>(1);
  const stream = toNodeWritable(tx);
  let accepted = 0;
  for (let i = 0; i < 3; i++) stream.write(i, () => accepted++);
  await drained();
  expect(accepted).toBe(1);
  stream.end();
  const seen: number[] = [];
  for await (const value of rx) seen.push(value);
  expect(seen).toEqual([0, 1, 2]);
  const [gone, receiver] = mpsc.channel<number>(1);
  const left = toNodeWritable(gone);
  const error = new Promise((resolve) => left.on('error', resolve));
  receiver.close();
  expect(await error).toEqual(closedError);
  const [failing, failed] = mpsc.channel<number>(1);
  const destroyed = toNodeWritable(failing);
  destroyed.on('error', () => {});
  destroyed.destroy(new RangeError('stop'));
  await expect(failed.recv()).rejects.toThrow('stop');
});

test('fromNodeWritable() writes in order at the pace of the stream, ends it, and fails with it', async () => {
  const written: number[] = [];
  const slow = new Writable({
    objectMode: true,
    highWaterMark: 1,
    write(value, _encoding, done) {
      written.push(value);
      setImmediate(done);
    },
  });
  const tx = fromNodeWritable<number>(slow);
  for (let i = 0; i < 5; i++) await tx.send(i);
  tx.close();
  await new Promise((resolve) => slow.on('finish', resolve));
  expect(written).toEqual([0, 1, 2, 3, 4]);
  const failing = new Writable({
    objectMode: true,
    write(_value, _encoding, done) {
      done(new RangeError('disk'));
    },
  });
  const error = new Promise((resolve) => failing.on('error', resolve));
  const sender = fromNodeWritable<number>(failing);
  await sender.send(1);
  expect(await error).toBeInstanceOf(RangeError);
  await sender.closed();
  await expect(sender.send(2)).rejects.toEqual(closedError);
  const never = new Writable({ objectMode: true, highWaterMark: 1, write() {} });
  const blocked = fromNodeWritable<number>(never);
  await blocked.send(1);
  await drained();
  never.destroy();
  await blocked.closed();
});

test('a Node pipeline from channel to channel keeps order', async () => {
  const [tx, rx] = mpsc.channel<number>(4);
  const [out, sink] = mpsc.channel<number>(4);
  const piped = pipeline(toNodeReadable(rx), new PassThrough({ objectMode: true }), toNodeWritable(out));
  const produced = (async () => {
    for (let i = 0; i < 500; i++) await tx.send(i);
    tx.close();
  })();
  let sum = 0;
  for await (const value of sink) sum += value;
  await Promise.all([piped, produced]);
  expect(sum).toBe(124_750);
});
