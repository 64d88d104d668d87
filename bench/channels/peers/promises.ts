/** What the language alone can do: the floor of one microtask hop, and a race that leaves a reaction behind on every loser. */
import type { Scenarios } from '../../harness/scenario.js';
import { creating, selecting } from '../adapter.js';

class Queue {
  readonly #values: number[] = [];
  #head = 0;
  #wake: ((value: number) => void) | undefined;

  push(value: number): void {
    if (this.#wake === undefined) this.#values.push(value);
    else {
      const wake = this.#wake;
      this.#wake = undefined;
      wake(value);
    }
  }

  take(): Promise<number> {
    if (this.#head < this.#values.length) {
      const value = this.#values[this.#head++] as number;
      if (this.#head === this.#values.length) {
        this.#values.length = 0;
        this.#head = 0;
      }
      return Promise.resolve(value);
    }
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}

export const scenarios: Scenarios = {
  floor: async (n) => {
    let count = 0;
    for (let i = 0; i < n; i++) {
      await null;
      count++;
    }
    return { count };
  },
  'select/ready': (n) => race(n, false),
  'select/waiting': (n) => race(n, true),
  'create/oneshot': creating(() => {
    let settle: ((value: number) => void) | undefined;
    const promise = new Promise<number>((resolve) => {
      settle = resolve;
    });
    return { promise, settle };
  }),
};

async function race(n: number, waiting: boolean) {
  const queues = [0, 1, 2, 3].map(() => new Queue());
  const shutdown = new Promise<never>(() => {});
  return selecting(
    n,
    waiting,
    async (queue, from, to) => {
      for (let i = from; i < to; i++) {
        (queues[queue] as Queue).push(i);
        if (i % 64 === 0) await null;
      }
    },
    async (tally) => {
      const take = (arm: number) => (queues[arm] as Queue).take().then((value) => ({ arm, value }));
      const pending = [0, 1, 2, 3].map(take);
      while (tally.count < n) {
        const { arm, value } = await Promise.race([...pending, shutdown]);
        tally.add(arm, value);
        pending[arm] = take(arm);
      }
    },
    (queue, value) => (queues[queue] as Queue).push(value),
  );
}
