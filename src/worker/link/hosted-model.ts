import { decodeError, type EncodedError, encodeError } from '../codec/error-codec.js';
import { findTransferable } from '../codec/transferable.js';
import type { ProgressBoard } from '../hosts/progress-board.js';
import type { CallContext, UntypedModel } from '../model.js';
import type { Operations } from '../operation.js';
import { type PendingRequest, Phase } from '../pending-request.js';
import { PendingStream } from '../pending-stream.js';
import type { PendingUnary } from '../pending-unary.js';
import type { WorkerCore } from '../worker-core.js';
import type { Link } from './link.js';
import { Kind } from './messages.js';
import { sharedNow } from './shared-clock.js';
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

/** A call from the parent, which travels through the host's own queue as the input of a request. */
interface HostedCall {
  readonly id: number;
  readonly input: unknown;
  /** The request that carries it through the host's queue. */
  request: PendingRequest | undefined;
  /** Whether the model's method has it; until then the queue may still drop it. */
  hasEntered: boolean;
  isFinal: boolean;
  isAborted: boolean;
  credits: number;
  wake: (() => void) | undefined;
}

/** From how long a synchronous stretch on, in ms, nothing is kept waiting for the end of the turn. */
const SLOW_MS = 1;

const DONE = Promise.resolve();

/** The model as the host's loop sees it: the methods of the real one, with every answer sent from where it arises. */
export class HostedModel {
  readonly model: UntypedModel;
  readonly #link: Link;
  readonly #board: ProgressBoard;
  readonly #transferResults: boolean;
  readonly #calls = new Map<number, HostedCall>();
  /** Calls that were taken in this turn. */
  readonly #fresh: HostedCall[] = [];
  #core: WorkerCore | undefined;
  readonly #announce: UntypedModel['announce'];
  readonly #afterNext = (): void => void DONE.then(this.#announceTaken);
  readonly #announceTaken = (): void => {
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
      hosted[name] = kind === 'stream' ? this.#streamMethod(method) : this.#unaryMethod(method);
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

  /** Puts a call from the parent into the loop's queue. */
  call(core: WorkerCore, operation: string, message: Message, isAlone: boolean): void {
    this.#core = core;
    const id = message[1] as number;
    const remaining = message[4] as number;
    const call: HostedCall = {
      id,
      input: message[3],
      request: undefined,
      hasEntered: false,
      isFinal: false,
      isAborted: false,
      credits: 0,
      wake: undefined,
    };
    this.#calls.set(id, call);
    const dropped = (error: unknown): void => {
      if (!call.hasEntered) this.#fault(call, error);
    };
    const queue = core.queues.get(operation) as NonNullable<ReturnType<typeof core.queues.get>>;
    try {
      const traceparent = message[5] as string | undefined;
      // One that is overdue by now is accepted, for the ledger's sake, and never run.
      const left = remaining - (sharedNow() - (message[6] as number));
      const timeoutMs = remaining < 0 ? undefined : Math.max(0, left);
      core.activity.isAlone = isAlone;
      const request = core.submit(queue, call, { timeoutMs, traceparent }, true);
      core.activity.isAlone = false;
      call.request = request;
      if (request instanceof PendingStream) void drainStream(request.stream, dropped);
      else (request as PendingUnary).promise.catch(dropped);
    } catch (error) {
      dropped(error);
    }
    this.#arrived(id);
  }

  abort(id: number, reason: EncodedError): void {
    this.#arrived(id);
    const call = this.#calls.get(id);
    if (call === undefined) return;
    call.isAborted = true;
    call.request?.answerAhead('cancelled', decodeError(reason));
    call.wake?.();
  }

  credit(id: number, count: number): void {
    const call = this.#calls.get(id);
    if (call === undefined) return;
    call.credits += count;
    call.wake?.();
  }

