import { channel } from 'node:diagnostics_channel';
import { debuglog } from 'node:util';
import { broadcast } from '../channels/index.js';
import { textOf } from '../core/index.js';
import type { WorkerState } from './state.js';
import { CallerTrace, DistantTrace, type RequestTrace, untraced } from './trace.js';

interface EventBase {
  readonly workerId: string;
  /** When, in ms on the worker's clock. */
  readonly at: number;
}

/** The worker went from one state to another. */
export interface WorkerStateEvent extends EventBase {
  readonly type: 'state';
  readonly from: WorkerState;
  readonly to: WorkerState;
  readonly cause?: unknown;
}

/** A call into the model failed. */
export interface WorkerFailureEvent extends EventBase {
  readonly type: 'failure';
  readonly operation: string;
  readonly error: unknown;
}

/** A result came after its caller had given up, and was dropped. */
export interface WorkerLateEvent extends EventBase {
  readonly type: 'late';
  readonly operation: string;
}

/** The host ended without being asked to. */
export interface WorkerCrashEvent extends EventBase {
  readonly type: 'crash';
  readonly error: unknown;
  /** How many requests it held. */
  readonly held: number;
}

/** The worker made no progress for too long and is being killed. */
export interface WorkerStallEvent extends EventBase {
  readonly type: 'stall';
  /** How long the oldest call has been inside the model, in ms. */
  readonly runningMs: number;
}

/** Something that happened in a worker's life. Never carries inputs or outputs. */
export type WorkerEvent = WorkerStateEvent | WorkerFailureEvent | WorkerLateEvent | WorkerCrashEvent | WorkerStallEvent;

const BUFFERED = 256;
const debug = debuglog('millrace');
const isDebugging = debug.enabled;

type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;

/** An event before the hub adds who and when. */
type EventBody = DistributiveOmit<WorkerEvent, 'workerId' | 'at'>;

const channels: { readonly [T in WorkerEvent['type']]: ReturnType<typeof channel> } = {
  state: channel('millrace:worker:state'),
  failure: channel('millrace:worker:failure'),
  late: channel('millrace:worker:late'),
  crash: channel('millrace:worker:crash'),
  stall: channel('millrace:worker:stall'),
};

/** The message on `millrace:worker:request` for every answered request. */
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
 * What a request keeps of its caller's async context. To be called in that context. Of a request whose model is elsewhere, the context counts for
 * diagnostics only.
 */
export function keepTrace(isDistant: boolean, traceparent: string | undefined): RequestTrace {
  if (!isDistant || requestChannel.hasSubscribers) return new CallerTrace(traceparent);
  return traceparent === undefined ? untraced : new DistantTrace(traceparent);
}

/**
 * Tells a worker's events to its iterators, to `diagnostics_channel` and, with `NODE_DEBUG=millrace`, to stderr.
 */
export class EventHub {
  readonly #workerId: string;
  readonly #now: () => number;
  readonly #feed: EventFeed<WorkerEvent> = new EventFeed(BUFFERED);

  constructor(workerId: string, now: () => number) {
    this.#workerId = workerId;
    this.#now = now;
  }

  /** Whether an event of this type has an audience: a busy worker asks before it makes one. */
  hasAudience(type: WorkerEvent['type']): boolean {
    return this.#feed.hasReaders || isDebugging || channels[type].hasSubscribers;
  }

  emit(body: EventBody): void {
    const event = { ...body, workerId: this.#workerId, at: this.#now() } as WorkerEvent;
    if (isDebugging) debug('%s', describe(event));
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
  }
}

/**
 * Tells events to any number of readers, each at its own pace: one that falls behind by more than the capacity loses the oldest.
 */
export class EventFeed<Event> {
  readonly #sender: broadcast.Sender<Event>;
  #readers = 0;

  constructor(capacity: number) {
    this.#sender = broadcast.sender<Event>(capacity);
  }

  /** Whether there is a reader. */
  get hasReaders(): boolean {
    return this.#readers > 0;
  }

  emit(event: Event): void {
    if (!this.#sender.isClosed) this.#sender.send(event);
  }

  /** The events from now on. */
  read(): AsyncIterableIterator<Event, void, void> {
    this.#readers++;
    return new EventReader(this.#sender.subscribe(), () => {
      this.#readers--;
    });
  }

  /** Ends every reader, after what is kept for it. */
  end(): void {
    this.#sender.close();
  }
}

class EventReader<Event> implements AsyncIterableIterator<Event, void, void> {
  readonly #receiver: broadcast.Receiver<Event>;
  #onLeft: (() => void) | undefined;

  constructor(receiver: broadcast.Receiver<Event>, onLeft: () => void) {
    this.#receiver = receiver;
    this.#onLeft = onLeft;
  }

  async next(): Promise<IteratorResult<Event, void>> {
    for (;;) {
      try {
        const { done, value } = await this.#receiver.recv();
        if (done !== true) return { done: false, value };
        // So that one that is read to its end counts as a reader no more.
        return await this.return();
      } catch (error) {
        if (!(error instanceof broadcast.LaggedError)) throw error;
      }
    }
  }

  async return(): Promise<IteratorResult<Event, void>> {
    this.#receiver.close();
    this.#onLeft?.();
    this.#onLeft = undefined;
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
