import { type Channel, channel } from 'node:diagnostics_channel';
import { EventFeed } from '../../worker/internal.js';
import type { BreakerState } from '../breaker.js';

interface EventBase {
  readonly pool: string;
  readonly model: string;
  /** When, in ms on the pool's clock. */
  readonly at: number;
}

/** Something that happened to a worker of the pool. */
export interface PoolWorkerEvent extends EventBase {
  readonly type: 'start' | 'ready' | 'evict' | 'end';
  readonly worker: string;
}

/** A worker ended without being asked to. */
export interface PoolCrashEvent extends EventBase {
  readonly type: 'crash';
  readonly worker: string;
  readonly error: unknown;
}

/** A worker could not be started: its model did not load, or there was no memory. */
export interface PoolLoadFailureEvent extends EventBase {
  readonly type: 'load-failure';
  readonly error: unknown;
  /** How long no other is started, in ms. */
  readonly backOffMs: number;
}

/** A circuit breaker changed its state. */
export interface PoolBreakerEvent extends EventBase {
  readonly type: 'breaker';
  readonly from: BreakerState;
  readonly to: BreakerState;
}

/** The pool's own life: a model came or went, the pool drains or is closed. */
export interface PoolLifeEvent extends EventBase {
  readonly type: 'register' | 'unregister' | 'drain' | 'close';
}

/** Something that happened in a pool's life. Never carries inputs or outputs. */
export type PoolEvent = PoolWorkerEvent | PoolCrashEvent | PoolLoadFailureEvent | PoolBreakerEvent | PoolLifeEvent;

/** What happened to one call, on `diagnostics_channel` only. Never carries inputs or outputs. */
export interface PoolCallMessage extends EventBase {
  readonly operation: string;
  readonly worker?: string | undefined;
  readonly outcome?: string | undefined;
  readonly error?: unknown;
}

const BUFFERED_EVENTS = 1024;

/** The channels `millrace:pool:<name>`. Lifecycle events are published under their type. */
const channels = new Map<string, Channel>();

/** The diagnostics channel of a name; ask it for `hasSubscribers` before making a message. */
export function poolChannel(name: string): Channel {
  let found = channels.get(name);
  if (found === undefined) {
    found = channel(`millrace:pool:${name}`);
    channels.set(name, found);
  }
  return found;
}

/** Hands the pool's lifecycle events to its readers and to `diagnostics_channel`. */
export class EventHub {
  readonly #feed: EventFeed<PoolEvent> = new EventFeed(BUFFERED_EVENTS);

  emit(event: PoolEvent): void {
    this.#feed.emit(event);
    const published = poolChannel(event.type);
    if (published.hasSubscribers) published.publish(event);
  }

  /** What happens from now on; a slow reader loses the oldest of more than 1,024 events. */
  read(): AsyncIterableIterator<PoolEvent, void, void> {
    return this.#feed.read();
  }

  close(): void {
    this.#feed.end();
  }
}
