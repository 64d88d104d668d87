import { monotonicNow } from '../../core/index.js';
import { decodeError, type EncodedError, encodeError } from '../codec/error-codec.js';
import { isSmallData } from '../codec/small-data.js';
import { findTransferable } from '../codec/transferable.js';
import type { Host, HostExit } from '../hosts/host.js';
import { type HostInit, Kind } from '../link/messages.js';
import type { Message } from '../link/outbox.js';
import type { PendingRequest } from '../pending-request.js';
import type { PendingStream } from '../pending-stream.js';
import type { PendingUnary } from '../pending-unary.js';
import { blameCaller, noteUnreached } from '../reached.js';
import type { AnyRequest } from '../request.js';
import { WorkerLoadError } from '../worker-errors.js';
import type { WorkerHealth } from '../worker-health.js';

/** A request that a host holds, from when it was sent until its final message. */
export interface HeldCall {
  readonly request: PendingRequest & AnyRequest;
  /** Index of the operation, as the host knows it. */
  readonly operation: number;
  /** How many hosts it was sent to. */
  attempts: number;
  /** How many chunks of its stream were passed on: with one it can't be run again. */
  chunks: number;
  /** When its caller gave it up, if so. */
  abandonedAt: number | undefined;
}

/** What a client tells the loop that owns it. */
export interface HostClientEvents {
  /** The host is done with a call; `error` is what its model failed with. */
  onFinal(held: HeldCall, failure: { readonly error: unknown } | undefined): void;
  /** A sign of progress: an answer or a chunk. */
  onProgress(): void;
  /** The time on the worker's clock. */
  now(): number;
}

/** Why a host could not load its model. */
export interface LoadFailure {
  readonly error: unknown;
  /** Whether another try can't go better. */
  readonly isPermanent: boolean;
}

/** From how many bytes on an input is announced: a pipe takes little more than this at once. */
const LARGE_BYTES = 65_536;

function isLarge(input: unknown): boolean {
  return (typeof input === 'string' ? input.length : ArrayBuffer.isView(input) ? input.byteLength : 0) >= LARGE_BYTES;
}

/** The handle's side of a link: one host, from its start to its end, and what it holds. */
export class HostClient {
  readonly host: Host;
  /** Settles with the outcome of the load, once it is known. Never rejects; stays pending when the host dies first. */
  readonly loaded: Promise<LoadFailure | undefined>;
  /** Calls that were sent and have had no final message, by their id: in the order they were sent. */
  readonly held: Map<number, HeldCall> = new Map();
  /** Whether the outcome of its load is still open. */
  isLoading = true;
  /** When it said that its model is loaded, in ms of `monotonicNow`: a sign of life, which its watchdog's first may follow. */
  readyAt: number | undefined;
  readonly #events: HostClientEvents;
  readonly #transferInputs: boolean;
  readonly #pings: Map<number, (health: WorkerHealth | undefined) => void> = new Map();
  #ids = 0;
  #onLoaded!: (failure: LoadFailure | undefined) => void;
  #disposeError: { readonly error: unknown } | undefined;
  /** How many messages the host could not read that are not accounted for yet: what they carried are inputs. */
  #unreadableThere = 0;

