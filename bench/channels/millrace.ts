import { CancellationToken, createSelector, mpsc, oneshot } from 'millrace/channels';
import { bridge } from 'millrace/channels/port';
import type { Outcome, Scenarios } from '../harness/scenario.js';
import { BATCH as PORT_BATCH, sendToThread } from './port/sending.js';
import { callAll, drainIterable, selecting, transport } from './adapter.js';

interface Channel {
  readonly tx: mpsc.Sender<number> | mpsc.UnboundedSender<number>;
  readonly rx: mpsc.Receiver<number>;
}

const BATCH = 1_024;

function open(capacity: number | undefined): Channel {
  const [tx, rx] = capacity === undefined ? mpsc.unboundedChannel<number>() : mpsc.channel<number>(capacity);
  return { tx, rx };
}

async function recv({ rx }: Channel): Promise<Outcome> {
  let count = 0;
  let sum = 0;
  for (let result = await rx.recv(); !result.done; result = await rx.recv()) {
    count++;
    sum += result.value;
  }
  return { count, sum };
}

async function recvMany({ rx }: Channel): Promise<Outcome> {
  const batch: number[] = [];
  let count = 0;
  let sum = 0;
  for (let taken = await rx.recvManyInto(batch, BATCH); taken > 0; taken = await rx.recvManyInto(batch, BATCH)) {
    count += taken;
    for (let i = 0; i < taken; i++) sum += batch[i] as number;
    batch.length = 0;
  }
  return { count, sum };
}

async function forEach({ rx }: Channel): Promise<Outcome> {
  let count = 0;
  let sum = 0;
  await rx.forEach((value) => {
    count++;
    sum += value;
  });
  return { count, sum };
}

async function ready({ rx }: Channel): Promise<Outcome> {
  let count = 0;
  let sum = 0;
  for (;;) {
    await rx.ready();
    let found = rx.tryRecv();
    for (; found.state === 'ok'; found = rx.tryRecv()) {
      count++;
      sum += found.value;
    }
    if (found.state === 'closed') return { count, sum };
  }
}

interface Request {
  readonly value: number;
  readonly reply: oneshot.Sender<number>;
}

async function rpc(n: number, clients: number): Promise<Outcome> {
  const [tx, rx] = mpsc.channel<Request>(64);
  const actor = (async () => {
    for (let result = await rx.recv(); !result.done; result = await rx.recv()) {
      const { value, reply } = result.value;
      reply.send(value + 1);
    }
  })();
  const outcome = await callAll(n, clients, async (value) => {
    const [reply, answer] = oneshot.channel<number>();
    await tx.send({ value, reply });
    return answer.recv();
  });
  tx.close();
  await actor;
  return outcome;
}

const armOf: Readonly<Record<string, number>> = { a: 0, b: 1, c: 2, d: 3 };

async function selectLoop(n: number, waiting: boolean): Promise<Outcome> {
  const queue = () => mpsc.channel<number>(64);
  const queues = [queue(), queue(), queue(), queue()] as const;
  const [[, a], [, b], [, c], [, d]] = queues;
  const selector = createSelector({ a, b, c, d, stop: new CancellationToken() });
  return selecting(
    n,
    waiting,
    async (index, from, to) => {
      const [tx] = queues[index] as (typeof queues)[number];
      for (let i = from; i < to; i++) await tx.send(i);
    },
    async (tally) => {
      while (tally.count < n) {
        const event = await selector.next();
        if (event.arm === null || event.arm === 'stop') return;
        tally.add(armOf[event.arm] as number, event.value);
      }
    },
    (index, value) => (queues[index] as (typeof queues)[number])[0].send(value),
  );
}

export const scenarios: Scenarios = {
  ...transport<Channel>({
    open,
    push: ({ tx }, value) => void tx.send(value),
    send: ({ tx }, value) => tx.send(value),
    close: ({ tx }) => tx.close(),
    drains: { 'for-await': ({ rx }) => drainIterable(rx), recv, recvMany, forEach, ready },
    create: () => mpsc.channel<number>(64),
    createOneshot: () => oneshot.channel<number>(),
  }),
  'rpc/1': (n) => rpc(n, 1),
  'rpc/64': (n) => rpc(n, 64),
  'select/ready': (n) => selectLoop(n, false),
  'select/waiting': (n) => selectLoop(n, true),
  'port/batches': (n) =>
    sendToThread('millrace', n, async (port) => {
      const tx = bridge(port).sender<number>(PORT_BATCH);
      await tx.sendMany(Array.from({ length: n }, (_, i) => i));
      tx.close();
    }),
  'port/singles': (n) =>
    sendToThread('millrace', n, async (port) => {
      const tx = bridge(port).sender<number>(PORT_BATCH);
      for (let i = 0; i < n; i++) await tx.send(i);
      tx.close();
    }),
};
