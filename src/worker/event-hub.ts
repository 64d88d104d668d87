import { channel } from 'node:diagnostics_channel';
import { debuglog } from 'node:util';
import { textOf } from '../core/index.js';
import { EventFeed } from './event-feed.js';
import type { WorkerEvent } from './worker-events.js';

const BUFFERED = 256;
const debug = debuglog('millrace');

type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;

/** An event before the hub adds who and when. */
export type EventBody = DistributiveOmit<WorkerEvent, 'workerId' | 'at'>;

const channels: { readonly [T in WorkerEvent['type']]: ReturnType<typeof channel> } = {
  state: channel('millrace:worker:state'),
  failure: channel('millrace:worker:failure'),
  late: channel('millrace:worker:late'),
  crash: channel('millrace:worker:crash'),
  stall: channel('millrace:worker:stall'),
  restart: channel('millrace:worker:restart'),
};

/** What is published on `millrace:worker:request` for every request that was answered. */
export interface RequestReport {
  readonly workerId: string;
  readonly operation: string;
  readonly outcome: 'succeeded' | 'failed' | 'expired' | 'cancelled';
  /** From the call to the answer, in ms. */
  readonly ms: number;
}

/** Where every answered request is reported: `diagnostics_channel` `millrace:worker:request`. */
export const requestChannel: ReturnType<typeof channel> = channel('millrace:worker:request');

/**
 * Tells a worker's events to its iterators, to `diagnostics_channel` and, with `NODE_DEBUG=millrace`, to stderr.
 *
 * @internal
 */
export class EventHub {
  readonly #workerId: string;
  readonly #now: () => number;
  readonly #feed: EventFeed<WorkerEvent> = new EventFeed(BUFFERED);
  /** Whether it writes to stderr where that is asked for. Not beside a model whose handle, elsewhere, tells the same. */
  isDebugging: boolean = debug.enabled;

  constructor(workerId: string, now: () => number) {
    this.#workerId = workerId;
    this.#now = now;
  }

  /** Whether anybody would see an event of this type: a busy worker asks before it makes one. */
  hasAudience(type: WorkerEvent['type']): boolean {
    return this.#feed.hasReaders || this.isDebugging || channels[type].hasSubscribers;
  }

  emit(body: EventBody): void {
    const event = { ...body, workerId: this.#workerId, at: this.#now() } as WorkerEvent;
    if (this.isDebugging) debug('%s', describe(event));
    const diagnostics = channels[event.type];
    if (diagnostics.hasSubscribers) diagnostics.publish(event);
    this.#feed.emit(event);
  }

  /** An iterator of the events from now on; a slow reader loses the oldest of more than 256. */
  events(): AsyncIterableIterator<WorkerEvent, void, void> {
    return this.#feed.read();
  }

  /** Ends every iterator, after what is kept for it. */
  end(): void {
    this.#feed.end();
  }
}

function describe(event: WorkerEvent): string {
  switch (event.type) {
    case 'state':
      return `${event.workerId}: ${event.from} -> ${event.to}${event.cause === undefined ? '' : ` (${textOf(event.cause)})`}`;
    case 'failure':
      return `${event.workerId}: ${event.operation} failed (${textOf(event.error)})`;
    case 'late':
      return `${event.workerId}: ${event.operation} answered too late`;
    case 'crash':
      return `${event.workerId}: crashed with ${event.held} requests (${textOf(event.error)})`;
    case 'stall':
      return `${event.workerId}: no progress for ${event.runningMs} ms`;
    case 'restart':
      return `${event.workerId}: restart ${event.attempt} in ${event.delayMs} ms`;
  }
}
