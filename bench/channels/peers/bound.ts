/**
 * What cannot be undercut: the least that keeps the interface. No closing, no waiters but one, no capacity, no yield to timers, nothing to
 * abandon. `for await` takes a promise, a result and a hop for each value; a turn of a select a promise, an event and a hop.
 */
import type { Outcome, Scenarios } from '../../harness/scenario.js';
import { drainIterable, selecting, transport } from '../adapter.js';

type Result = IteratorResult<number, undefined>;

class Bound implements AsyncIterableIterator<number, undefined> {
  readonly #values: number[] = [];
  #at = 0;
  #ended = false;
  #wake: ((result: Result) => void) | null = null;

  push(value: number): void {
    const wake = this.#wake;
    if (wake === null) {
      this.#values.push(value);
    } else {
      this.#wake = null;
      wake({ done: false, value });
    }
  }

  end(): void {
    this.#ended = true;
    this.#wake?.({ done: true, value: undefined });
  }

  next(): Promise<Result> {
    const values = this.#values;
    if (this.#at < values.length) return Promise.resolve({ done: false as const, value: values[this.#at++] as number });
    if (this.#ended) return Promise.resolve({ done: true as const, value: undefined });
    values.length = 0;
    this.#at = 0;
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

const armOf: Readonly<Record<string, number>> = { a: 0, b: 1, c: 2, d: 3 };
const names = ['a', 'b', 'c', 'd'];

/** Four queues whose senders resolve the turn themselves: nothing to look at, to register with, or to withdraw from. */
async function turns(n: number): Promise<Outcome> {
  let wake: ((event: { arm: string; value: number }) => void) | null = null;
  const push = (queue: number, value: number): void => {
    if (wake === null) throw new Error('nobody waits');
    const resolve = wake;
    wake = null;
    resolve({ arm: names[queue] as string, value });
  };
  return selecting(
    n,
    true,
    async () => {},
    async (tally) => {
      while (tally.count < n) {
        const event = await new Promise<{ arm: string; value: number }>((resolve) => {
          wake = resolve;
        });
        tally.add(armOf[event.arm] as number, event.value);
      }
    },
    push,
  );
}

export const scenarios: Scenarios = {
  ...transport<Bound>({
    open: () => new Bound(),
    push: (bound, value) => bound.push(value),
    close: (bound) => bound.end(),
    drains: { 'for-await': (bound) => drainIterable(bound) },
  }),
  'select/waiting': turns,
};
