import { fork } from 'node:child_process';
import { once } from 'node:events';
import { setImmediate as macrotask } from 'node:timers/promises';
import { MessageChannel, Worker } from 'node:worker_threads';
import { afterEach, describe, expect, it } from 'vitest';
import { FullError, reserving, select, SendError } from '../../../src/channels/index.js';
import { type Bridge, bridge, PortClosedError, PortProtocolError } from '../../../src/channels/port/index.js';
import { until } from '../../support/until.js';
import { reasonOf, stateOf } from '../../support/settlement.js';

const opened: Bridge[] = [];
afterEach(() => {
  for (const each of opened.splice(0)) each.close();
});

/** Two bridges over a real message channel. */
function bridges(): [Bridge, Bridge, MessageChannel] {
  const channel = new MessageChannel();
  const pair = [bridge(channel.port1), bridge(channel.port2)] as const;
  opened.push(...pair);
  return [...pair, channel];
}

/** Lets what was posted arrive, and its answer, and the answer to that. */
async function arrived(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await macrotask();
}

describe('capacity across a port', () => {
  it('a sender has the whole capacity before the other end exists', async () => {
    const [here, there] = bridges();
    const tx = here.sender<number>(2);
    tx.trySend(1);
    tx.trySend(2);
    expect(() => tx.trySend(3)).toThrow(FullError);
    await arrived();
    const rx = there.receiver<number>(2);
    expect([await rx.recv(), await rx.recv()].map(({ value }) => value)).toEqual([1, 2]);
  });

  it('no more than the capacity is sent and not received, however slow the receiver is', async () => {
    const [here, there] = bridges();
    const [tx, rx] = [here.sender<number>(4), there.receiver<number>(4)];
    let sent = 0;
    const task = (async () => {
      for (; sent < 50; sent++) await tx.send(sent);
      tx.close();
    })();
    await arrived();
    expect(sent).toBe(4);
    expect(rx.len).toBe(4);
    for (let received = 1; received <= 50; received++) {
      expect((await rx.recv()).value).toBe(received - 1);
      await arrived();
      expect(sent).toBe(Math.min(50, received + 4));
    }
    await task;
    expect(await rx.recv()).toEqual({ done: true, value: undefined });
  });

  it('a permit holds a slot, and gives it back', async () => {
    const [here, there] = bridges();
    const [tx, rx] = [here.sender<string>(1), there.receiver<string>(1)];
    const permit = await tx.reserve();
    expect(() => tx.tryReserve()).toThrow(FullError);
    permit.release();
    const again = tx.tryReserve();
    const blocked = tx.send('blocked');
    again.send('first');
    expect((await rx.recv()).value).toBe('first');
    await blocked;
    expect((await rx.recv()).value).toBe('blocked');
  });

  it('reserveMany gathers slots as they come back', async () => {
    const [here, there] = bridges();
    const [tx, rx] = [here.sender<number>(3), there.receiver<number>(3)];
    for (const value of [1, 2, 3]) tx.trySend(value);
    const permits = tx.reserveMany(2);
    expect((await rx.recv()).value).toBe(1);
    await arrived();
    expect(await stateOf(permits)).toBe('pending');
    expect((await rx.recv()).value).toBe(2);
    expect((await permits).len).toBe(2);
  });

  it('an aborted send leaves its place to the next', async () => {
    const [here, there] = bridges();
    const [tx, rx] = [here.sender<number>(1), there.receiver<number>(1)];
    tx.trySend(1);
    const abort = new AbortController();
    const [given, kept] = [tx.send(2, { signal: abort.signal }), tx.send(3)];
    abort.abort('no longer');
    expect(await reasonOf(given)).toBe('no longer');
    expect((await rx.recv()).value).toBe(1);
    await kept;
    expect((await rx.recv()).value).toBe(3);
  });
});

