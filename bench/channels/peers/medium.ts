import medium from 'medium';
import type { Scenarios } from '../../harness/scenario.js';
import { callAll, selecting, transport } from '../adapter.js';

const { chan, put, take, close, any } = medium;
type Chan = ReturnType<typeof chan>;

// A channel is thenable (awaiting it takes a message), so none may be returned from an async function.
export const scenarios: Scenarios = {
  ...transport<Chan>({
    open: (capacity, n) => chan(capacity ?? n),
    push: (ch, value) => void put(ch, value),
    send: (ch, value) => put(ch, value),
    close: (ch) => void close(ch),
    drains: {
      recv: async (ch, n) => {
        let sum = 0;
        for (let i = 0; i < n; i++) sum += (await take(ch)) as number;
        return { count: n, sum };
      },
    },
    create: () => chan(64),
  }),
  'rpc/1': (n) => rpc(n, 1),
  'rpc/64': (n) => rpc(n, 64),
  'select/ready': (n) => selectLoop(n, false),
  'select/waiting': (n) => selectLoop(n, true),
};

async function rpc(n: number, clients: number) {
  const requests = chan(64);
  const actor = (async () => {
    for (let i = 0; i < n; i++) {
      const request = (await take(requests)) as { value: number; reply: () => Chan };
      void put(request.reply(), request.value + 1);
    }
  })();
  const outcome = await callAll(n, clients, async (value) => {
    const reply = chan(1);
    await put(requests, { value, reply: () => reply });
    return (await take(reply)) as number;
  });
  await actor;
  return outcome;
}

async function selectLoop(n: number, waiting: boolean) {
  const queues = [0, 1, 2, 3].map(() => chan(64));
  const shutdown = chan(1);
  const all = [...queues, shutdown];
  return selecting(
    n,
    waiting,
    async (queue, from, to) => {
      for (let i = from; i < to; i++) await put(queues[queue] as Chan, i);
    },
    async (tally) => {
      while (tally.count < n) {
        const [value, queue] = await any(...all);
        tally.add(queues.indexOf(queue), value as number);
      }
    },
    (queue, value) => put(queues[queue] as Chan, value),
  );
}
