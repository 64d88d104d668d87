import { type AbortListener, addAbortListener, type Clock, type Linked, removeAbortListener } from '../core/index.js';
import type { DeadlineEntry } from './deadline-timer.js';
import type { CallOptions } from './handle.js';
import type { OperationQueue } from './operation-queue.js';
import type { RequestTrace } from './trace.js';
import { DeadlineExceededError } from './worker-errors.js';

// Invariants:
// - `phase` only advances: waiting → queued → taken → answered; any of them may go straight to answered.
// - A request is in exactly one list until it is answered: its queue's `waiting`, then the owner's `accepted`.
// - `hasPlace` is true from acceptance until the loop beside the model has it in hand (taken, or seen to be answered), whatever its caller did
//   meanwhile: a place is given back by the loop, so that a stuck loop pushes back. A request on its way to a host is not in that loop's hand
//   yet. Its bytes are given back as soon as it is answered.
// - `settle` runs once; the caller is answered in it or right after it, with nothing in between that can throw.

/** How far a request has come. Numbers, because every request passes through all of them. */
export const Phase: {
  readonly WAITING: 0;
  readonly QUEUED: 1;
  readonly TAKEN: 2;
  readonly ANSWERED: 3;
} = { WAITING: 0, QUEUED: 1, TAKEN: 2, ANSWERED: 3 };

/** How a request ended; the names are the ledger's. */
export type Outcome = 'succeeded' | 'failed' | 'expired' | 'cancelled';

/** What a request tells its worker. The worker's core is one. */
export interface RequestOwner {
  readonly clock: Clock;
  /** What a request that is made now keeps of where it comes from. */
  traceOf(traceparent: string | undefined): RequestTrace;
  /** It was taken for the first time, or was answered on its way into a model that is at it. */
  onTaken(request: PendingRequest, at: number | undefined): void;
  /** The loop has it in hand: its place in the queue is free. */
  onPlaceFree(request: PendingRequest): void;
  /** It was answered. `from` is the phase it was in. */
  onSettled(request: PendingRequest, outcome: Outcome, from: number): void;
  /** The loop answered a request that had been answered over its head. */
  onLate(request: PendingRequest): void;
}

/** One accepted or waiting call: what the loop sees as a request, and what the handle keeps account of. */
export abstract class PendingRequest implements Linked<PendingRequest>, AbortListener {
  next: PendingRequest | undefined = undefined;
  previous: PendingRequest | undefined = undefined;
  /** Its entry among the deadlines; undefined when it has none, or is answered. */
  due: RequestDeadline | undefined = undefined;
  phase: number = Phase.WAITING;
  hasPlace: boolean = false;
  /** Whether a call into the model runs for it, which an answer does not end. */
  isInModel: boolean = false;
  /** Whether it counts as in flight: from when it was taken until it is answered and out of the model. */
  isInFlight: boolean = false;
  bytes: number = 0;
  readonly owner: RequestOwner;
  readonly queue: OperationQueue;
  readonly calledAt: number;
  /** When the model was entered. */
  enteredAt: number = 0;
  /** Its place among the calls that are inside the model. */
  insideIndex: number = -1;
  /** Called when it is answered over the loop's head, so that whoever runs it learns of it at once. */
  onGone: ((reason: unknown) => void) | undefined = undefined;
  #trace: RequestTrace | undefined = undefined;
  #input: unknown;
  readonly #options: CallOptions | undefined;
  #controller: AbortController | undefined = undefined;
  #wasGivenUp = false;
  #abortReason: unknown = undefined;

  constructor(
    owner: RequestOwner,
    queue: OperationQueue,
    input: unknown,
    calledAt: number,
    options: CallOptions | undefined,
  ) {
    this.owner = owner;
    this.queue = queue;
    this.#input = input;
    this.calledAt = calledAt;
    this.#options = options;
    if (options?.signal !== undefined) addAbortListener(options.signal, this);
  }

  get operation(): string {
    return this.queue.name;
  }

  get deadline(): number | undefined {
    const ms = this.#options?.timeoutMs;
    return ms === undefined ? undefined : this.calledAt + ms;
  }

  get traceparent(): string | undefined {
    return this.#options?.traceparent;
  }

  /** Where it comes from, where that is kept: a request that a microtask of its caller's starts needs no record of it. */
  get keptTrace(): RequestTrace | undefined {
    return this.#trace;
  }

  get trace(): RequestTrace {
    return this.keepTrace();
  }

