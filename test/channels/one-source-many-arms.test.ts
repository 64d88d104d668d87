import { describe, expect, it } from 'vitest';
import { createSelector, JoinSet, oneshot, type Selectable, select } from '../../src/channels/index.js';
import { armKinds, waitFor } from './support/arm-kinds.js';
import { drained, stateOf } from '../support/settlement.js';

const kinds = Object.entries(armKinds);
type Arm = Selectable<unknown>;

async function states(waits: readonly Promise<unknown>[]): Promise<string[]> {
  return Promise.all(waits.map(stateOf));
}

describe.each(kinds)('%s in several arms', (_, make) => {
  it('wins once, and the other arms have taken nothing', async () => {
    const { arm, fire, again, forAll } = make();
    const event = select({ a: arm as Arm, b: arm as Arm, c: arm as Arm });
    await fire();
    expect(['a', 'b', 'c']).toContain((await event).arm);
    if (again || forAll) {
      const next = waitFor(arm);
      expect(await stateOf(next)).toBe(forAll ? 'fulfilled' : 'pending');
      if (!forAll) await fire();
      expect(await stateOf(next)).toBe('fulfilled');
    }
  });

  it('serves two selects and a selector at a time, each with it in two arms', async () => {
    const { arm, fire, again, forAll } = make();
    const both = { a: arm as Arm, b: arm as Arm };
    const waits = [select(both), createSelector(both).next(), select(both)];
    await fire();
    const settled = (await states(waits)).filter((state) => state !== 'pending').length;
    if (again) {
      expect(settled).toBe(1);
      await fire();
      expect((await states(waits)).filter((state) => state === 'fulfilled')).toHaveLength(2);
    } else {
      expect(settled).toBe(3);
      const arms = (await Promise.all(waits)).map((event) => event.arm);
      expect(arms.filter((name) => name !== null)).toHaveLength(forAll ? 3 : 1);
    }
  });

  it('is in an arm and in a selector that is an arm', async () => {
    const { arm, fire, again } = make();
    const inner = createSelector({ a: arm as Arm, b: arm as Arm });
    const event = select({ inner, outer: arm as Arm });
    await fire();
    expect(['inner', 'outer']).toContain((await event).arm);
    const next = select({ inner, outer: arm as Arm });
    if (again) {
      await fire();
      expect(['inner', 'outer']).toContain((await next).arm);
    }
  });

  it('ends all of its arms', async () => {
    const { arm, end } = make();
    if (end === undefined) return;
    const waits = [
      select({ a: arm as Arm, b: arm as Arm }),
      select({ inner: createSelector({ a: arm as Arm, b: arm as Arm }), c: arm as Arm }),
    ];
    await drained();
    end();
    expect(await Promise.all(waits)).toEqual([{ arm: null }, { arm: null }]);
  });

  it('takes nothing when the signal of the select fires', async () => {
    const { arm, fire, again } = make();
    const controller = new AbortController();
    const { signal } = controller;
    const waits = [
      select({ a: arm as Arm, b: arm as Arm }, { signal }),
      select({ inner: createSelector({ a: arm as Arm, b: arm as Arm }), c: arm as Arm }, { signal }),
    ];
    controller.abort('stop');
    await expect(Promise.allSettled(waits)).resolves.toEqual([
      { status: 'rejected', reason: 'stop' },
      { status: 'rejected', reason: 'stop' },
    ]);
    const next = waitFor(arm);
    await fire();
    expect((await next).arm).toBe('one');
    if (again) expect(await stateOf(waitFor(arm))).toBe('pending');
  });
});

describe('one oneshot receiver in two arms', () => {
  it('send() answers whether it was sent, and close() ends both arms', async () => {
    const [reply, answer] = oneshot.channel<number>();
    const event = select({ a: answer, b: answer });
    expect(reply.send(1)).toBe(true);
    expect((await event).value).toBe(1);
    const [silent, none] = oneshot.channel<number>();
    const ended = [
      select({ a: none, b: none }),
      none.recv().catch((error) => error.code),
      select({ a: none, b: none }),
    ];
    silent.close();
    expect(await Promise.all(ended)).toEqual([{ arm: null }, 'ERR_CHANNEL_CLOSED', { arm: null }]);
  });
});

describe('one JoinSet in two arms', () => {
  it('gives every result once, the last one included', async () => {
    const set = new JoinSet<number>();
    for (let task = 0; task < 5; task++) set.spawn(async () => task);
    const seen: unknown[] = [];
    const selector = createSelector({ a: set, b: set });
    for (let event = await selector.next(); event.arm !== null; event = await selector.next()) {
      if (event.value.status === 'fulfilled') seen.push(event.value.value);
    }
    expect(seen).toEqual([0, 1, 2, 3, 4]);
  });
});
