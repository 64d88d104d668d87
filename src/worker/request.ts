import { type AbortListener, addAbortListener, type Clock, type Linked, removeAbortListener } from '../core/index.js';
import { type DeadlineEntry, deadlineTimerOf } from './account/deadline-timer.js';
import { DeadlineExceededError } from './errors.js';
import type { AnyOperation } from './operation.js';
import { type RequestTrace, untraced } from './trace.js';

// Invariants:
// - `phase` only advances: waiting → queued → taken → answered; any of them may go straight to answered. A request that its worker lost and its
//   listener took back is queued again.
// - One owner at a time: a queue, then a worker's account. The owner is told when the request is answered, the listener right after.
// - `hasPlace` is true from its admission to a worker's queue until the model's host has it (taken, or seen to be answered), whatever its
//   caller did meanwhile: a stuck host pushes back. Its bytes are given back as soon as it is answered.
// - `onAnswered` is told once. `onReleased` is told once, after it, when no queue and no model has the request any more.

/** How far a request has come: it waits for room, waits in a queue, is taken by a loop or host, is answered. */
export type Phase = 'waiting' | 'queued' | 'taken' | 'answered';

/** How a request ended; the names are the ledger's. */
export type Outcome = 'succeeded' | 'failed' | 'expired' | 'cancelled';

/** The present owner of a request: the queue in which it waits, or the account of the worker that runs it. */
export interface RequestOwner {
  /** The request was answered. `from` is the phase it was in. */
  onSettled(request: Request, outcome: Outcome, from: Phase): void;
  /** The model's host has begun it. */
  onTaken?(request: Request, at?: number): void;
  /** Its place in the queue is free. */
  onPlaceFree?(request: Request): void;
  /** A result came after its answer, and was dropped. */
  onLate?(request: Request): void;
  /** Makes the error of an expiry, where the usual one does not say enough. */
  expiryError?(request: Request): unknown;
}

/** The maker of a request, which is told what becomes of it. */
export interface RequestListener {
  /** The answer: a value where it succeeded, an error otherwise. */
  onAnswered(request: Request, outcome: Outcome, result: unknown): void;
  /**
   * Whether it is to be run again, where its worker ended before it answered; without that it is answered with the error. Asked once for each loss,
   * also of a request that can't be repeated (`isRepeatable`), which is never run again.
   */
  isRetried?(request: Request, error: unknown): boolean;
  /** It is to be run again, and has no owner now: to be started on another worker. */
  onLost?(request: Request, error: unknown): void;
  /**
   * A worker that lives gives it back, unanswered, and it has no owner now: it was not run (`isUntouched`), or another worker is to run it too, in case the
   * first never answers.
   */
  onGivenBack?(request: Request, isUntouched: boolean): void;
  /** No queue and no model of its worker holds it any more. */
  onReleased?(request: Request): void;
}

/** What a request is made of, checked. Times are in ms on `clock`. */
export interface RequestFields {
  readonly operation: string;
  readonly declaration: AnyOperation;
  readonly input: unknown;
  readonly bytes: number;
  readonly clock: Clock;
  readonly calledAt: number;
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number | undefined;
  readonly traceparent?: string | undefined;
  /** The caller's async context; left out where the model runs elsewhere, or is entered in that context. */
  readonly trace?: RequestTrace | undefined;
}

/**
 * One call, from where it enters to its answer: checked there, and passed on as it is by every queue, loop and executor.
 *
 * It is its own reply, and watches its deadline and its caller's signal itself, under every owner.
 */