  constructor(host: Host, init: HostInit, transferInputs: boolean, events: HostClientEvents) {
    this.host = host;
    this.#events = events;
    this.#transferInputs = transferInputs && host.link.canTransfer;
    this.loaded = new Promise((resolve) => {
      this.#onLoaded = (failure) => {
        this.isLoading = false;
        resolve(failure);
      };
    });
    void host.exited.then(() => {
      for (const resolve of this.#pings.values()) resolve(undefined);
      this.#pings.clear();
    });
    host.link.receive((message) => this.#receive(message));
    host.link.unreadable(() => this.#onUnreadable());
    host.link.post([Kind.Init, init], (reason) => {
      const error = new WorkerLoadError('Cannot load model: options must be data, they could not be cloned', {
        cause: reason,
      });
      this.#onLoaded({ error, isPermanent: true });
    });
    host.link.flush();
  }

  get exited(): Promise<HostExit> {
    return this.host.exited;
  }

  /** What the model's `dispose()` threw, if it did. */
  get disposeError(): { readonly error: unknown } | undefined {
    return this.#disposeError;
  }

  /** Sends a request. `sentAt` is the time on the clock that both sides share. */
  send(held: HeldCall, remainingMs: number, sentAt: number): void {
    const id = ++this.#ids;
    const { request } = held;
    held.attempts++;
    this.held.set(id, held);
    request.onGone = (reason) => {
      held.abandonedAt = this.#events.now();
      if (this.held.has(id)) this.host.link.post([Kind.Abort, id, encodeError(reason)]);
    };
    const input = request.peekInput();
    const { link } = this.host;
    const isAnnounced = this.host.kind === 'process' && isLarge(input);
    if (isAnnounced) {
      link.post([Kind.Announce, id, held.operation]);
      link.flush();
    }
    const message = [Kind.Call, id, held.operation, input, remainingMs, request.traceparent, sentAt];
    const refused = (reason: unknown): void => {
      if (isAnnounced) link.post([Kind.Abort, id, encodeError(reason)]);
      this.#finish(id, { error: reason }, true);
    };
    const transfer = this.#transferInputs ? findTransferable(input) : undefined;
    // The first of several of this turn does not wait for them: the host has nothing else to do.
    const isFirst = this.held.size === 1;
    const isAlone = !isSmallData(input);
    if (isFirst && request.kind === 'unary') link.postNow(message, refused, transfer, isAlone);
    else link.post(message, refused, transfer, isAlone);
    if (request.kind === 'stream') {
      const stream = request as unknown as PendingStream;
      stream.onChunkTaken = () => {
        if (this.held.has(id)) this.host.link.post([Kind.Credit, id, 1]);
      };
      link.post([Kind.Credit, id, stream.chunkCapacity]);
      if (isFirst) link.flush();
    }
  }

  /** A call is inside the model, by another sign than the host's word, for which it may not have the time. */
  seenInside(id: number): void {
    this.held.get(id)?.request.arrive(true);
  }

  /** Asks the host's loop how it is. Undefined when the host dies. */
  ping(): Promise<WorkerHealth | undefined> {
    const id = ++this.#ids;
    return new Promise((resolve) => {
      this.#pings.set(id, resolve);
      this.host.link.post([Kind.Ping, id]);
    });
  }

  /** Asks the host to dispose of its model and end. */
  close(): void {
    this.host.link.post([Kind.Close]);
    this.host.link.flush();
  }

  /** Takes over what the host holds, in the order it was sent: it is dead, or will be. */
  takeHeld(): HeldCall[] {
    const held = [...this.held.values()];
    this.held.clear();
    for (const { request } of held) request.onGone = undefined;
    return held;
  }

  #receive(message: Message): void {
    switch (message[0]) {
      case Kind.Answer: {
        const held = this.#take(message[1] as number);
        if (held === undefined) return;
        this.#events.onFinal(held, undefined);
        if (held.request.kind === 'unary') held.request.reply.send(message[2] as never);
        return;
      }
      case Kind.Fault:
        this.#finish(message[1] as number, { error: decodeError(message[2] as EncodedError) });
        return;
      case Kind.Chunk: {
        const held = this.held.get(message[1] as number);
        if (held?.request.kind !== 'stream') return;
        if (held.chunks !== message[3]) {
          this.#failStream(message[1] as number, held);
          return;
        }
        held.chunks++;
        held.request.arrive(true);
        this.#events.onProgress();
        void held.request.reply.send(message[2] as never);
        return;
      }
      case Kind.End: {
        const held = this.#take(message[1] as number);
        if (held === undefined) return;
        this.#events.onFinal(held, undefined);
        if (held.request.kind !== 'stream') return;
        if (held.chunks === message[2]) held.request.reply.end();
        else held.request.reply.fail(unreadableError(held));
        return;
      }
      case Kind.Gone: {
        const held = this.#take(message[1] as number);
        if (held === undefined) return;
        this.#events.onFinal(held, undefined);
        // A late result is counted. One that is still open here is overdue in a moment.
        if (message[2] === true && held.request.isClosed) held.request.reply.fail(undefined);
        return;
      }
      case Kind.Taken:
        for (let index = 1; index < message.length; index++) {
          this.held.get(message[index] as number)?.request.arrive(true);
        }
        return;
      case Kind.Pong: {
        const resolve = this.#pings.get(message[1] as number);
        this.#pings.delete(message[1] as number);
        resolve?.(message[2] as WorkerHealth);
        return;
      }
      case Kind.Ready:
        this.readyAt = monotonicNow();
        this.#onLoaded(undefined);
        return;
      case Kind.LoadFailed:
        this.#onLoaded({ error: decodeError(message[1] as EncodedError), isPermanent: message[2] as boolean });
        return;
      case Kind.Closed:
        if (message[1] !== undefined) this.#disposeError = { error: decodeError(message[1] as EncodedError) };
        return;
      case Kind.Unreadable:
        this.#unreadableThere += 1;
        this.#onUnreadable();
        return;
      case Kind.Recounted:
        for (let index = 1; index < message.length; index += 2) {
          this.#compare(message[index] as number, message[index + 1] as number);
        }
        this.#unreadableThere = Math.max(0, this.#unreadableThere - 1);
        return;
    }
  }

  /** Something could not be read, here or by the host: what was lost is found by comparing what both sides hold. */
  #onUnreadable(): void {
    if (this.isLoading) {
      const error = new WorkerLoadError(
        'Cannot load model: options must be data, they could not be read where they arrived',
      );
      this.#onLoaded({ error, isPermanent: true });
    } else {
      this.host.link.post([Kind.Recount, ...this.held.keys()]);
    }
  }

