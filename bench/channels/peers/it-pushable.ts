import { type Pushable, pushable } from 'it-pushable';
import type { Scenarios } from '../../harness/scenario.js';
import { drainIterable, transport } from '../adapter.js';

export const scenarios: Scenarios = transport<Pushable<number>>({
  open: () => pushable<number>({ objectMode: true }),
  push: (ch, value) => void ch.push(value),
  close: (ch) => void ch.end(),
  drains: {
    'for-await': (ch) => drainIterable(ch),
    recv: async (ch, n) => {
      let sum = 0;
      for (let i = 0; i < n; i++) sum += (await ch.next()).value as number;
      return { count: n, sum };
    },
  },
  create: () => pushable<number>({ objectMode: true }),
});