export class Request implements Linked<Request>, AbortListener {
  next: Request | undefined = undefined;
  previous: Request | undefined = undefined;
  readonly operation: string;
  readonly declaration: AnyOperation;
  readonly clock: Clock;
  readonly calledAt: number;
  readonly timeoutMs: number | undefined;
  readonly deadline: number | undefined;
  readonly traceparent: string | undefined;
  phase: Phase = 'waiting';
  owner: RequestOwner | undefined = undefined;
  /** Its queue, as the account of its worker has it. */
  queue: unknown = undefined;
  hasPlace = false;
  /** What its input counts for in a queue; 0 once that was given back. */
  bytes: number;
  /** Whether a call into a model runs for it, which an answer does not end. */
  isInModel = false;
  /** Whether it counts as in flight: from when it was taken until it is answered and out of the model. */
  isInFlight = false;
  /** When the model was entered. */
  enteredAt = 0;
  /** When the model was left. */
  leftAt: number | undefined = undefined;
  /** When it was given up: answered before its model did. */
  goneAt: number | undefined = undefined;
  /** How urgent it is, as its pool has it. */
  priority: string | undefined = undefined;
  /** Whether its input could not be written, or read by the host: its caller's fault. */
  isUnreached = false;
  /** Whether the buffers of its input were moved to a host, so that nothing is left to run it with again. */
  isInputMoved = false;
  /** The caller's async context, where it is kept. */
  keptTrace: RequestTrace | undefined;
  /** How many chunks of its answer were passed on. */
  chunks = 0;
  /** Its number on the link to its host. */
  callId = 0;
  /** Called when it is given up, while its host has it. */
  onGone: ((reason: unknown, request: Request) => void) | undefined = undefined;
  protected readonly listener: RequestListener | undefined;
  #input: unknown;
  #due: RequestDeadline | undefined = undefined;
  #callerSignal: AbortSignal | undefined;
  #controller: AbortController | undefined = undefined;
  #goneFor: { readonly reason: unknown } | undefined = undefined;
  #isTold = false;
  #isReleased = false;

