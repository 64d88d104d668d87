import { describe, expect, it } from 'vitest';
import {
  broadcast,
  createSelector,
  JoinSet,
  mpsc,
  oneshot,
  reserving,
  type Selectable,
  watch,
} from '../../src/channels/index.js';
import { reasonOf, stateOf } from '../support/settlement.js';

function ended(): mpsc.Receiver<number> {
  const [tx, rx] = mpsc.channel<number>(1);
  tx.close();
  return rx;
}

/** An arm of each kind that can end, something that happens at it short of its end, and how it ends. */
const kinds: Record<string, () => { arm: Selectable<unknown>; stir: () => void; end: () => void }> = {
  mpsc: () => {
    const [tx, rx] = mpsc.channel<number>(2);
    const end = () => {
      tx.close();
      rx.tryRecv();
    };
    return { arm: rx, stir: () => tx.trySend(1), end };
  },
  oneshot: () => {
    const [reply, answer] = oneshot.channel<number>();
    return { arm: answer, stir: () => void reply.isClosed, end: () => reply.close() };
  },
  broadcast: () => {
    const [tx, rx] = broadcast.channel<number>(2);
    const end = () => {
      rx.tryRecv();
      tx.close();
    };
    return { arm: rx, stir: () => tx.send(1), end };
  },
  watch: () => {
    const [tx, rx] = watch.channel(0);
    const end = () => {
      rx.borrowAndUpdate();
      tx.close();
    };
    return { arm: rx, stir: () => tx.send(1), end };
  },
  JoinSet: () => {
    const set = new JoinSet<void>();
    set.spawn(() => new Promise<void>(() => {}));
    return { arm: set, stir: () => void set.spawn(() => new Promise<void>(() => {})), end: () => set.detachAll() };
  },
  reserving: () => {
    const [tx, rx] = mpsc.channel<number>(1);
    tx.trySend(1);
    return { arm: reserving(tx), stir: () => void rx.tryRecv(), end: () => rx.close() };
  },
  selector: () => {
    const [tx, rx] = mpsc.channel<number>(1);
    return { arm: createSelector({ rx }), stir: () => void rx.len, end: () => tx.close() };
  },
};

describe.each(Object.entries(kinds))('a %s arm that is off', (_, make) => {
  it('keeps the turn waiting while it may win, and ends it with its own end', async () => {
    const { arm, stir, end } = make();
    const selector = createSelector({ arm, over: ended() });
    const turn = selector.next({ off: ['arm'] });
    expect(await stateOf(turn)).toBe('pending');
    stir();
    expect(await stateOf(turn)).toBe('pending');
    end();
    expect(await turn).toEqual({ arm: null });
    expect(await selector.next()).toEqual({ arm: null });
  });

  it('that ends after the others have, while a turn waits, ends the turn', async () => {
    const { arm, end } = make();
    const [tx, rx] = mpsc.channel<number>(1);
    const [other, others] = mpsc.channel<number>(1);
    const selector = createSelector({ arm, rx, others });
    const turn = selector.next({ off: ['arm', 'others'] });
    tx.close();
    expect(await stateOf(turn)).toBe('pending');
    end();
    expect(await stateOf(turn)).toBe('pending');
    other.close();
    expect(await turn).toEqual({ arm: null });
  });

  it('leaves the turn to its signal, and takes nothing', async () => {
    const { arm, stir, end } = make();
    const selector = createSelector({ arm, over: ended() });
    const controller = new AbortController();
    const turn = selector.next({ off: ['arm'], signal: controller.signal });
    stir();
    controller.abort('enough');
    expect(await reasonOf(turn)).toBe('enough');
    end();
    expect(await selector.next()).toEqual({ arm: null });
  });
});

it('Selector.next() refuses what is no name, however often names were given before', async () => {
  const [tx, rx] = mpsc.channel<number>(1);
  const [, other] = mpsc.channel<number>(1);
  const selector = createSelector({ rx, other, '': other });
  const controller = new AbortController();
  const turns = [['rx'], ['rx', 'other'], ['']].map((off) =>
    reasonOf(selector.next({ off: off as ['rx'], signal: controller.signal })),
  );
  for (const off of [
    [{ toString: () => 'rx' }],
    ['rx', { toJSON: () => 'other' }],
    [['rx']],
    [undefined],
    ['xr'],
    ['rx\nother'],
  ]) {
    expect(() => selector.next({ off: off as never })).toThrow(TypeError);
  }
  controller.abort('over');
  expect(await Promise.all(turns)).toEqual(['over', 'over', 'over']);
  tx.trySend(1);
  expect(await selector.next({ off: ['other'] })).toEqual({ arm: 'rx', value: 1 });
});

it('an arm that is off and ends with a reason may still fail a later turn', async () => {
  const [tx, rx] = mpsc.channel<number>(1);
  const selector = createSelector({ rx, over: ended() });
  const controller = new AbortController();
  const turn = selector.next({ off: ['rx'], signal: controller.signal });
  tx.close('broken');
  expect(await stateOf(turn)).toBe('pending');
  controller.abort('enough');
  expect(await reasonOf(turn)).toBe('enough');
  expect(await reasonOf(selector.next())).toBe('broken');
});
