import { expect, test } from 'vitest';
import { BusyPoll } from '../../../src/worker/link/busy-poll.js';

/** An event loop that turns when it is told to. */
class Turns {
  #next: (() => void) | undefined;
  readonly poll = new BusyPoll((run) => {
    expect(this.#next).toBeUndefined();
    this.#next = run;
  });

  get isWaiting(): boolean {
    return this.#next !== undefined;
  }

  turn(): void {
    const run = this.#next;
    this.#next = undefined;
    run?.();
  }

  /** Turns until it would sleep, and says how often. */
  turnOut(): number {
    let turns = 0;
    for (; this.isWaiting; turns++) this.turn();
    return turns;
  }

  /** A message that is answered after so many turns. */
  ask(turnsUntilAnswer: number): void {
    this.poll.sent();
    for (let turn = 0; turn < turnsUntilAnswer; turn++) this.turn();
    this.poll.received();
  }

  /** How many messages without an answer go by until the loop is kept turning for one of them again. */
  untilNextTry(): number {
    for (let messages = 0; ; messages++) {
      this.poll.sent();
      if (this.isWaiting) return messages;
    }
  }
}

test('BusyPoll.sent() keeps the loop turning for a bounded number of turns', () => {
  const loop = new Turns();
  loop.poll.sent();
  expect(loop.turnOut()).toBe(32);
});

test('BusyPoll.received() lets the loop sleep after one more turn', () => {
  const loop = new Turns();
  loop.ask(5);
  expect(loop.turnOut()).toBe(1);
});

test('BusyPoll.sent() in the turn of an answer goes on', () => {
  const loop = new Turns();
  for (let message = 0; message < 100; message++) loop.ask(5);
  loop.poll.sent();
  expect(loop.turnOut()).toBe(32);
});

test('BusyPoll.sent() does not extend the wait for a message that went before', () => {
  const loop = new Turns();
  let turns = 0;
  for (loop.poll.sent(); loop.isWaiting; turns++) {
    loop.turn();
    if (loop.isWaiting) loop.poll.sent();
  }
  expect(turns).toBe(32);
});

test('BusyPoll.sent() tries half as often after each time in vain, and once in a thousand messages at least', () => {
  const loop = new Turns();
  const pauses: number[] = [];
  for (let attempt = 0; attempt < 14; attempt++) {
    pauses.push(loop.untilNextTry());
    loop.turnOut();
  }
  expect(pauses).toEqual([0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1024, 1024]);
});

test.each([
  ['takes back half of the times in vain', 5, 2 ** 4],
  ['counts no answer that was there at the first look', 1, 2 ** 8],
])('BusyPoll.received() %s', (_, turnsUntilAnswer, pause) => {
  const loop = new Turns();
  for (let attempt = 0; attempt < 8; attempt++) {
    loop.untilNextTry();
    loop.turnOut();
  }
  loop.untilNextTry();
  loop.ask(turnsUntilAnswer);
  loop.turnOut();
  loop.poll.sent();
  loop.turnOut();
  expect(loop.untilNextTry()).toBe(pause);
});

test('BusyPoll.received() of what nobody waits for changes nothing', () => {
  const loop = new Turns();
  loop.poll.received();
  expect(loop.isWaiting).toBe(false);
  loop.poll.sent();
  expect(loop.turnOut()).toBe(32);
});
