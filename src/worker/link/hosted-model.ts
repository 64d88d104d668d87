import { monotonicNow } from '../../core/index.js';
import { decodeError, type EncodedError, encodeError } from '../codec/error-codec.js';
import { isSmallData } from '../codec/small-data.js';
import { findTransferable } from '../codec/transferable.js';
import { requireChunks } from '../chunks.js';
import type { ProgressBoard } from '../hosts/progress-board.js';
import type { CallOptions } from '../handle.js';
import type { CallContext, UntypedModel } from '../model.js';
import type { Operations } from '../operation.js';
import type { OperationQueue } from '../operation-queue.js';
import { type PendingRequest, Phase } from '../pending-request.js';
import type { PendingStream } from '../pending-stream.js';
import type { WorkerCore } from '../worker-core.js';
import { CallTable } from './call-table.js';
import { HostedUnary, type WayBack } from './hosted-unary.js';
import type { Link } from './link.js';
import { Kind } from './messages.js';
import { sharedTime } from './shared-clock.js';
import type { Message } from './outbox.js';

// Invariants:
// - every call that arrives gets exactly one final message, sent when its method has left the model (or when it is sure never to enter it):
//   that message is what gives the slot back to the parent, so an aborted call sends it late rather than early;
// - a chunk is sent only against a credit of the consumer's;
// - a call that is not final at the end of the turn in which the loop took it is announced as taken, before anything blocks where that is foreseen.

type Method = (input: unknown, context: CallContext) => unknown;

/** A method of the model, and whether it is to be expected to keep the thread for a while: one that was never called is. */
interface HostedMethod {
  readonly call: Method;
  isSlow: boolean;
}

/** A call for a stream from the parent, which travels through the host's own queue as the input of a request. */
interface HostedStream {
  readonly id: number;
  readonly input: unknown;
  /** The request that carries it through the host's queue. */
  request: PendingRequest | undefined;
  hasEntered: boolean;
  isFinal: boolean;
  isAborted: boolean;
  credits: number;
  /** How many chunks were sent. */
  sent: number;
  wake: (() => void) | undefined;
}

type HostedCall = HostedUnary | HostedStream;

/** From how long a synchronous stretch on, in ms, nothing is kept waiting for the end of the turn. */
const SLOW_MS = 1;

const DONE = Promise.resolve();

/** The model as the host's loop sees it: the methods of the real one, with every answer sent from where it arises. */
export class HostedModel implements WayBack {
  readonly model: UntypedModel;
  readonly #link: Link;
  readonly #board: ProgressBoard;
  readonly #transferResults: boolean;
  readonly #calls = new CallTable<HostedCall>();
  /** Calls that were taken in this turn. */
  readonly #fresh: HostedCall[] = [];
  #core: WorkerCore | undefined;
  readonly #announce: UntypedModel['announce'];
  #isLooking = false;
  readonly #announceTaken = (): void => {
    this.#isLooking = false;
    if (this.#fresh.some((call) => !call.isFinal)) this.#link.schedule();
  };
  readonly #announced = new Map<number, () => void>();

  constructor(model: UntypedModel, operations: Operations, link: Link, board: ProgressBoard, transferResults: boolean) {
    this.#link = link;
    this.#board = board;
    this.#transferResults = transferResults && link.canTransfer;
    const hosted: Record<string, unknown> = {};
    for (const [name, { kind }] of Object.entries(operations)) {
      const method = { call: (model[name] as Method).bind(model), isSlow: true };
      hosted[name] = kind === 'stream' ? this.#streamMethod(name, method) : this.#unaryMethod(method);
    }
    for (const name of ['warmup', 'dispose', 'health'] as const) {
      const lifecycle = model[name];
      if (lifecycle !== undefined) hosted[name] = lifecycle.bind(model);
    }
    this.#announce = model.announce?.bind(model);
    this.model = hosted;
    link.lastWord(() => this.#takenNotice());
  }

  /** Tells the model of a call whose input is still on its way. */
  announce(operation: string, id: number): void {
    this.#announce?.(operation, new Promise((resolve) => this.#announced.set(id, resolve)));
  }

  #arrived(id: number): void {
    this.#announced.get(id)?.();
    this.#announced.delete(id);
  }

