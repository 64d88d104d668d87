import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { createLink, type Parcel } from '../../../src/worker/link/link.js';
import { Kind } from '../../../src/worker/link/messages.js';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setImmediate'] });
});
afterEach(() => {
  vi.useRealTimers();
});

/** Turns until the event loop would sleep. */
function turnOut(): number {
  let turns = 0;
  for (; vi.getTimerCount() > 0; turns++) vi.advanceTimersToNextTimer();
  return turns;
}

function open(): { readonly send: () => void; readonly arrive: (parcel: Parcel) => void } {
  let arrive: (parcel: Parcel) => void = () => {};
  const link = createLink({
    canTransfer: true,
    send: () => {},
    subscribe: (handler) => {
      arrive = handler;
    },
  });
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
