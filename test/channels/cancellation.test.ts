import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { CancellationToken, select } from '../../src/channels/index.js';
import { reasonOf, stateOf } from '../support/settlement.js';

describe('CancellationToken', () => {
  it('cancel() wakes every waiter, present and future, once', async () => {
    const token = new CancellationToken();
    expect(token.isCancelled).toBe(false);
    const waits = [token.cancelled(), token.cancelled(), select({ token })];
    expect(await stateOf(waits[0] as Promise<unknown>)).toBe('pending');
    token.cancel('first');
    token.cancel('second');
    await Promise.all(waits);
    await token.cancelled();
    expect([token.isCancelled, token.reason]).toEqual([true, 'first']);
    expect(await select({ token })).toEqual({ arm: 'token', value: 'first' });
  });

  it('cancelling goes down, not up and not sideways', async () => {
    const root = new CancellationToken();
    const [left, right] = [root.childToken(), root.childToken()];
    const leaf = left.childToken();
    const woken: string[] = [];
    void leaf.cancelled().then(() => woken.push('leaf'));
    void right.cancelled().then(() => woken.push('right'));
    left.cancel('left');
    expect([root.isCancelled, right.isCancelled, leaf.isCancelled, leaf.reason]).toEqual([false, false, true, 'left']);
    expect(root.childToken().isCancelled).toBe(false);
    root.cancel('root');
    await right.cancelled();
    expect([left.reason, right.reason]).toEqual(['left', 'root']);
    expect(woken).toEqual(['leaf', 'right']);
  });

  it('a child of a cancelled token is born cancelled', async () => {
    const token = new CancellationToken();
    token.cancel('over');
    const child = token.childToken().childToken();
    expect([child.isCancelled, child.reason, child.signal.reason]).toEqual([true, 'over', 'over']);
    await child.cancelled();
  });

  it('dropping tokens cancels nothing and cuts nobody off', async () => {
    const root = new CancellationToken();
    const middle = root.childToken();
    const leaf = middle.childToken();
    const waiting = leaf.cancelled();
    const { signal } = leaf;
    middle[Symbol.dispose]();
    middle[Symbol.dispose]();
    expect([root.isCancelled, middle.isCancelled, leaf.isCancelled]).toEqual([false, false, false]);
    root[Symbol.dispose]();
    root.cancel();
    await waiting;
    expect(signal.aborted).toBe(true);
  });

  it('a wait that is abandoned leaves nothing behind', async () => {
    const origin = new AbortController();
    const token = CancellationToken.fromSignal(origin.signal);
    const leaf = token.childToken().childToken();
    const controller = new AbortController();
    const abandoned = reasonOf(leaf.cancelled({ signal: controller.signal }));
    const raced = select({ leaf, done: Promise.resolve(1) });
    await raced;
    expect(getEventListeners(origin.signal, 'abort')).toHaveLength(1);
    controller.abort('no');
    expect(await abandoned).toBe('no');
    expect(getEventListeners(origin.signal, 'abort')).toHaveLength(0);
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
  });

  it('a clone is the same token', () => {
    const token = new CancellationToken();
    expect(token.clone()).toBe(token);
    expect(token.childToken()).not.toBe(token);
  });

  it('a drop guard cancels on leaving scope unless disarmed', () => {
    const token = new CancellationToken();
    {
      using guard = token.dropGuard();
      expect(guard.disarm()).toBe(token);
    }
    expect(token.isCancelled).toBe(false);
    {
      using _guard = token.dropGuard();
    }
    expect(token.isCancelled).toBe(true);
  });

  it('fromSignal() follows the signal, and not the other way round', async () => {
    const controller = new AbortController();
    const token = CancellationToken.fromSignal(controller.signal);
    const child = token.childToken();
    const waits = [token.cancelled(), child.cancelled()];
    controller.abort('signal');
    await Promise.all(waits);
    expect([token.reason, child.reason, child.signal.reason]).toEqual(['signal', 'signal', 'signal']);
    const other = new AbortController();
    const byHand = CancellationToken.fromSignal(other.signal);
    void byHand.cancelled();
    byHand.cancel('hand');
    expect(other.signal.aborted).toBe(false);
    expect(getEventListeners(other.signal, 'abort')).toHaveLength(0);
    expect(() => CancellationToken.fromSignal({} as never)).toThrow(TypeError);
  });

  it('signal is one and the same, aborts with the reason, and sees the whole tree cancelled', () => {
    const root = new CancellationToken();
    const leaf = root.childToken().childToken();
    const { signal } = leaf;
    expect(leaf.signal).toBe(signal);
    const seen: unknown[] = [];
    signal.addEventListener('abort', () => {
      seen.push([root.isCancelled, leaf.isCancelled, root.childToken().isCancelled]);
      root.cancel('again');
    });
    root.cancel();
    expect(seen).toEqual([[true, true, true]]);
    expect(signal.reason).toMatchObject({ name: 'AbortError' });
  });

  it('a child that is cancelled leaves its parent without it', () => {
    const root = new CancellationToken();
    for (let at = 0; at < 1000; at++) {
      const child = root.childToken();
      void child.cancelled();
      void child.signal;
      child.cancel();
    }
    expect(root.isCancelled).toBe(false);
  });

  it('a tree of 20,000 levels is cancelled', async () => {
    const root = new CancellationToken();
    let leaf = root;
    for (let at = 0; at < 20_000; at++) leaf = leaf.childToken();
    root.cancel('deep');
    await leaf.cancelled();
    expect(leaf.reason).toBe('deep');
  });

  it('runUntilCancelled() gives the result, or says that it was cancelled first', async () => {
    const token = new CancellationToken();
    expect(await token.runUntilCancelled(Promise.resolve(5))).toEqual({ state: 'ok', value: 5 });
    expect(await reasonOf(token.runUntilCancelled(() => Promise.reject('broken')))).toBe('broken');
    expect(
      await reasonOf(
        token.runUntilCancelled(() => {
          throw new Error('at once');
        }),
      ),
    ).toEqual(new Error('at once'));
    let inner: AbortSignal | undefined;
    const running = token.runUntilCancelled((signal) => {
      inner = signal;
      return new Promise<number>(() => {});
    });
    expect(await stateOf(running)).toBe('pending');
    token.cancel('stop');
    expect(await running).toEqual({ state: 'cancelled', reason: 'stop' });
    expect(inner?.reason).toBe('stop');
    expect(await token.runUntilCancelled(() => expect.fail('it was cancelled before'))).toEqual({
      state: 'cancelled',
      reason: 'stop',
    });
  });

  it('runUntilCancelled() tells a result of undefined from a cancellation', async () => {
    const token = new CancellationToken();
    expect(await token.runUntilCancelled(async () => undefined)).toEqual({ state: 'ok', value: undefined });
    expect(await token.runUntilCancelled(Promise.resolve())).toEqual({ state: 'ok', value: undefined });
    token.cancel();
    expect(await token.runUntilCancelled(() => undefined)).toEqual({ state: 'cancelled', reason: undefined });
  });
});
