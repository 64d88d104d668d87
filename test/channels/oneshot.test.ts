import { describe, expect, it } from 'vitest';
import { oneshot, RecvError } from '../../src/channels/index.js';
import { drained, reasonOf, stateOf, unheardOf } from '../support/settlement.js';

describe('oneshot', () => {
  it('Receiver.recv() is pending until the send, which wakes it', async () => {
    const [tx, rx] = oneshot.channel<number>();
    const waiting = rx.recv();
    expect(await stateOf(waiting)).toBe('pending');
    expect(tx.send(1)).toBe(true);
    expect(await waiting).toBe(1);
  });

  it('Receiver.recv() resolves at once after the send', async () => {
    const [tx, rx] = oneshot.channel<undefined>();
    tx.send(undefined);
    expect(await rx.recv()).toBe(undefined);
  });

  it('closing the sender unsent rejects the receiver', async () => {
    const [tx, rx] = oneshot.channel();
    const waiting = reasonOf(rx.recv());
    tx.close();
    tx[Symbol.dispose]();
    expect(await waiting).toBeInstanceOf(RecvError);
    expect(await reasonOf(rx.recv())).toMatchObject({ code: 'ERR_CHANNEL_CLOSED' });
    expect(tx.send(1)).toBe(false);
  });

  it('Sender.send() is false when the receiver is gone', () => {
    const [tx, rx] = oneshot.channel<number>();
    rx[Symbol.dispose]();
    expect(tx.send(1)).toBe(false);
    expect(tx.isClosed).toBe(true);
  });

  it('Sender.closed() is pending while the receiver lives, and wakes when it closes', async () => {
    for (const leave of ['close', 'drop'] as const) {
      const [tx, rx] = oneshot.channel<number>();
      const closed = tx.closed();
      const controller = new AbortController();
      const abandoned = reasonOf(tx.closed({ signal: controller.signal }));
      expect(await stateOf(closed)).toBe('pending');
      expect(tx.isClosed).toBe(false);
      controller.abort('no');
      expect(await abandoned).toBe('no');
      if (leave === 'close') rx.close();
      else rx[Symbol.dispose]();
      await closed;
      await tx.closed();
      expect(tx.isClosed).toBe(true);
      expect(tx.send(1)).toBe(false);
      expect(await reasonOf(rx.recv())).toBeInstanceOf(RecvError);
    }
  });

  it('Receiver.close() after the send leaves the value', async () => {
    const [tx, rx] = oneshot.channel<number>();
    tx.send(1);
    rx.close();
    expect(await rx.recv()).toBe(1);
  });

  it('Receiver.tryRecv() gives empty, the value once, then closed', () => {
    const [tx, rx] = oneshot.channel<number>();
    expect(rx.tryRecv()).toEqual({ state: 'empty' });
    tx.send(1);
    rx.close();
    expect(rx.tryRecv()).toEqual({ state: 'ok', value: 1 });
    expect(rx.tryRecv()).toEqual({ state: 'closed' });
    const [, other] = oneshot.channel<number>();
    other.close();
    expect(other.tryRecv()).toEqual({ state: 'closed' });
  });

  it('Receiver.close() after the value was taken is harmless', async () => {
    const [tx, rx] = oneshot.channel<number>();
    tx.send(1);
    await rx.recv();
    rx.close();
    expect(rx.tryRecv()).toEqual({ state: 'closed' });
    expect(await reasonOf(rx.recv())).toBeInstanceOf(RecvError);
  });

  it('Receiver.isTerminated turns true when the outcome is taken', async () => {
    const [tx, rx] = oneshot.channel<number>();
    expect(rx.isTerminated).toBe(false);
    tx.send(1);
    expect(rx.isTerminated).toBe(false);
    await rx.recv();
    expect(rx.isTerminated).toBe(true);
    const [dropped, unsent] = oneshot.channel<number>();
    dropped.close();
    expect(unsent.isTerminated).toBe(false);
    await reasonOf(unsent.recv());
    expect(unsent.isTerminated).toBe(true);
    const [, closed] = oneshot.channel<number>();
    closed.close();
    expect(closed.isTerminated).toBe(false);
    closed.tryRecv();
    expect(closed.isTerminated).toBe(true);
  });

  it('Receiver.isEmpty', () => {
    const [tx, rx] = oneshot.channel<number>();
    expect(rx.isEmpty).toBe(true);
    tx.send(1);
    expect(rx.isEmpty).toBe(false);
    rx.tryRecv();
    expect(rx.isEmpty).toBe(true);
    const [, closed] = oneshot.channel();
    closed.close();
    expect(closed.isEmpty).toBe(true);
  });

  it('only the first send counts', async () => {
    const [tx, rx] = oneshot.channel<number>();
    expect(tx.send(1)).toBe(true);
    expect(tx.send(2)).toBe(false);
    tx.close();
    expect(await rx.recv()).toBe(1);
  });

  it('closing both ends settles both waits', async () => {
    const [tx, rx] = oneshot.channel();
    const closed = tx.closed();
    const waiting = reasonOf(rx.recv());
    rx.close();
    tx.close();
    await closed;
    expect(await waiting).toBeInstanceOf(RecvError);
  });

  it('an unawaited oneshot whose sender is closed causes no unhandled rejection', async () => {
    const unheard = await unheardOf(async () => {
      const [tx] = oneshot.channel();
      tx.close();
    });
    expect(unheard).toEqual([]);
  });

  it('an aborted recv leaves the value for the next; of two waits one gets it', async () => {
    const [tx, rx] = oneshot.channel<number>();
    const controller = new AbortController();
    const abandoned = reasonOf(rx.recv({ signal: controller.signal }));
    const first = rx.recv();
    const second = reasonOf(rx.recv());
    controller.abort('no');
    expect(await abandoned).toBe('no');
    tx.send(1);
    expect(await first).toBe(1);
    expect(await second).toBeInstanceOf(RecvError);
    expect(await reasonOf(rx.recv({ signal: AbortSignal.abort('gone') }))).toBe('gone');
  });

  it('Receiver.tryRecv() gives a thenable as it is', async () => {
    const thenable = { then: () => expect.fail('adopted') };
    const [tx, rx] = oneshot.channel<unknown>();
    tx.send(thenable);
    const found = rx.tryRecv();
    expect(found.state === 'ok' && found.value === thenable).toBe(true);
    await drained();
  });
});
