/**
 * What `select` asks of an arm, and all it knows of one.
 *
 * To make a class an arm, implement {@link Selectable}: a method `selectSource` that answers a {@link SelectSource}
 * (the object itself, its core, or a small adapter; it is asked once for each selector, so it may be built on the spot). Then:
 *
 * - `poll(slot)` looks without waiting. When a value is there it takes it, puts it in `slot.value` and answers {@link READY}; that arm has won.
 *   When the source has failed it puts the reason in `slot.value` and answers {@link FAILED}; the select rejects with it. When nothing will
 *   ever come again it answers {@link ENDED}; the arm is disabled. Otherwise {@link PENDING}, and nothing has changed.
 * - `register(waiter)` is called only right after `poll` said PENDING. The waiter joins the source's queue like any other; when its turn comes,
 *   take it out of the queue, then call `deliver(value)` (the value is taken by that), `end()` or `fail(reason)`, once. A value that is still being
 *   made, or that foreign code makes, is delivered by `deliverLate(read, undo)`: the arm has won, and `read` is called a microtask later, or `undo`,
 *   if there is one, when the select was abandoned by then. A source whose queue holds nodes of its own kind keeps its node in `waiter.link`, where
 *   `unregister` finds it again.
 * - `unregister(waiter)` takes back a registered waiter that was told nothing: in O(1), without a trace, having consumed nothing.
 * - `isEnded()` says, without taking anything, whether `poll` could only answer ENDED.
 *
 * The same source may be registered with several waiters at a time: one receiver in two arms, two selects over one receiver.
 */
import type { Waiter, WaiterList, WaitNode } from '../internal/waiters.js';

/** Where a look leaves what it found. */
export interface Slot {
  /** The value, or the reason of a failure. */
  value: unknown;
}

/** A waiter of a select. */
export abstract class SelectWaiter implements Waiter<unknown> {
  previous: WaitNode | null = null;
  next: WaitNode | null = null;
  list: WaiterList<WaitNode> | null = null;
  /** For the source: whatever it needs to find its own node again. */
  link: unknown = null;

  abstract deliver(value: unknown): void;
  abstract deliverLate(read: () => unknown, undo?: () => void): void;
  abstract end(): void;
  abstract fail(reason: unknown): void;

  /** A source may be a signal. */
  onAbort(reason: unknown): void {
    this.deliver(reason);
  }
}

declare const won: unique symbol;

/** Tells its members whenever a source may have ended. */
export interface Endings {
  push(watcher: Waiter<void>): void;
}

/** One arm's side of a select. */
export interface SelectSource<out T> {
  poll(slot: Slot): Poll;
  register(waiter: SelectWaiter): void;
  unregister(waiter: SelectWaiter): void;
  isEnded(): boolean;
  /**
   * For sources that must ask around before they can be looked at (a promise). True while answers are still to come in: the select then lets
   * a microtask pass and asks again, before it looks at any arm.
   */
  prepare?(): boolean;
  /** For sources that can end: where to wait for the news that it may have. */
  endings?(): Endings[];
  /** Only in types: what the arm wins with. */
  readonly [won]?: T;
}

/** Anything that can be an arm of `select` and wins with a `T`: receivers, tokens, timers, `withEnd(rx)`, `reserving(tx)`, selectors. */
export interface Selectable<out T> {
  /** How `select` looks at it; asked once for each select or selector. */
  selectSource(): SelectSource<T>;
}

/**
 * What a look at an arm answers, and one at all arms. In a file without imports: from such a one, bundlers put the numbers where they are used.
 */

/** Nothing yet. */
export const PENDING = 0;
/** A value was taken and lies in the slot. */
export const READY = 1;
/** Nothing will ever come. */
export const ENDED = 2;
/** It failed; the reason lies in the slot. */
export const FAILED = 3;

/** What a look at a source answers. */
export type Poll = typeof PENDING | typeof READY | typeof ENDED | typeof FAILED;

// What a look at all arms answers, when none has won.

/** It must wait. */
export const MUST_WAIT = -1;
/** An arm has failed. */
export const HAS_FAILED = -2;
/** No arm can win any more. */
export const HAS_ENDED = -3;
