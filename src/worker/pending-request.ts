import { type AbortListener, addAbortListener, removeAbortListener } from './abort-hub.js';
import type { DeadlineEntry } from './deadline-timer.js';
import type { OperationQueue } from './operation-queue.js';
import type { Linked } from './request-list.js';
import { CallerTrace } from './trace.js';
import { DeadlineExceededError } from './worker-errors.js';

// Invariants:
// - `phase` only advances: waiting → queued → taken → answered; any of them may go straight to answered.
// - A request is in exactly one list until it is answered: its queue's `waiting`, then the owner's `accepted`.
// - `hasPlace` is true from acceptance until the loop has it in hand (taken, or seen to be answered), whatever its caller did meanwhile: a
//   place is given back by the loop, so that a stuck loop pushes back. Its bytes are given back as soon as it is answered.
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
  /** It was taken for the first time, and was not answered. */
  onTaken(): void;
  /** The loop has it in hand: its place in the queue is free. */
  onPlaceFree(request: PendingRequest): void;
  /** It was answered. `from` is the phase it was in. */
  onSettled(request: PendingRequest, outcome: Outcome, from: number): void;
  /** The loop answered a request that had been answered over its head. */
  onLate(request: PendingRequest): void;
}

/** What a request is made from. */
export interface RequestInit {
  readonly owner: RequestOwner;
  readonly queue: OperationQueue;
  readonly input: unknown;
  readonly calledAt: number;
  readonly timeoutMs: number | undefined;
  readonly signal: AbortSignal | undefined;
  readonly traceparent: string | undefined;
  readonly onTaken: (() => void) | undefined;
}

/** One accepted or waiting call: what the loop sees as a request, and what the handle keeps account of. */
export abstract class PendingRequest implements Linked<PendingRequest>, DeadlineEntry, AbortListener {
  next: PendingRequest | undefined = undefined;
  previous: PendingRequest | undefined = undefined;
  dueAt: number;
  deadlineIndex: number = -1;
  phase: number = Phase.WAITING;
  hasPlace: boolean = false;
  /** Whether a call into the model runs for it, which an answer does not end. */
  isInModel: boolean = false;
  bytes: number = 0;
  readonly owner: RequestOwner;
  readonly queue: OperationQueue;
  readonly calledAt: number;
  /** When the model was entered. */
  enteredAt: number = 0;
  readonly trace: CallerTrace;
  /** Called when the loop takes it or finds it dead: how a bridge gives a credit back. */
  readonly onTaken: (() => void) | undefined;
  /** Called when it is answered over the loop's head, so that whoever runs it learns of it at once. */
  onGone: ((reason: unknown) => void) | undefined = undefined;
  #input: unknown;
  readonly #timeoutMs: number | undefined;
  readonly #callerSignal: AbortSignal | undefined;
  #controller: AbortController | undefined = undefined;
  #wasGivenUp = false;
  #abortReason: unknown = undefined;

  constructor(init: RequestInit) {
    this.owner = init.owner;
    this.queue = init.queue;
    this.#input = init.input;
    this.calledAt = init.calledAt;
    this.#timeoutMs = init.timeoutMs;
    this.dueAt = init.timeoutMs === undefined ? Number.POSITIVE_INFINITY : init.calledAt + init.timeoutMs;
    this.#callerSignal = init.signal;
    this.trace = new CallerTrace(init.traceparent);
    this.onTaken = init.onTaken;
    if (init.signal !== undefined) addAbortListener(init.signal, this);
  }

  get operation(): string {
    return this.queue.name;
  }

  get deadline(): number | undefined {
    return this.#timeoutMs === undefined ? undefined : this.dueAt;
  }

  get traceparent(): string | undefined {
    return this.trace.traceparent;
  }

  get input(): unknown {
    this.take();
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
    if (this.phase !== Phase.ANSWERED) return false;
    if (this.hasPlace) this.owner.onPlaceFree(this);
    return true;
  }

  take(): boolean {
    if (this.phase === Phase.TAKEN) return true;
    if (this.hasPlace) this.owner.onPlaceFree(this);
    if (this.phase === Phase.ANSWERED) return false;
    this.phase = Phase.TAKEN;
    this.owner.onTaken();
    return true;
  }

  /** The caller's signal has aborted. */
  onAbort(reason: unknown): void {
    this.answerAhead('cancelled', reason);
  }

  /** The deadline has passed. */
  onDeadline(): void {
    const ms = this.#timeoutMs as number;
    this.answerAhead(
      'expired',
      new DeadlineExceededError(`Cannot answer ${this.operation}: expected within ${ms} ms, received nothing`, ms),
    );
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
    if (this.#callerSignal !== undefined) removeAbortListener(this.#callerSignal, this);
    this.owner.onSettled(this, outcome, from);
  }

  /** Tells the caller of an error that did not come from the loop. */
  protected abstract deliverAhead(error: unknown): void;
}