  constructor(given: RequestFields, listener?: RequestListener) {
    const { signal, timeoutMs, calledAt, clock } = given;
    this.operation = given.operation;
    this.declaration = given.declaration;
    this.clock = clock;
    this.calledAt = calledAt;
    this.bytes = given.bytes;
    this.traceparent = given.traceparent;
    this.keptTrace = given.trace;
    this.listener = listener;
    this.#input = given.input;
    this.#callerSignal = signal;
    this.timeoutMs = timeoutMs;
    if (signal !== undefined) addAbortListener(signal, this);
    const hasDeadline = timeoutMs !== undefined && timeoutMs !== Number.POSITIVE_INFINITY;
    this.deadline = hasDeadline ? calledAt + timeoutMs : undefined;
    if (hasDeadline) {
      this.#due = new RequestDeadline(this, calledAt + timeoutMs);
      deadlineTimerOf(clock).add(this.#due, calledAt);
    }
  }

  get kind(): 'unary' | 'stream' {
    return this.declaration.kind;
  }

  get trace(): RequestTrace {
    return this.keptTrace ?? untraced;
  }

  /** What answers it: itself. */
  get reply(): this {
    return this;
  }

  /** The input. To read it takes the request. */
  get input(): unknown {
    this.#takeInHand();
    return this.#input;
  }

  /** The input, without taking the request. */
  peekInput(): unknown {
    return this.#input;
  }

  /** Aborts when the answer is not wanted any more. Made when first read. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#goneFor !== undefined) this.#controller.abort(this.#goneFor.reason);
    }
    return this.#controller.signal;
  }

  /** Whether it was answered. One that is overdue in its queue is, by this question. */
  get isClosed(): boolean {
    this.#expireInQueue();
    if (this.phase !== 'answered') return false;
    if (this.hasPlace) this.owner?.onPlaceFree?.(this);
    return true;
  }

  /** How long the model has had it by its deadline, in ms; 0 for one that waits for the model. */
  get msInModel(): number {
    return this.isInModel && this.deadline !== undefined ? Math.max(0, this.deadline - this.enteredAt) : 0;
  }

  /** Takes it off the queue's account, to be run. False when it was answered: then it must not be run. `now` is the time, where it is known. */
  take(now?: number): boolean {
    this.#expireInQueue(now);
    return this.#takeInHand(now);
  }

  /** The model's host has begun it. `isInside` says that the model is at work on it, also when its caller has given it up meanwhile. */
  arrive(isInside: boolean): void {
    if (!this.#takeInHand() && isInside && this.isInModel && !this.isInFlight) this.owner?.onTaken?.(this);
  }

  /** Answers with a value; a stream overrides it. False when it was answered before. */
  send(value: unknown): boolean | Promise<boolean> {
    return this.answer('succeeded', value);
  }

  /** Answers with an error. False when it was answered before. */
  fail(error: unknown): boolean {
    return this.answer('failed', error);
  }

  /** Answers in place of the model. Does nothing when it was answered already. */
  giveUp(outcome: Exclude<Outcome, 'succeeded'>, error: unknown): void {
    if (this.phase === 'answered') return;
    this.#settle(outcome);
    this.goneAt = this.clock.now();
    this.#goneFor = { reason: error };
    this.#controller?.abort(error);
    this.deliver(outcome, error, true);
    this.onGone?.(error, this);
  }

  /** Whether another worker could run it: its consumer has read nothing, and its input is still here. */
  get isRepeatable(): boolean {
    return this.chunks === 0 && !this.isInputMoved;
  }

  /** Whether its maker would have another worker run it, now that its worker has ended with it. The maker is asked in any case: it counts the loss. */
  isWantedBack(error: unknown): boolean {
    return this.listener?.isRetried?.(this, error) === true && this.isRepeatable;
  }

  /** Goes back to its maker, unanswered. */
  goBack(error: unknown): void {
    this.owner = undefined;
    this.queue = undefined;
    this.phase = 'queued';
    this.leftAt = undefined;
    // What may still run of it is not wanted any more; the next try has a signal of its own.
    const [controller, onGone] = [this.#controller, this.onGone];
    this.#controller = undefined;
    this.onGone = undefined;
    controller?.abort(error);
    onGone?.(error, this);
    this.listener?.onLost?.(this, error);
  }

  /** Goes back to its maker, unanswered, from a worker that lives: to wait for another place. */
  giveBack(isUntouched: boolean): void {
    this.owner = undefined;
    this.queue = undefined;
    this.phase = 'queued';
    this.isInModel = false;
    this.onGone = undefined;
    this.listener?.onGivenBack?.(this, isUntouched);
  }

  /** Tells the listener that no queue and no model has it any more, once that is so. */
  releaseIfDone(): void {
    if (!this.#isTold || this.#isReleased || this.hasPlace || this.isInModel || this.isInFlight) return;
    this.#isReleased = true;
    this.listener?.onReleased?.(this);
  }

  /** The caller's signal has aborted. */
  onAbort(reason: unknown): void {
    this.giveUp('cancelled', reason);
  }

  /** The deadline has passed. */
  expire(): void {
    this.giveUp('expired', this.owner?.expiryError?.(this) ?? lateError(this));
  }

  /** The model answers: true when it is in time. */
  protected answer(outcome: 'succeeded' | 'failed', result: unknown): boolean {
    if (!this.take()) {
      this.owner?.onLate?.(this);
      return false;
    }
    this.#settle(outcome);
    this.deliver(outcome, result, false);
    return true;
  }

  /** Tells the listener. `isAbrupt` says that the answer did not come from the model. */
  protected deliver(outcome: Outcome, result: unknown, _isAbrupt: boolean): void {
    this.listener?.onAnswered(this, outcome, result);
    this.#input = undefined;
    this.#isTold = true;
    this.releaseIfDone();
  }

  /** A busy event loop comes to a queue before it comes to its timers: what is overdue is not run for that. */
  #expireInQueue(now?: number): void {
    if (this.#due === undefined || this.phase !== 'queued') return;
    if (this.#due.dueAt <= (now ?? this.clock.now())) this.expire();
  }

  #takeInHand(now?: number): boolean {
    if (this.phase === 'taken') return true;
    if (this.hasPlace) this.owner?.onPlaceFree?.(this);
    if (this.phase === 'answered') return false;
    this.phase = 'taken';
    this.owner?.onTaken?.(this, now);
    // A watcher of the worker's state may have given it up.
    return (this.phase as Phase) === 'taken';
  }

  #settle(outcome: Outcome): void {
    const from = this.phase;
    this.phase = 'answered';
    if (this.#callerSignal !== undefined) removeAbortListener(this.#callerSignal, this);
    this.#callerSignal = undefined;
    if (this.#due !== undefined) {
      deadlineTimerOf(this.clock).remove(this.#due);
      this.#due.forget();
      this.#due = undefined;
    }
    this.owner?.onSettled(this, outcome, from);
  }
}

function lateError({ operation, timeoutMs }: Request): DeadlineExceededError {
  const ms = timeoutMs as number;
  return new DeadlineExceededError(`Cannot call ${operation}: no answer within ${ms} ms`, ms);
}

/** A request's entry among the deadlines. A withdrawn entry stays there for a while, and must not keep the request and its result. */
class RequestDeadline implements DeadlineEntry {
  readonly dueAt: number;
  isPending: boolean = false;
  #request: Request | undefined;

  constructor(request: Request, dueAt: number) {
    this.#request = request;
    this.dueAt = dueAt;
  }

  onDeadline(): void {
    this.#request?.expire();
  }

  forget(): void {
    this.#request = undefined;
  }
}