  /** Puts a call from the parent into the loop's queue. `at` is the time. */
  call(core: WorkerCore, operation: string, message: Message, isAlone: boolean, at: number): void {
    this.#core = core;
    const id = message[1] as number;
    const queue = core.queues.get(operation) as OperationQueue;
    const remaining = message[4] as number;
    const traceparent = message[5] as string | undefined;
    // One that is overdue by now is accepted, for the ledger's sake, and never run.
    const timeoutMs = remaining < 0 ? undefined : Math.max(0, remaining - (sharedTime(at) - (message[6] as number)));
    const options = remaining < 0 && traceparent === undefined ? undefined : { timeoutMs, traceparent };
    core.activity.isAlone = isAlone;
    if (queue.operation.kind === 'unary') {
      this.#callUnary(core, new HostedUnary(id, this, core, queue, message[3], at, options), timeoutMs);
    } else {
      this.#callStream(core, queue, message[3], options, id);
    }
    core.activity.isAlone = false;
    if (isAlone) this.#lookLater();
    if (this.#announced.size > 0) this.#arrived(id);
  }

  #callUnary(core: WorkerCore, call: HostedUnary, timeoutMs: number | undefined): void {
    this.#calls.add(call);
    try {
      core.admit(call, timeoutMs);
    } catch (error) {
      this.#fault(call, error);
    }
  }