  #unaryMethod(method: HostedMethod): Method {
    return async (input, context) => {
      const call = input as HostedCall;
      this.#enter(call, method.isSlow);
      try {
        const value = await this.#run(method, call.input, context);
        const transfer = this.#transferResults ? findTransferable(value) : undefined;
        this.#final(call, [Kind.Answer, call.id, value], (reason) => this.#refused(call, reason), transfer);
      } catch (error) {
        this.#fault(call, error);
        // The loop counts it, as it would in-process.
        throw error;
      } finally {
        this.#board.end();
      }
      return undefined;
    };
  }

  /** Calls a method, and sees how long it keeps the thread before it first waits. */
  #run(method: HostedMethod, input: unknown, context: CallContext): unknown {
    const before = performance.now();
    try {
      return method.call(input, context);
    } finally {
      method.isSlow = performance.now() - before > SLOW_MS;
      if (method.isSlow) (this.#core as WorkerCore).activity.hasBlocked = true;
    }
  }

  /** The loop has taken a call. Whoever waits for word of this turn must not wait for the model's next synchronous stretch. */
  #enter(call: HostedCall, mayBlock: boolean): void {
    call.hasEntered = true;
    this.#fresh.push(call);
    if (mayBlock) this.#link.flush();
    // A tick that is asked for outside of a microtask comes before all of them. Two of them later most fast calls have their answer.
    else if ((this.#core as WorkerCore).activity.isAlone) this.#scheduleLater();
    else this.#link.schedule();
    this.#board.begin(call.id);
  }

  #scheduleLater(): void {
    if (this.#fresh.length === 1) void DONE.then(this.#afterNext);
  }

  #takenNotice(): Message | undefined {
    if (this.#fresh.length === 0) return undefined;
    const notice: number[] = [Kind.Taken];
    for (const call of this.#fresh) if (!call.isFinal) notice.push(call.id);
    this.#fresh.length = 0;
    return notice.length === 1 ? undefined : notice;
  }

  #streamMethod({ call: method }: HostedMethod): Method {
    const self = this;
    return async function* (input, context) {
      const call = input as HostedCall;
      self.#enter(call, true);
      try {
        for await (const chunk of method(call.input, context) as AsyncIterable<unknown>) {
          while (call.credits === 0 && !call.isAborted) {
            await new Promise<void>((resolve) => {
              call.wake = resolve;
            });
            call.wake = undefined;
          }
          if (call.isAborted) break;
          call.credits--;
          let refusal: { reason: unknown } | undefined;
          self.#link.post([Kind.Chunk, call.id, chunk], (reason) => {
            refusal = { reason };
          });
          self.#link.flush();
          if (refusal !== undefined) throw (refusal as { reason: unknown }).reason;
        }
        self.#final(call, [Kind.End, call.id]);
      } catch (error) {
        self.#fault(call, error);
        throw error;
      } finally {
        // Returned from outside (the deadline passed): the final message is still owed.
        self.#final(call, [Kind.End, call.id]);
        self.#board.end();
      }
    };
  }

  #fault(call: HostedCall, error: unknown): void {
    this.#final(call, [Kind.Fault, call.id, encodeError(error)]);
  }

  #refused(call: HostedCall, reason: unknown): void {
    this.#link.post([Kind.Fault, call.id, encodeError(reason)]);
  }

  #final(
    call: HostedCall,
    message: Message,
    refused?: (reason: unknown) => void,
    transfer?: readonly ArrayBuffer[],
  ): void {
    if (call.isFinal) return;
    call.isFinal = true;
    this.#calls.delete(call.id);
    // Overdue here means overdue there, give or take a millisecond: the caller's own timer answers.
    if (call.request?.phase === Phase.ANSWERED) this.#post([Kind.Gone, call.id]);
    else this.#post(message, refused, transfer);
  }

  #post(message: Message, refused?: (reason: unknown) => void, transfer?: readonly ArrayBuffer[]): void {
    // Where no call is left, nobody else's answer can still go with it.
    if (this.#calls.size === 0) this.#link.postNow(message, refused, transfer);
    else this.#link.post(message, refused, transfer);
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
