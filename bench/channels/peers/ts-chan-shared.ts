import { Chan, recv, Select } from 'ts-chan';
import type { Scenarios } from '../../harness/scenario.js';
import { callAll, drainIterable, selecting, transport } from '../adapter.js';

/** The scenarios of ts-chan, with or without its yield to the macrotask queue. */
export function scenariosOf(unsafe: boolean): Scenarios {
  const open = <T = number>(capacity: number): Chan<T> => {
    const chan = new Chan<T>(capacity);
    if (unsafe) chan.setUnsafe(true);
    return chan;
  };
  return {
    ...transport<Chan<number>>({
      open: (capacity, n) => open(capacity ?? n),
      push: (ch, value) => void ch.trySend(value),
      send: (ch, value) => ch.send(value),
      close: (ch) => ch.close(),
      drains: {
        'for-await': (ch) => drainIterable(ch),
        recv: async (ch, n) => {
          let sum = 0;
          for (let i = 0; i < n; i++) sum += (await ch.recv()).value as number;
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
    const requests = open<{ value: number; reply: Chan<number> }>(64);
    const actor = (async () => {
      for (let i = 0; i < n; i++) {
        const request = (await requests.recv()).value as { value: number; reply: Chan<number> };
        request.reply.trySend(request.value + 1);
      }
    })();
    const outcome = await callAll(n, clients, async (value) => {
      const reply = open(1);
      await requests.send({ value, reply });
      return (await reply.recv()).value as number;
    });
    await actor;
    return outcome;
  }

  async function selectLoop(n: number, waiting: boolean) {
    const queues = [0, 1, 2, 3].map(() => open(64));
    const shutdown = open(1);
    const select = new Select([...queues, shutdown].map((queue) => recv(queue)));
    if (unsafe) select.setUnsafe(true);
    return selecting(
      n,
      waiting,
      async (queue, from, to) => {
        for (let i = from; i < to; i++) await (queues[queue] as Chan<number>).send(i);
      },
      async (tally) => {
        const { cases } = select;
        while (tally.count < n) {
          const arm = await select.wait();
          tally.add(arm, select.recv(cases[arm] as (typeof cases)[number]).value as number);
        }
      },
      (queue, value) => (queues[queue] as Chan<number>).send(value),
    );
  }
}
