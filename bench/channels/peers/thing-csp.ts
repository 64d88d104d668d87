import { type Channel, channel, select } from '@thi.ng/csp';
import type { Scenarios } from '../../harness/scenario.js';
import { callAll, drainIterableOf, selecting, transport } from '../adapter.js';

const open = (capacity: number): Channel<number> => channel<number>(capacity);

export const scenarios: Scenarios = {
  ...transport<Channel<number>>({
    open: (capacity, n) => open(capacity ?? n),
    push: (ch, value) => void ch.write(value),
    send: (ch, value) => ch.write(value),
    close: (ch) => ch.close(),
    drains: {
      'for-await': (ch, n) => drainIterableOf(ch, n),
      recv: async (ch, n) => {
        let sum = 0;
        for (let i = 0; i < n; i++) sum += (await ch.read()) as number;
        return { count: n, sum };
      },
    },
    create: () => open(64),
  }),
  'rpc/1': (n) => rpc(n, 1),
  'rpc/64': (n) => rpc(n, 64),
  'select/ready': (n) => selectLoop(n, false),
  'select/waiting': (n) => selectLoop(n, true),
};

async function rpc(n: number, clients: number) {
  const requests = channel<{ value: number; reply: Channel<number> }>(64);
  const actor = (async () => {
    for (let i = 0; i < n; i++) {
      const request = (await requests.read()) as { value: number; reply: Channel<number> };
      void request.reply.write(request.value + 1);
    }
  })();
  const outcome = await callAll(n, clients, async (value) => {
    const reply = open(1);
    await requests.write({ value, reply });
    return (await reply.read()) as number;
  });
  await actor;
  return outcome;
}

async function selectLoop(n: number, waiting: boolean) {
  const queues = [0, 1, 2, 3].map(() => open(64));
  const shutdown = open(1);
  const arms = new Map<unknown, number>(queues.map((queue, index) => [queue, index]));
  const [first, ...rest] = queues as [Channel<number>, ...Channel<number>[]];
  return selecting(
    n,
    waiting,
    async (queue, from, to) => {
      for (let i = from; i < to; i++) await (queues[queue] as Channel<number>).write(i);
    },
    async (tally) => {
      while (tally.count < n) {
        const [value, queue] = await select(first, ...rest, shutdown);
        tally.add(arms.get(queue) as number, value as number);
      }
    },
    (queue, value) => (queues[queue] as Channel<number>).write(value),
  );
}
