import type { WorkerHost } from '../model.js';

/**
 * What crosses a link. Every message is an array: a kind, then its operands; arrays cost V8's serialiser less than objects with keys. Times are
 * sent as what is left of them, with the moment on the clock that both sides share (`shared-clock.ts`): a host that was blocked knows how late it is.
 *
 * Towards the host: `Init` once, then `Call` (a large one after its `Announce`), `Abort`, `Credit`, `Ping`, `Recount`, `Close`; before it, to one
 * that is started ahead, `Preload`.
 * Towards the handle: `Ready` or `LoadFailed` once, then `Taken`, `Answer`, `Fault`, `Chunk`, `End`, `Gone`, `Pong`, `Recounted`, `Closed`; `Preloaded`
 * for `Preload`; `Unreadable` at any time.
 *
 * Every `Call` gets exactly one final message (`Answer`, `Fault`, `End` or `Gone`), an aborted one too: it is what gives the model's slot back.
 * A `Call`, `Answer` or `Chunk` that can't be read where it arrives is a call lost, or a chunk: the two sides then compare what they hold, and that call
 * is answered with an error.
 * A `Call` holds its place in the handle's queue until the host's loop has taken it, which `Taken` or else its final message says.
 */
export const Kind = {
  /** `[Init, HostInit]` */
  Init: 0,
  /** `[Call, id, operation, input, remaining ms or -1, traceparent or undefined, sent at]` */
  Call: 1,
  /** `[Abort, id, EncodedError]`: nobody wants the answer any more, and why */
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
  /** `[Pong, id, WorkerHealth]` */
  Pong: 12,
  /** `[Closed, EncodedError or undefined]`: the model is released (what `dispose` threw, if it did); the host ends next */
  Closed: 13,
  /** `[Gone, id, whether it had a result]`: final for a call that was given up or overdue before its method ended, or began */
  Gone: 14,
  /** `[Preload, url]`: import a model module, and have it make ready what it can */
  Preload: 15,
  /** `[Preloaded]`: that has been done, or has failed */
  Preloaded: 16,
  /** `[Taken, id, …]`: the host's loop has these calls in hand. Not sent for a call that is final in the turn in which it was taken. */
  Taken: 17,
  /** `[Announce, id, operation]`: a `Call` follows whose input takes some time to be read */
  Announce: 18,
  /** `[Unreadable]`: something has come that could not be read */
  Unreadable: 19,
  /** `[Recount, id, …]`: which calls the handle takes the host to hold, after something could not be read */
  Recount: 20,
  /** `[Recounted, (id, chunks sent)…]`: the answer; of a call that the host does not hold, -1 */
  Recounted: 21,
} as const;

/** What a host needs to know to load and run its worker. */
export interface HostInit {
  readonly workerId: string;
  readonly host: WorkerHost;
  /** URL of the model module. */
  readonly module: string;
  readonly options: unknown;
  /** What each operation is; the functions of a declaration stay behind. */
  readonly operations: Readonly<Record<string, HostOperation>>;
  readonly concurrency: number;
  /** Whether results are moved instead of copied, where the host can. */
  readonly transferResults: boolean;
}

/** An operation's declaration as data. */
export interface HostOperation {
  readonly kind: 'unary' | 'stream';
  readonly chunkCapacity: number;
}