describe('select across a port', () => {
  it('a receiver and a reservation are arms like any other', async () => {
    const [here, there] = bridges();
    const [tx, rx] = [here.sender<number>(1), there.receiver<number>(1)];
    tx.trySend(1);
    const won = await select({
      room: reserving(tx),
      signal: AbortSignal.timeout(10_000),
      never: new Promise(() => {}),
      value: rx,
    });
    expect(won).toMatchObject({ arm: 'value', value: 1 });
    const next = await select({ room: reserving(tx), value: rx });
    expect(next.arm).toBe('room');
    if (next.arm === 'room') next.value.send(2);
    expect((await rx.recv()).value).toBe(2);
  });

  it('a receive that lost in select has taken nothing', async () => {
    const [here, there] = bridges();
    const [tx, rx] = [here.sender<number>(1), there.receiver<number>(1)];
    for (let value = 0; value < 20; value++) {
      await select({ rx, now: Promise.resolve('now') });
      await tx.send(value);
      expect((await rx.recv()).value).toBe(value);
    }
  });
});

describe('closing across a port', () => {
  it('the end comes after the last sender, permit and blocked send', async () => {
    const [here, there] = bridges();
    const [tx, rx] = [here.sender<number>(2), there.receiver<number>(2)];
    const permit = await tx.reserve();
    tx.trySend(1);
    const blocked = tx.send(2);
    tx.close();
    expect((await rx.recv()).value).toBe(1);
    await blocked;
    expect((await rx.recv()).value).toBe(2);
    const last = rx.recv();
    await arrived();
    expect(await stateOf(last)).toBe('pending');
    permit.send(3);
    expect((await last).value).toBe(3);
    expect(await rx.recv()).toEqual({ done: true, value: undefined });
  });

  it('the reason of a sender crosses, with the name and the code of its class', async () => {
    const [here, there] = bridges();
    const [tx, rx] = [here.sender<number>(2), there.receiver<number>(2)];
    tx.trySend(1);
    tx.close(new FullError('the disk is full', 'value'));
    expect((await rx.recv()).value).toBe(1);
    expect(await reasonOf(rx.recv())).toMatchObject({
      name: 'FullError',
      code: 'ERR_CHANNEL_FULL',
      message: 'the disk is full',
    });
  });

  it.each([() => 1, Symbol('reason')])('a reason that cannot be cloned still ends the channel: %s', async (reason) => {
    const [here, there] = bridges();
    const [tx, rx] = [here.sender<number>(2), there.receiver<number>(2)];
    tx.close(reason);
    expect(await reasonOf(rx.recv())).toBeInstanceOf(Error);
  });

  it('a receiver that closes refuses new sends, and takes those of permits', async () => {
    const [here, there] = bridges();
    const [tx, rx] = [here.sender<string>(3), there.receiver<string>(3)];
    const permit = await tx.reserve();
    tx.trySend('before');
    await arrived();
    rx.close();
    await tx.closed();
    expect(await reasonOf(tx.send('after'))).toBeInstanceOf(SendError);
    expect((await rx.recv()).value).toBe('before');
    const last = rx.recv();
    await arrived();
    expect(await stateOf(last)).toBe('pending');
    permit.send('reserved');
    expect((await last).value).toBe('reserved');
    expect(await rx.recv()).toEqual({ done: true, value: undefined });
    await arrived();
  });

  it('a receiver that closes ends at once when nothing is on the way', async () => {
    const [here, there] = bridges();
    const [tx, rx] = [here.sender<string>(3), there.receiver<string>(3)];
    await arrived();
    rx.close();
    expect(await rx.recv()).toEqual({ done: true, value: undefined });
    expect(tx.isClosed).toBe(true);
  });

  it('both ends hear of values that nobody receives', async () => {
    const [here, there] = bridges();
    const [lost, dropped]: [string[], string[]] = [[], []];
    const tx = here.sender<string>(3, { onUndelivered: (value) => lost.push(value) });
    const rx = there.receiver<string>(3, { onUndelivered: (value) => dropped.push(value) });
    for (const value of ['read', 'left', 'late']) tx.trySend(value);
    expect((await rx.recv()).value).toBe('read');
    await arrived();
    const permit = await tx.reserve();
    rx[Symbol.dispose]();
    await tx.closed();
    permit.send('on a permit');
    await until('the values that came back', () => lost.length === 3);
    expect(dropped).toEqual(lost);
    expect(lost).toEqual(['left', 'late', 'on a permit']);
  });

  it('a name can be used again when its channel is over', async () => {
    const [here, there] = bridges();
    for (let round = 0; round < 3; round++) {
      const [tx, rx] = [here.sender<number>(2, { name: 'again' }), there.receiver<number>(2, { name: 'again' })];
      expect(() => here.sender(2, { name: 'again' })).toThrow(/already sends on channel 'again'/);
      tx.trySend(round);
      tx.close();
      expect((await rx.recv()).value).toBe(round);
      expect((await rx.recv()).done).toBe(true);
      if (round === 1) rx[Symbol.dispose]();
      await arrived();
    }
  });
});

