/**
 * Sending from an iterable into a bounded channel.
 *
 * Invariant: the slot comes first. A value is only taken from an iterator when there is one for it, so nothing is ever taken and not sent. An
 * array or a set keeps its values, and may be asked ahead: its end needs no slot.
 */
import { requireFunction } from '../../core/index.js';
import { signalOf, type WaitOptions } from '../abort.js';
import { ignore, mayGoUnseen, ready, rejected } from '../budget.js';
import { SendError } from '../closed-errors.js';
import type { SendSide } from './chan.js';
import { closedWhileSending, ReserveWaiter } from './sender-waiters.js';

const ACTION = 'Cannot send';

type ManySender<T> = { readonly chan: SendSide<T>; readonly isClosed: boolean };

/** Does what `Sender.sendMany` says. */
export function sendMany<T>(
  sender: ManySender<T>,
  values: Iterable<T>,
  options: WaitOptions | undefined,
): Promise<number> {
  const signal = signalOf(ACTION, options);
  requireFunction(ACTION, 'values[Symbol.iterator]', values?.[Symbol.iterator]);
  const sending = new Promise<number>((resolve, reject) => {
    send(sender, values, signal).then(resolve, (error: unknown) => {
      // As of a send: a channel that closes is no unhandled rejection.
      if (error instanceof SendError) mayGoUnseen(sending);
      reject(error);
    });
  });
  return sending;
}

async function send<T>(sender: ManySender<T>, values: Iterable<T>, signal: AbortSignal | undefined): Promise<number> {
  const iterator = values[Symbol.iterator]();
  const left = hasSize(values) ? iterator : undefined;
  if (signal?.aborted) return rejected(signal.reason);
  if (sender.isClosed) return rejected(closedBefore(left, undefined));
  const { chan } = sender;
  let sent = 0;
  let ahead: IteratorResult<T> | undefined;
  // Counted as a sender of its own: closing the other one lets it finish.
  chan.strong++;
  try {
    for (;;) {
      ahead ??= left?.next();
      if (ahead?.done) return ready(sent);
      if (signal?.aborted) throw signal.reason;
      if (chan.closed) throw closedBefore(left, ahead);
      if (chan.free > 0) chan.free--;
      else if (!(await waitForSlot(chan, signal))) continue;
      if (ahead !== undefined) chan.put(ahead.value);
      else if (!sendNext(chan, iterator)) return ready(sent);
      ahead = undefined;
      sent++;
    }
  } finally {
    chan.dropSender();
  }
}

/** Waits for a slot and holds it. @returns False when the signal has fired or the channel is closed. */
function waitForSlot<T>(chan: SendSide<T>, signal: AbortSignal | undefined): Promise<boolean> {
  const waiter = new ReserveWaiter(chan, 1, ignore);
  chan.queueSender(waiter);
  return waiter.until(signal).then(
    () => true,
    () => false,
  );
}

/** Sends the next value into a slot that is held. @returns False, and the slot is free again, when there is none. */
function sendNext<T>(chan: SendSide<T>, iterator: Iterator<T>): boolean {
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
  return typeof (length ?? size) === 'number';
}

/** The error with what is left of values that are asked ahead, the one that was asked last included. */
function closedBefore<T>(left: Iterator<T> | undefined, ahead: IteratorResult<T> | undefined): SendError<T[]> {
  const rest: T[] = [];
  for (let next = ahead ?? left?.next(); next && !next.done; next = left?.next()) rest.push(next.value);
  return closedWhileSending(rest);
}