  /** Keeps where it comes from. To be called in its caller's context, before it waits anywhere. */
  keepTrace(): RequestTrace {
    this.#trace ??= this.owner.traceOf(this.traceparent);
    return this.#trace;
  }

  get input(): unknown {
    // Whoever asks has seen that it is open, a moment ago: that moment counts.
    this.#takeInHand(undefined);
    return this.#input;
  }

  /** The input, without taking the request. */
  peekInput(): unknown {
    return this.#input;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#wasGivenUp) this.#controller.abort(this.#abortReason);
    }
    return this.#controller.signal;
  }

  get isClosed(): boolean {
    if (this.due !== undefined) this.#expireInQueue(undefined);
    if (this.phase !== Phase.ANSWERED) return false;
    if (this.hasPlace) this.owner.onPlaceFree(this);
    return true;
  }

  /** Leaves the queue for a host, and keeps its place there. False when it was answered: then it must not be sent. */
  dispatch(): boolean {
    return !this.isClosed;
  }

  /** The loop of the host has had it in hand. `isInside` says that the model is at it, also when its caller has given it up on the way. */
  arrive(isInside: boolean): void {
    if (!this.#takeInHand(undefined) && isInside && this.isInModel && !this.isInFlight) {
      this.owner.onTaken(this, undefined);
    }
  }

  // A loop that has just looked at the clock says what it saw.
  take(at?: number): boolean {
    if (this.due !== undefined) this.#expireInQueue(at);
    return this.#takeInHand(at);
  }

  /** A busy event loop comes to the queue before it comes to its timers: what is overdue is not run for that. */
  #expireInQueue(at: number | undefined): void {
    if (this.phase !== Phase.QUEUED) return;
    if ((this.due as RequestDeadline).dueAt <= (at ?? this.owner.clock.now())) this.expire();
  }

  #takeInHand(at: number | undefined): boolean {
    if (this.phase === Phase.TAKEN) return true;
    if (this.hasPlace) this.owner.onPlaceFree(this);
    if (this.phase === Phase.ANSWERED) return false;
    this.phase = Phase.TAKEN;
    this.owner.onTaken(this, at);
    // Whoever is told of the step to processing may have given it up.
    return this.phase === Phase.TAKEN;
  }

  /** The caller's signal has aborted. */
  onAbort(reason: unknown): void {
    this.answerAhead('cancelled', reason);
  }

  /** The deadline has passed. */
  expire(): void {
    const ms = this.#options?.timeoutMs as number;
    this.answerAhead(
      'expired',
      new DeadlineExceededError(`Cannot answer ${this.operation}: expected within ${ms} ms, received nothing`, ms),
    );
  }

  /** How long the model has had it by its deadline, in ms; 0 for one that waits for the model. */
  get msInModel(): number {
    return this.isInModel && this.deadline !== undefined ? Math.max(0, this.deadline - this.enteredAt) : 0;
  }

  /** Answers with an error over the loop's head. Does nothing when it was answered already. */
  answerAhead(outcome: Outcome, error: unknown): void {
    if (this.phase === Phase.ANSWERED) return;
    this.settle(outcome);
    this.#wasGivenUp = true;
    this.#abortReason = error;
    this.#controller?.abort(error);
    this.deliverAhead(error);
    this.onGone?.(error);
  }

  /** The loop answers: true when it is in time. */
  protected answer(outcome: Outcome): boolean {
    if (!this.take()) {
      this.owner.onLate(this);
      return false;
    }
    this.settle(outcome);
    return true;
  }

  protected settle(outcome: Outcome): void {
    const from = this.phase;
    this.phase = Phase.ANSWERED;
    this.#input = undefined;
    const signal = this.#options?.signal;
    if (signal !== undefined) removeAbortListener(signal, this);
    this.owner.onSettled(this, outcome, from);
  }

  /** Tells the caller of an error that did not come from the loop. */
  protected abstract deliverAhead(error: unknown): void;
}

/** A request's entry among the deadlines: apart from it, because most requests of a busy worker have none. */
export class RequestDeadline implements DeadlineEntry {
  readonly dueAt: number;
  isPending: boolean = false;
  #request: PendingRequest | undefined;

  constructor(request: PendingRequest, dueAt: number) {
    this.#request = request;
    this.dueAt = dueAt;
  }

  onDeadline(): void {
    this.#request?.expire();
  }

  /** Lets go of its request, which is answered: a withdrawn entry stays among the deadlines for a while, and would keep the result. */
  forget(): void {
    this.#request = undefined;
  }
}