describe('values across a port', () => {
  it('a value that cannot be cloned fails its own send, and leaves its slot', async () => {
    const [here, there] = bridges();
    const [tx, rx] = [here.sender<unknown>(1), there.receiver<unknown>(1)];
    expect(() => tx.trySend(() => 1)).toThrow(/could not be cloned/);
    expect(await reasonOf(tx.send(() => 1))).toMatchObject({ name: 'DataCloneError' });
    await tx.send('fits');
    const blocked = tx.send(() => 1);
    const behind = tx.send('behind');
    expect((await rx.recv()).value).toBe('fits');
    expect(await reasonOf(blocked)).toMatchObject({ name: 'DataCloneError' });
    await behind;
    expect((await rx.recv()).value).toBe('behind');
  });

  it('a buffer is copied, and moved where the transfer list names it', async () => {
    const [here, there] = bridges();
    const copied = here.sender<Uint8Array>(1, { name: 'copied' });
    const moved = here.sender<Uint8Array>(1, { name: 'moved', transfer: (value) => [value.buffer] });
    const kept = new Uint8Array([1, 2]);
    const given = new Uint8Array([3, 4]);
    copied.trySend(kept);
    moved.trySend(given);
    expect([kept.byteLength, given.byteLength]).toEqual([2, 0]);
    expect((await there.receiver<Uint8Array>(1, { name: 'copied' }).recv()).value).toEqual(new Uint8Array([1, 2]));
    expect((await there.receiver<Uint8Array>(1, { name: 'moved' }).recv()).value).toEqual(new Uint8Array([3, 4]));
  });

  it('a port can be sent, and bridged by who receives it', async () => {
    const [here, there] = bridges();
    const inner = new MessageChannel();
    here.sender<MessageChannel['port1']>(1, { transfer: (port) => [port] }).trySend(inner.port2 as never);
    const got = (await there.receiver<MessageChannel['port1']>(1).recv()).value as MessageChannel['port1'];
    const [inside, outside] = [bridge(got), bridge(inner.port1)];
    opened.push(inside, outside);
    outside.sender<number>(1).trySend(5);
    expect((await inside.receiver<number>(1).recv()).value).toBe(5);
  });

  it('other messages of the port are left to their owner', async () => {
    const [here, there, { port1, port2 }] = bridges();
    const seen: unknown[] = [];
    port2.on('message', (data) => seen.push(data));
    port1.postMessage({ mine: true });
    here.sender<number>(1).trySend(1);
    expect((await there.receiver<number>(1).recv()).value).toBe(1);
    expect(seen).toContainEqual({ mine: true });
  });
});

