import { Readable } from 'node:stream';
import type { Scenarios } from '../../harness/scenario.js';
import { drainIterable, transport } from '../adapter.js';

interface Channel {
  readonly stream: Readable;
  resume: (() => void) | undefined;
}

function open(capacity: number): Channel {
  const channel: Channel = {
    stream: new Readable({
      objectMode: true,
      highWaterMark: capacity,
      read() {
        const { resume } = channel;
        channel.resume = undefined;
        resume?.();
      },
    }),
    resume: undefined,
  };
  return channel;
}

// A stream drops no value, but `null` would end it: the values are objects' worth of numbers all the same.
const full = (channel: Channel): Promise<void> => new Promise((resolve) => waiters(channel, resolve));

function waiters(channel: Channel, resolve: () => void): void {
  const { resume } = channel;
  channel.resume =
    resume === undefined
      ? resolve
      : () => {
          resume();
          resolve();
        };
}

export const scenarios: Scenarios = transport<Channel>({
  open: (capacity, n) => open(capacity ?? n),
  push: ({ stream }, value) => void stream.push(value),
  send: (channel, value) => (channel.stream.push(value) ? undefined : full(channel)),
  close: ({ stream }) => void stream.push(null),
  drains: { 'for-await': ({ stream }) => drainIterable(stream) },
  create: () => open(64),
});
