import { describe, expect, it } from 'vitest';
import { mpsc } from '../../src/channels/index.js';
import { countingSignal, stateOf, turn } from '../support/settlement.js';

function filled(...values: number[]) {
  const [tx, rx] = mpsc.channel<number>(Math.max(8, values.length));
  for (const value of values) tx.trySend(value);
  return [tx, rx] as const;
}

describe('Receiver.forEach()', () => {
  it('gives every value in order until the channel ends', async () => {
    const [tx, rx] = mpsc.channel<number>(4);
    const seen: number[] = [];
    const done = rx.forEach((value) => void seen.push(value));
    for (let value = 0; value < 1_000; value++) await tx.send(value);
    expect(await stateOf(done)).toBe('pending');
    tx.close();
    await done;
    expect(seen).toEqual(Array.from({ length: 1_000 }, (_, value) => value));
  });

  it('awaits a callback that returns a promise before it takes the next value', async () => {
    const [tx, rx] = filled(1, 2);
    tx.close();
    const steps: string[] = [];
    await rx.forEach(async (value) => {
      steps.push(`${value} begins, ${rx.len} left`);
      await turn();
      steps.push(`${value} ends`);
    });
    expect(steps).toEqual(['1 begins, 1 left', '1 ends', '2 begins, 0 left', '2 ends']);
  });

  it('takes what is there in one go', async () => {
    const [, rx] = filled(1, 2, 3);
    const seen: number[] = [];
    void rx.forEach((value) => void seen.push(value));
    expect(seen).toEqual([1, 2, 3]);
  });

  it('leaves in the channel what it has not given when the callback throws', async () => {
    const [, rx] = filled(1, 2, 3);
    const failing = rx.forEach((value) => {
      if (value === 2) throw new RangeError('two');
    });
    await expect(failing).rejects.toThrow('two');
    expect(rx.tryRecv()).toEqual({ state: 'ok', value: 3 });
  });

  it('takes nothing more once its signal fires, waiting or not', async () => {
    const [tx, rx] = filled(1, 2, 3);
    const { signal, controller, listeners } = countingSignal();
    const seen: number[] = [];
    const stopping = rx.forEach(
      (value) => {
        seen.push(value);
        if (value === 2) controller.abort(new Error('enough'));
      },
      { signal },
    );
    await expect(stopping).rejects.toThrow('enough');
    expect([seen, rx.len, listeners()]).toEqual([[1, 2], 1, 0]);

    rx.tryRecv();
    const other = countingSignal();
    const waiting = rx.forEach((value) => void seen.push(value), { signal: other.signal });
    await turn();
    other.controller.abort(new Error('later'));
    tx.trySend(4);
    await expect(waiting).rejects.toThrow('later');
    expect([seen, rx.tryRecv(), other.listeners()]).toEqual([[1, 2], { state: 'ok', value: 4 }, 0]);
  });

  it('rejects with the reason a sender closed with, after the values', async () => {
    const [tx, rx] = filled(1);
    tx.close(new Error('producer failed'));
    const seen: number[] = [];
    await expect(rx.forEach((value) => void seen.push(value))).rejects.toThrow('producer failed');
    expect(seen).toEqual([1]);
  });

  it('lets timers run though its callback feeds it for ever', async () => {
    const [tx, rx] = mpsc.unboundedChannel<number>();
    tx.send(0);
    let isOver = false;
    setImmediate(() => {
      isOver = true;
    });
    await rx.forEach((value) => {
      if (isOver) rx.close();
      else tx.send(value + 1);
    });
    expect(isOver).toBe(true);
  });
});

describe('Receiver.ready()', () => {
  it('resolves when there is a value, and takes nothing', async () => {
    const [tx, rx] = filled();
    const ready = rx.ready();
    expect(await stateOf(ready)).toBe('pending');
    tx.trySend(1);
    await ready;
    await rx.ready();
    expect(rx.tryRecv()).toEqual({ state: 'ok', value: 1 });
  });

  it('resolves when the channel ends, whatever the way', async () => {
    for (const end of [
      (tx: mpsc.Sender<number>) => tx.close(),
      (tx: mpsc.Sender<number>) => tx.close(new Error('failed')),
      (_: unknown, rx: mpsc.Receiver<number>) => rx.close(),
      (_: unknown, rx: mpsc.Receiver<number>) => rx[Symbol.dispose](),
    ]) {
      const [tx, rx] = filled();
      const ready = rx.ready();
      end(tx, rx);
      await ready;
      await rx.ready();
      expect(rx.tryRecv().state).toBe('closed');
    }
  });

  it('does not resolve for a value that goes to a receiver', async () => {
    const [tx, rx] = filled();
    const ready = rx.ready();
    const waiting = rx.recv();
    tx.trySend(1);
    expect([await stateOf(ready), await waiting]).toEqual(['pending', { done: false, value: 1 }]);
    tx.trySend(2);
    await ready;
    expect(rx.len).toBe(1);
  });

  it('is abandoned by its signal and leaves nothing on it', async () => {
    const [tx, rx] = filled();
    const { signal, controller, listeners } = countingSignal();
    const ready = rx.ready({ signal });
    expect(listeners()).toBe(1);
    controller.abort(new Error('no longer'));
    await expect(ready).rejects.toThrow('no longer');
    expect(listeners()).toBe(0);
    tx.trySend(1);
    await rx.ready();
  });

  it('keeps up with a stream without losing or leaving a value', async () => {
    const [tx, rx] = mpsc.channel<number>(64);
    const seen: number[] = [];
    const taking = (async () => {
      for (;;) {
        await rx.ready();
        for (;;) {
          const found = rx.tryRecv();
          if (found.state === 'closed') return;
          if (found.state === 'empty') break;
          seen.push(found.value);
        }
      }
    })();
    for (let value = 0; value < 5_000; value++) await tx.send(value);
    tx.close();
    await taking;
    expect(seen).toEqual(Array.from({ length: 5_000 }, (_, value) => value));
  });
});