  #callStream(
    core: WorkerCore,
    queue: OperationQueue,
    input: unknown,
    options: CallOptions | undefined,
    id: number,
  ): void {
    const call: HostedStream = {
      id,
      input,
      request: undefined,
      hasEntered: false,
      isFinal: false,
      isAborted: false,
      credits: 0,
      sent: 0,
      wake: undefined,
    };
    this.#calls.add(call);
    const dropped = (error: unknown): void => {
      if (!call.hasEntered) this.#endStream(call, { error });
    };
    try {
      const request = core.submit(queue, call, options, true) as PendingStream;
      call.request = request;
      void drainStream(request.stream, dropped);
    } catch (error) {
      dropped(error);
    }
  }

  abort(id: number, reason: EncodedError): void {
    this.#arrived(id);
    const call = this.#calls.get(id);
    if (call === undefined) return;
    if (call instanceof HostedUnary) {
      call.answerAhead('cancelled', decodeError(reason));
      return;
    }
    call.isAborted = true;
    call.request?.answerAhead('cancelled', decodeError(reason));
    call.wake?.();
  }

  credit(id: number, count: number): void {
    const call = this.#calls.get(id);
    if (call === undefined || call instanceof HostedUnary) return;
    call.credits += count;
    call.wake?.();
  }

  /** Says of each of some calls how many chunks were sent, or that it is not here. */
  recount(ids: readonly number[]): void {
    const report: number[] = [Kind.Recounted];
    for (const id of ids) {
      const call = this.#calls.get(id);
      if (call === undefined) this.#arrived(id);
      if (call === undefined) report.push(id, -1);
      else if (!(call instanceof HostedUnary)) report.push(id, call.sent);
    }
    this.#link.post(report);
  }

  #unaryMethod(method: HostedMethod): Method {
    return (input, context) => {
      const call = input as HostedUnary;
      this.#enter(call, method.isSlow);
      const before = monotonicNow();
      try {
        return method.call(call.payload, context);
      } finally {
        // How long it keeps the thread before it first waits.
        method.isSlow = monotonicNow() - before > SLOW_MS;
        if (method.isSlow) (this.#core as WorkerCore).activity.hasBlocked = true;
      }
    };
  }

  onEnd(call: HostedUnary, isInTime: boolean, value: unknown, failure: { readonly error: unknown } | undefined): void {
    if (!isInTime) {
      this.#final(call, [Kind.Gone, call.id, true]);
    } else if (failure !== undefined) {
      this.#fault(call, failure.error);
    } else {
      const transfer = this.#transferResults ? findTransferable(value) : undefined;
      const refused = (reason: unknown): void => this.#refused(call, reason);
      this.#final(call, [Kind.Answer, call.id, value], refused, transfer, !isSmallData(value));
    }
    if (call.hasEntered) this.#board.end();
  }

  onDropped(call: HostedUnary): void {
    this.#final(call, [Kind.Gone, call.id, false]);
  }

  /** The loop has taken a call. Whoever waits for word of this turn must not wait for the model's next synchronous stretch. */
  #enter(call: HostedCall, mayBlock: boolean): void {
    call.hasEntered = true;
    this.#fresh.push(call);
    if (mayBlock) this.#link.flush();
    // One that comes alone is looked after when its method has begun.
    else if (!(this.#core as WorkerCore).activity.isAlone) this.#link.schedule();
    this.#board.begin(call.id);
  }

  /**
   * A tick that is asked for outside of a microtask comes before all of them. After the microtask of a method that ends at once, the call has its
   * answer.
   */
  #lookLater(): void {
    if (this.#fresh.length === 0 || this.#isLooking) return;
    this.#isLooking = true;
    void DONE.then(this.#announceTaken);
  }

  #takenNotice(): Message | undefined {
    if (this.#fresh.length === 0) return undefined;
    let notice: number[] | undefined;
    // Emptied one by one: to set an array's length costs more than all the rest.
    for (let call = this.#fresh.pop(); call !== undefined; call = this.#fresh.pop()) {
      if (call.isFinal) continue;
      notice ??= [Kind.Taken];
      notice.push(call.id);
    }
    return notice;
  }

  #streamMethod(operation: string, { call: method }: HostedMethod): Method {
    const self = this;
    return async function* (input, context) {
      const call = input as HostedStream;
      self.#enter(call, true);
      try {
        for await (const chunk of requireChunks(operation, await method(call.input, context))) {
          while (call.credits === 0 && !call.isAborted) {
            await new Promise<void>((resolve) => {
              call.wake = resolve;
            });
            call.wake = undefined;
          }
          if (call.isAborted) break;
          call.credits--;
          let refusal: { reason: unknown } | undefined;
          const refused = (reason: unknown): void => {
            refusal = { reason };
          };
          const message = [Kind.Chunk, call.id, chunk, call.sent++];
          self.#link.postNow(message, refused, undefined, !isSmallData(chunk));
          if (refusal !== undefined) throw (refusal as { reason: unknown }).reason;
        }
        self.#endStream(call);
      } catch (error) {
        self.#endStream(call, { error });
        throw error;
      } finally {
        // Returned from outside (the deadline passed): the final message is still owed.
        self.#endStream(call);
        self.#board.end();
      }
    };
  }

  #fault(call: HostedCall, error: unknown): void {
    this.#final(call, [Kind.Fault, call.id, encodeError(error)]);
  }

  #endStream(call: HostedStream, failure?: { readonly error: unknown }): void {
    // Overdue here means overdue there, give or take a millisecond: the caller's own timer answers.
    if (call.request?.phase === Phase.ANSWERED) this.#final(call, [Kind.Gone, call.id, false]);
    else if (failure !== undefined) this.#fault(call, failure.error);
    else this.#final(call, [Kind.End, call.id, call.sent]);
  }

  #refused(call: HostedCall, reason: unknown): void {
    this.#link.post([Kind.Fault, call.id, encodeError(reason)]);
  }

  #final(
    call: HostedCall,
    message: Message,
    refused?: (reason: unknown) => void,
    transfer?: readonly ArrayBuffer[],
    isAlone?: boolean,
  ): void {
    if (call.isFinal) return;
    call.isFinal = true;
    this.#calls.remove(call);
    // Where no call is left, nobody else's answer can still go with it.
    if (this.#calls.isEmpty) this.#link.postNow(message, refused, transfer, isAlone);
    else this.#link.post(message, refused, transfer, isAlone);
  }
}

/** Runs a stream that yields nothing here: its chunks were sent from inside. */
async function drainStream(reply: AsyncIterator<unknown>, dropped: (error: unknown) => void): Promise<void> {
  try {
    while ((await reply.next()).done !== true);
  } catch (error) {
    dropped(error);
  }
}
