import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createSelector, mpsc, select, timeout } from '../../src/channels/index.js';
import { drained, reasonOf } from '../support/settlement.js';

const unhandled: unknown[] = [];
const record = (reason: unknown) => unhandled.push(reason);
beforeAll(() => void process.on('unhandledRejection', record));
afterAll(() => void process.off('unhandledRejection', record));
beforeEach(() => void unhandled.splice(0));

function ready(): mpsc.Receiver<number> {
  const [tx, rx] = mpsc.unboundedChannel<number>();
  for (let at = 0; at < 8; at++) tx.send(at);
  return rx;
}

describe('a promise as an arm', () => {
  it('that is off from the first turn and rejects is no unhandled rejection, and rejects the turn that looks', async () => {
    const failing = (async () => {
      await drained();
      throw new RangeError('late');
    })();
    const item = ready();
    const selector = createSelector({ failing, item });
    expect((await selector.next({ off: ['failing'] })).arm).toBe('item');
    await drained();
    await drained();
    expect(unhandled).toEqual([]);
    expect((await selector.next({ off: ['failing'] })).arm).toBe('item');
    expect(await reasonOf(selector.next({ off: ['item'] }))).toEqual(new RangeError('late'));
  });

  it.each([
    ['of a selector that is never waited on', (failing: Promise<never>) => void createSelector({ failing })],
    [
      'of a select whose signal has fired',
      (failing: Promise<never>) => select({ failing }, { signal: AbortSignal.abort('no') }).catch(() => {}),
    ],
    [
      'of a turn whose signal has fired',
      (failing: Promise<never>) =>
        createSelector({ failing })
          .next({ signal: AbortSignal.abort('no') })
          .catch(() => {}),
    ],
    [
      'of a turn that another arm has won',
      (failing: Promise<never>) => select({ item: ready(), failing }, { biased: true }),
    ],
    [
      'of a nested selector',
      (failing: Promise<never>) => select({ inner: createSelector({ failing }), item: ready() }),
    ],
    [
      'with a time limit, and whose signal has fired',
      (failing: Promise<never>) => timeout(5, failing, { signal: AbortSignal.abort('no') }).catch(() => {}),
    ],
  ])('%s and rejects is no unhandled rejection', async (_, give) => {
    let reject: (reason: unknown) => void = () => {};
    const failing = new Promise<never>((_resolve, no) => {
      reject = no;
    });
    void give(failing);
    await drained();
    reject(new Error('unheard'));
    await drained();
    await drained();
    expect(unhandled).toEqual([]);
  });

  it('of a thenable that is off starts nothing', async () => {
    let started = 0;
    class Lazy extends Promise<number> {
      static override get [Symbol.species]() {
        return Promise;
      }
      override then<A, B>(...args: Parameters<Promise<number>['then']>): Promise<A | B> {
        started++;
        return super.then(...args) as Promise<A | B>;
      }
    }
    const lazy = new Lazy((resolve) => resolve(5));
    const selector = createSelector({ lazy, item: ready() }, { biased: true });
    expect((await selector.next({ off: ['lazy'] })).arm).toBe('item');
    expect(started).toBe(0);
    expect(await selector.next()).toEqual({ arm: 'lazy', value: 5 });
    expect(await selector.next()).toEqual({ arm: 'lazy', value: 5 });
    expect(started).toBe(1);
  });

  const settledAlready = [
    ['a promise', () => Promise.resolve(7)],
    ['a thenable that calls back at once', () => ({ then: (resolve: (n: number) => void) => resolve(7) })],
    ['a promise of a subclass', () => class extends Promise<number> {}.resolve(7)],
    ['an async function that has returned', async () => 7],
  ] as const;

  it.each(settledAlready)('biased prefers %s that has settled to a later arm that is ready', async (_, make) => {
    const done = make() as PromiseLike<number>;
    expect(await select({ done, item: ready() }, { biased: true })).toEqual({ arm: 'done', value: 7 });
  });

  it.each(settledAlready)('biased holds for several selects over %s in one tick', async (_, make) => {
    const done = make() as PromiseLike<number>;
    const item = ready();
    const selector = createSelector({ done, item }, { biased: true });
    const events = [
      select({ done, item }, { biased: true }),
      select({ done, item }, { biased: true }),
      selector.next(),
      selector.next(),
      select({ inner: createSelector({ done }), item }, { biased: true }),
    ];
    expect((await Promise.all(events)).map(({ arm }) => arm)).toEqual(['done', 'done', 'done', 'done', 'inner']);
    expect(item.len).toBe(8);
    const other = select({ item, done }, { biased: true });
    expect((await other).arm).toBe('item');
  });
});