  /** @param chunks How many the host has sent of a call's stream; -1 when it does not hold the call. */
  #compare(id: number, chunks: number): void {
    const held = this.held.get(id);
    if (held === undefined) return;
    if (chunks < 0) this.#finish(id, { error: unreadableError(held) }, this.#unreadableThere > 0);
    else if (chunks > held.chunks) this.#failStream(id, held);
  }

  /** A chunk was lost: its consumer gets no further. */
  #failStream(id: number, held: HeldCall): void {
    if (held.request.isClosed) return;
    const error = unreadableError(held);
    this.host.link.post([Kind.Abort, id, encodeError(error)]);
    held.request.reply.fail(error);
  }

  /** @param isUnreached Whether its input did not get to the model. */
  #finish(id: number, failure: { readonly error: unknown }, isUnreached = false): void {
    const held = this.#take(id);
    if (held === undefined) return;
    if (isUnreached) {
      blameCaller(failure.error);
      noteUnreached(replyOf(held));
    }
    this.#events.onFinal(held, failure);
    held.request.reply.fail(failure.error);
  }

  #take(id: number): HeldCall | undefined {
    const held = this.held.get(id);
    if (held === undefined) return undefined;
    this.held.delete(id);
    held.request.onGone = undefined;
    held.request.arrive(false);
    return held;
  }
}

/** What the call was answered with by its handle. */
function replyOf({ request }: HeldCall): object {
  const pending: PendingRequest = request;
  return request.kind === 'unary' ? (pending as PendingUnary).promise : (pending as PendingStream).stream;
}

function unreadableError({ request }: HeldCall): DOMException {
  const message = `Cannot call ${request.operation}: input and output must be data, one could not be read where it arrived`;
  return new DOMException(message, 'DataCloneError');
}
