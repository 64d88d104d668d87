import { FixedBuffer, type Push, Repeater, type Stop } from '@repeaterjs/repeater';
import type { Scenarios } from '../../harness/scenario.js';
import { drainIterable, transport } from '../adapter.js';

interface Channel {
  readonly repeater: Repeater<number>;
  push: Push<number>;
  stop: Stop;
}

function open(capacity: number): Channel {
  const channel: Partial<Channel> & { repeater?: Repeater<number> } = {};
  const repeater = new Repeater<number>((push, stop) => {
    channel.push = push;
    channel.stop = stop;
  }, new FixedBuffer(capacity));
  channel.repeater = repeater;
  return channel as Channel;
}

// A repeater runs its executor at the first next(): each drain asks once before the producer starts.
export const scenarios: Scenarios = transport<Channel>({
  open: (capacity, n) => {
    const channel = open(capacity ?? n);
    const first = channel.repeater.next();
    return Object.assign(channel, { first });
  },
  push: (ch, value) => void ch.push(value),
  send: (ch, value) => ch.push(value),
  close: (ch) => ch.stop(),
  drains: {
    'for-await': async (ch) => {
      const first = await (ch as Channel & { first: Promise<IteratorResult<number>> }).first;
      const rest = await drainIterable(ch.repeater);
      return { count: rest.count + 1, sum: (rest.sum as number) + first.value };
    },
    recv: async (ch, n) => {
      let sum = (await (ch as Channel & { first: Promise<IteratorResult<number>> }).first).value as number;
      for (let i = 1; i < n; i++) sum += (await ch.repeater.next()).value as number;
      return { count: n, sum };
    },
  },
  create: () => open(64).repeater,
});
