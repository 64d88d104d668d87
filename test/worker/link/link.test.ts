import { expect, test } from 'vitest';
import { BusyPoll } from '../../../src/worker/link/busy-poll.js';
import { createLink, type LinkTransport, type Parcel } from '../../../src/worker/link/link.js';
import { Kind } from '../../../src/worker/link/messages.js';

const waiting: (() => void)[] = [];

/** Turns until the event loop would sleep. */
function turnOut(): number {
  let turns = 0;
  for (let run = waiting.shift(); run !== undefined; run = waiting.shift()) {
    run();
    turns++;
  }
  return turns;
}

function open(): { readonly send: () => void; readonly arrive: (parcel: Parcel) => void } {
  let arrive: (parcel: Parcel) => void = () => {};
  const transport: LinkTransport = {
    canTransfer: true,
    send: () => {},
    subscribe: (handler) => {
      arrive = handler;
    },
  };
  const link = createLink(transport, new BusyPoll((run) => waiting.push(run)));
  link.receive(() => {});
  return { send: () => link.postNow([Kind.Call, 1]), arrive: (parcel) => arrive(parcel) };
}

test('createLink() keeps the event loop turning after a message, until it is answered', () => {
  const { send, arrive } = open();
  send();
  arrive([Kind.Answer, 1, 'x']);
  expect(turnOut()).toBe(1);
  send();
  arrive([
    [Kind.Taken, 2],
    [Kind.Answer, 1, 'x'],
  ]);
  expect(turnOut()).toBe(1);
  send();
  expect(turnOut()).toBe(32);
});

test('createLink() takes no word that a call was begun for its answer', () => {
  const { send, arrive } = open();
  send();
  arrive([Kind.Taken, 1]);
  expect(turnOut()).toBe(32);
});
