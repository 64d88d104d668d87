import { monotonicNow } from '../../core/index.js';
import type { WorkerHost } from '../model.js';

/** A message as the two sides of a link exchange it: a kind, then its operands. */
export type Message = readonly unknown[];

/**
 * What crosses a link. Every message is an array: a kind, then its operands; arrays cost V8's serialiser less than objects with keys. Times are on the
 * clock that both sides share: a host that was blocked knows how late it is.
 *
 * Towards the host: `Init` once, then `Call`, `Abort`, `Credit`, `Ping`, `Recount`, `Close`; before it, to one that is started ahead, `Preload`.
 * Towards the handle: `Ready` or `LoadFailed` once, then `Taken`, `Answer`, `Fault`, `Chunk`, `End`, `Gone`, `Pong`, `Recounted`, `Closed`; `Preloaded`
 * for `Preload`; `Unreadable` at any time.
 *
 * Every `Call` gets exactly one final message (`Answer`, `Fault`, `End` or `Gone`), an aborted one too: it is what gives the model's place back.
 * A `Call`, `Answer` or `Chunk` that can't be read where it arrives is a call lost, or a chunk: the two sides then compare what they hold, and that call
 * is answered with an error.
 * A `Call` holds its place in the handle's queue until the host has begun it, which `Taken` or else its final message says.
 */
export const Kind = {
  /** `[Init, HostInit]` */
  Init: 0,
  /** `[Call, id, operation, input, due at or undefined, traceparent or undefined, sent at]` */
  Call: 1,
  /** `[Abort, id, EncodedError]`: the answer is not wanted any more, and why */
  Abort: 2,
  /** `[Credit, id, n]`: the consumer of a stream has room for n more chunks */
  Credit: 3,
  /** `[Ping, id]` */
  Ping: 4,
  /** `[Close]`: finish what was sent, dispose of the model, and end */
  Close: 5,
  /** `[Ready]` */
  Ready: 6,
  /** `[LoadFailed, EncodedError, isPermanent]` */
  LoadFailed: 7,
  /** `[Answer, id, value]` */
  Answer: 8,
  /** `[Fault, id, EncodedError]` */
  Fault: 9,
  /** `[Chunk, id, value, how many came before]` */
  Chunk: 10,
  /** `[End, id, how many chunks there were]` */
  End: 11,
  /** `[Pong, id, HostHealth]` */
  Pong: 12,
  /** `[Closed, EncodedError or undefined]`: the model is released (what `dispose` threw, if it did); the host ends next */
  Closed: 13,
  /** `[Gone, id, whether it had a result]`: final for a call that was given up or overdue before its method ended, or began */
  Gone: 14,
  /** `[Preload, url]`: import a model module, and have it make ready what it can */
  Preload: 15,
  /** `[Preloaded]`: that has been done, or has failed */
  Preloaded: 16,
  /** `[Taken, id, …]`: these calls have begun. Not sent for a call that is final in the turn in which it began. */
  Taken: 17,
  /** `[Unreadable]`: something has come that could not be read */
  Unreadable: 18,
  /** `[Recount, id, …]`: which calls the handle takes the host to hold, after something could not be read */
  Recount: 19,
  /** `[Recounted, (id, chunks sent)…]`: the answer; of a call that the host does not hold, -1 */
  Recounted: 20,
} as const;

/** What a host needs to know to load and run its worker. */
export interface HostInit {
  readonly workerId: string;
  readonly host: WorkerHost;
  /** URL of the model module. */
  readonly module: string;
  readonly options: unknown;
  /** Of which kind each operation is; the rest of a declaration stays behind. */
  readonly operations: Readonly<Record<string, 'unary' | 'stream'>>;
  /** Whether results are moved instead of copied, where the host can. */
  readonly transferResults: boolean;
}

/** What a host says of itself in answer to a ping; the calls are counted by the handle. */
export interface HostHealth {
  readonly uptimeMs: number;
  readonly pid: number;
  readonly rss: number;
  /** What the model's own `health()` said, if it has one. */
  readonly model?: unknown;
}

/** `process.hrtime` counts from one moment for every thread and process of a machine; `performance.now` from the start of its own. */
const OFFSET: number = measureOffset();

function measureOffset(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1_000 + nanoseconds / 1e6 - monotonicNow();
}

/**
 * Milliseconds on the operating system's monotonic clock (`CLOCK_MONOTONIC` on Linux, and its likes elsewhere), which both sides of a link share:
 * a difference of two of them is how long a message was on its way.
 */
export function sharedNow(): number {
  return monotonicNow() + OFFSET;
}

/** A time on the shared clock, in ms of this thread's `monotonicNow`. */
export function ownTime(sharedAt: number): number {
  return sharedAt - OFFSET;
}
