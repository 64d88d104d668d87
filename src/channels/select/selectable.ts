/**
 * The interface between `select` and its arms; `select` knows nothing else of them.
 *
 * To make a class an arm, implement {@link Selectable}: `selectSource` answers a {@link SelectSource}, which may be the object itself, its core, or
 * an adapter built on the spot. It is called once for each select or selector. Then:
 *
 * - `poll(slot)` looks without waiting. {@link READY}: it has taken a value and put it in `slot.value`, and the arm has won. {@link FAILED}: it has
 *   put a reason in `slot.value`, and the select rejects with it. {@link ENDED}: no value will ever come, and the arm is disabled.
 *   {@link PENDING}: none of these, and nothing has changed.
 * - `register(waiter)` is called right after `poll` has answered PENDING. The waiter joins the source's queue like any other; in its turn the source
 *   removes it and calls `deliver(value)`, `end()` or `fail(reason)`, once. A value that is still being made, or that foreign code makes, is
 *   delivered by `deliverLate(read, undo)`: the arm has won, and a microtask later `read` is called, or `undo`, if given, when the select was
 *   abandoned meanwhile. A source whose queue has nodes of its own keeps the node in `waiter.link`.
 * - `unregister(waiter)` withdraws a waiter that was told nothing: in O(1), without a trace, having consumed nothing.
 * - `isEnded()` says, without taking anything, whether `poll` could only answer ENDED.
 *
 * A source may be registered with several waiters at a time: one receiver in two arms, two selects over one receiver.
 */
import type { Waiter, WaiterList, WaitNode } from '../internal/waiters.js';

// Before all else, and in a file that imports only types: bundlers then inline the numbers.

/** No value yet. */
export const PENDING = 0;
/** A value was taken; it is in the slot. */
export const READY = 1;
/** No value will ever come. */
export const ENDED = 2;
/** The source has failed; the reason is in the slot. */
export const FAILED = 3;

/** The answer of a look at one source. */
export type Poll = typeof PENDING | typeof READY | typeof ENDED | typeof FAILED;

/** Every arm is pending or has ended, and at least one is pending. */
export const MUST_WAIT = -1;
/** An arm has failed. */
export const HAS_FAILED = -2;
/** Every arm has ended. */
export const HAS_ENDED = -3;

/** The place in which a look leaves what it found. */
export interface Slot {
  /** The value, or the reason of a failure. */
  value: unknown;
}

/** The waiter of one arm. */
export abstract class SelectWaiter implements Waiter<unknown> {
  previous: WaitNode | null = null;
  next: WaitNode | null = null;
  list: WaiterList<WaitNode> | null = null;
  /** Free for the source, such as for a node of its own. */
  link: unknown = null;

  abstract deliver(value: unknown): void;
  abstract deliverLate(read: () => unknown, undo?: () => void): void;
  abstract end(): void;
  abstract fail(reason: unknown): void;

  onAbort(reason: unknown): void {
    this.deliver(reason);
  }
}

declare const won: unique symbol;

/** A queue whose waiters are told when a source may have ended. */
export interface Endings {
  push(watcher: Waiter<void>): void;
}

/** One arm of a select. */
export interface SelectSource<out T> {
  poll(slot: Slot): Poll;
  register(waiter: SelectWaiter): void;
  unregister(waiter: SelectWaiter): void;
  isEnded(): boolean;
  /**
   * For a source that learns its state from others (a promise): called before any arm is polled. True while answers are outstanding; the select
   * then calls again a microtask later.
   */
  prepare?(): boolean;
  /** For a source that can end: the queues to wait in for its end. */
  endings?(): Endings[];
  /** Only in types: the value of the arm. */
  readonly [won]?: T;
}

/** Anything that can be an arm of `select` and wins with a `T`: receivers, tokens, timers, `withEnd(rx)`, `reserving(tx)`, selectors. */
export interface Selectable<out T> {
  /** The arm; called once for each select or selector. */
  selectSource(): SelectSource<T>;
}
