import { TransformStream } from 'node:stream/web';
import type { Scenarios } from '../../harness/scenario.js';
import { drainIterable, transport } from '../adapter.js';

function open(capacity: number) {
  const { readable, writable } = new TransformStream<number, number>(
    {},
    { highWaterMark: capacity },
    { highWaterMark: 0 },
  );
  const writer = writable.getWriter();
  return { readable, writer };
}

export const scenarios: Scenarios = transport<ReturnType<typeof open>>({
  open: (capacity, n) => open(capacity ?? n),
  push: ({ writer }, value) => void writer.write(value),
  send: async ({ writer }, value) => {
    await writer.ready;
    void writer.write(value);
  },
  close: ({ writer }) => void writer.close(),
  drains: {
    'for-await': ({ readable }) => drainIterable(readable),
    recv: async ({ readable }, n) => {
      const reader = readable.getReader();
      let sum = 0;
      for (let i = 0; i < n; i++) sum += (await reader.read()).value as number;
      return { count: n, sum };
    },
  },
  create: () => open(64),
});
