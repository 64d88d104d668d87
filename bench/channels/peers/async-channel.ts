import { Channel } from 'async-channel';
import type { Scenarios } from '../../harness/scenario.js';
import { callAll, drainIterable, transport } from '../adapter.js';

export const scenarios: Scenarios = {
  ...transport<Channel<number>>({
    open: (capacity, n) => new Channel<number>(capacity ?? n),
    push: (ch, value) => void ch.push(value),
    send: (ch, value) => ch.push(value),
    close: (ch) => ch.close(),
    drains: {
      'for-await': (ch) => drainIterable(ch),
      recv: async (ch, n) => {
        let sum = 0;
        for (let i = 0; i < n; i++) sum += await ch.get();
        return { count: n, sum };
      },
    },
    create: () => new Channel<number>(64),
  }),
  'rpc/1': (n) => rpc(n, 1),
  'rpc/64': (n) => rpc(n, 64),
};

async function rpc(n: number, clients: number) {
  // A channel is thenable and would be adopted: the reply channel travels in a function.
  const requests = new Channel<{ value: number; reply: () => Channel<number> }>(64);
  const actor = (async () => {
    for (let i = 0; i < n; i++) {
      const { value, reply } = await requests.get();
      void reply().push(value + 1);
    }
  })();
  const outcome = await callAll(n, clients, async (value) => {
    const reply = new Channel<number>(1);
    await requests.push({ value, reply: () => reply });
    return reply.get();
  });
  await actor;
  return outcome;
}