describe('a bridge', () => {
  it('is one for each port', () => {
    const { port1 } = new MessageChannel();
    expect(bridge(port1)).toBe(bridge(port1));
    opened.push(bridge(port1));
  });

  it.each([undefined, null, 5, {}, { postMessage() {} }, { on() {} }])('refuses what is no port: %s', (port) => {
    expect(() => bridge(port as never)).toThrow(TypeError);
  });

  it('that is closed ends its channels at both sides', async () => {
    const [here, there] = bridges();
    const lost: number[] = [];
    const tx = here.sender<number>(2, { name: 'there', onUndelivered: (value) => lost.push(value) });
    const rx = there.receiver<number>(2, { name: 'there' });
    const waiting = here.receiver<number>(2, { name: 'back' }).recv();
    tx.trySend(1);
    await arrived();
    there.close();
    expect(await reasonOf(waiting)).toBeInstanceOf(PortClosedError);
    expect(lost).toEqual([1]);
    expect(await reasonOf(tx.send(2))).toBeInstanceOf(SendError);
    expect((await rx.recv()).value).toBe(1);
    expect(await reasonOf(rx.recv())).toMatchObject({ code: 'ERR_PORT_CLOSED' });
    expect(() => here.sender(1)).toThrow(PortClosedError);
  });

  it('whose port is closed says so to both ends', async () => {
    const [here, there, { port2 }] = bridges();
    const lost: number[] = [];
    const tx = here.sender<number>(1, { onUndelivered: (value) => lost.push(value) });
    const rx = there.receiver<number>(1);
    tx.trySend(1);
    const blocked = tx.send(2);
    await arrived();
    port2.close();
    expect(await reasonOf(blocked)).toBeInstanceOf(SendError);
    expect(lost).toEqual([1]);
    expect((await rx.recv()).value).toBe(1);
    expect(await reasonOf(rx.recv())).toBeInstanceOf(PortClosedError);
  });

  it('ends a channel whose two ends differ in capacity, and no other', async () => {
    const [here, there] = bridges();
    const tx = here.sender<number>(2, { name: 'a' });
    const rx = there.receiver<number>(3, { name: 'a' });
    const [fine, good] = [here.sender<number>(2, { name: 'b' }), there.receiver<number>(2, { name: 'b' })];
    expect(await reasonOf(rx.recv())).toBeInstanceOf(PortProtocolError);
    await tx.closed();
    fine.trySend(1);
    expect((await good.recv()).value).toBe(1);
  });

  it('carries channels to a thread and back, in order', async () => {
    const worker = new Worker(new URL('./fixtures/double.mjs', import.meta.url));
    const over = bridge(worker);
    const [tx, rx] = [over.sender<number>(4, { name: 'numbers' }), over.receiver<number>(4, { name: 'doubled' })];
    const task = tx.sendMany(Array.from({ length: 500 }, (_, at) => at)).then(() => tx.close());
    const seen: number[] = [];
    for await (const value of rx) seen.push(value);
    await task;
    expect(seen).toEqual(Array.from({ length: 500 }, (_, at) => at * 2));
    // With its channels over, nothing holds the thread.
    await once(worker, 'exit');
    expect(over.isClosed).toBe(true);
  });

  it.each(['terminate', 'exit'] as const)('hands back what a thread that dies has not taken: %s', async (way) => {
    const worker = new Worker(new URL('./fixtures/double.mjs', import.meta.url));
    const over = bridge(worker);
    const lost: unknown[] = [];
    const tx = over.sender<unknown>(4, { name: 'numbers', onUndelivered: (value) => lost.push(value) });
    const rx = over.receiver<number>(4, { name: 'doubled' });
    await tx.send(1);
    expect((await rx.recv()).value).toBe(2);
    if (way === 'exit') await tx.send('die');
    for (const value of [2, 3]) await tx.send(value);
    if (way === 'terminate') await worker.terminate();
    await tx.closed();
    expect(lost.slice(-2)).toEqual([2, 3]);
    expect(await reasonOf(rx.forEach(() => {}))).toBeInstanceOf(PortClosedError);
    expect(await reasonOf(tx.send(5))).toBeInstanceOf(SendError);
  });

  it.each(['advanced', 'json'] as const)('carries channels to a process and back: %s', async (serialization) => {
    const child = fork(new URL('./fixtures/double.mjs', import.meta.url), { serialization });
    const over = bridge(child);
    const [tx, rx] = [over.sender<number>(4, { name: 'numbers' }), over.receiver<number>(4, { name: 'doubled' })];
    const task = tx.sendMany([1, 2, 3, 4, 5, 6]).then(() => tx.close());
    const seen: number[] = [];
    for await (const value of rx) seen.push(value);
    await task;
    expect(seen).toEqual([2, 4, 6, 8, 10, 12]);
    await until('the end of the process', () => over.isClosed);
  });

  it('hands back what a killed process has not taken', async () => {
    const child = fork(new URL('./fixtures/double.mjs', import.meta.url));
    const over = bridge(child);
    const lost: unknown[] = [];
    const tx = over.sender<unknown>(4, { name: 'numbers', onUndelivered: (value) => lost.push(value) });
    const rx = over.receiver<number>(4, { name: 'doubled' });
    await tx.send(1);
    expect((await rx.recv()).value).toBe(2);
    child.kill('SIGSTOP');
    for (let value = 2; value < 5; value++) tx.trySend(value);
    child.kill('SIGKILL');
    await tx.closed();
    expect(lost.slice(-3)).toEqual([2, 3, 4]);
    expect(await reasonOf(rx.recv())).toBeInstanceOf(PortClosedError);
    expect(() => over.sender(1, { name: 'x', transfer: () => [] })).toThrow(TypeError);
  });
});
