/**
 * Sending from an iterable into a bounded channel.
 *
 * Invariant: the slot comes first. A value is only taken from the iterable when there is one for it, so nothing is ever taken and not sent.
 */
import { describeReceived } from '../../core/index.js';
import { signalOf, type WaitOptions } from '../abort.js';
import { SendError } from '../closed-errors.js';
import type { Chan } from './chan.js';
import { closedWhileSending, ReserveWaiter } from './sender-waiters.js';

/** Does what `Sender.sendMany` says. */
export async function sendMany<T>(
  sender: { readonly chan: Chan<T>; readonly isClosed: boolean },
  values: Iterable<T>,
  options: WaitOptions | undefined,
): Promise<number> {
  const signal = signalOf('Cannot send', options);
  if (typeof values?.[Symbol.iterator] !== 'function') {
    throw new TypeError(`Cannot send: values must be iterable, received ${describeReceived(values)}`);
  }
  const iterator = values[Symbol.iterator]();
  const left = hasSize(values) ? iterator : null;
  if (sender.isClosed) throw closedWhileSending(restOf(left));
  const { chan } = sender;
  // Counted as a sender of its own: closing the other one lets it finish.
  chan.strong++;
  try {
    for (let sent = 0; ; sent++) {
      if (signal?.aborted) throw signal.reason;
      if (chan.closed) throw closedWhileSending(restOf(left));
      if (chan.free > 0) chan.free--;
      else await waitForSlot(chan, signal, left);
      if (!sendNext(chan, iterator)) return sent;
    }
  } finally {
    chan.dropSender();
  }
}

async function waitForSlot<T>(chan: Chan<T>, signal: AbortSignal | undefined, left: Iterator<T> | null): Promise<void> {
  const waiter = new ReserveWaiter<T, void>(chan, 1, ignore);
  chan.queueSender(waiter);
  if (signal !== undefined) waiter.listen(signal);
  try {
    await waiter.promise;
  } catch (error) {
    throw error instanceof SendError ? closedWhileSending(restOf(left)) : error;
  }
}

function ignore(): void {}

/** Sends the next value into a slot that is held. @returns False, and the slot is free again, when there is none. */
function sendNext<T>(chan: Chan<T>, iterator: Iterator<T>): boolean {
  let next: IteratorResult<T> | undefined;
  try {
    next = iterator.next();
  } finally {
    if (next === undefined || next.done) chan.release(1);
  }
  if (next.done) return false;
  chan.put(next.value);
  return true;
}

/** Whether it says how many values it has; what does not, such as a generator, may never end. */
function hasSize(values: Iterable<unknown>): boolean {
  const { length, size } = values as { length?: unknown; size?: unknown };
  return typeof length === 'number' || typeof size === 'number';
}

function restOf<T>(iterator: Iterator<T> | null): T[] {
  const rest: T[] = [];
  if (iterator === null) return rest;
  for (let next = iterator.next(); !next.done; next = iterator.next()) rest.push(next.value);
  return rest;
}
