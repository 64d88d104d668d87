import { CancellationToken } from '../channels/index.js';
import { type Clock, messageOf } from '../core/index.js';
import { Activity } from './activity.js';
import { type DeadlineTimer, deadlineTimerOf } from './deadline-timer.js';
import { EventHub, type RequestReport, requestChannel } from './event-hub.js';
import type { CallOptions } from './handle.js';
import { inputBytes, requireFits } from './input-size.js';
import { LatencyWindow } from './latency-window.js';
import { ModelAccount } from './model-account.js';
import type { Operations } from './operation.js';
import { OperationQueue } from './operation-queue.js';
import { type Outcome, type PendingRequest, Phase, RequestDeadline, type RequestOwner } from './pending-request.js';
import { PendingStream } from './pending-stream.js';
import { PendingUnary } from './pending-unary.js';
import { RequestLedger } from './request-ledger.js';
import { StateMachine } from './state-machine.js';
import { CallerTrace, DistantTrace, type RequestTrace, untraced } from './trace.js';
import { TurningPoint } from './turning-point.js';
import { WorkerClosedError, WorkerFullError } from './worker-errors.js';
import type { WorkerHealth } from './worker-health.js';
import { canTransition, isLive, type WorkerState } from './worker-state.js';
import type { WorkerStats } from './worker-stats.js';

// Invariants:
// - A call is either refused or accepted. A refused call is answered too, but never enters the ledger.
// - Once `isOver`, nothing waits, nothing is unanswered and nothing is accepted any more.

/** What handle and channels share: the way of every request, the state, the events and the end. */
export class WorkerCore implements RequestOwner {
  readonly id: string;
  readonly clock: Clock;
  readonly operations: Operations;
  readonly queues: ReadonlyMap<string, OperationQueue>;
  readonly state: StateMachine;
  readonly hub: EventHub;
  /** Cancelled when the loop should take no more, let what runs finish, and end. */
  readonly shutdown: CancellationToken = new CancellationToken();
  /** Cancelled when the loop should end now: everything has been answered. */
  readonly kill: CancellationToken = new CancellationToken();
  /** Cancelled once the loop is over. */
  readonly ended: CancellationToken = new CancellationToken();
  readonly latency: LatencyWindow = new LatencyWindow();
  /** The calls into the model. */
  readonly model: ModelAccount;
  readonly activity: Activity;
  /** Whether the model is in another thread or process, where nothing of the caller's context is. */
  isDistant = false;
  /** Whether the model's host gives no sign of life. */
  isSilent: () => boolean = () => false;
  readonly #ledger: RequestLedger = new RequestLedger();
  readonly #deadlines: DeadlineTimer;
  readonly #quiet: TurningPoint = new TurningPoint();
  readonly #released: TurningPoint = new TurningPoint();
  readonly #over: TurningPoint = new TurningPoint();
  #restarts = 0;
  #isAccepting = true;
  #isOver = false;
  #isAttached = false;
  #startedAt: number;

  constructor(id: string, operations: Operations, clock: Clock) {
    this.id = id;
    this.operations = operations;
    this.clock = clock;
    this.#deadlines = deadlineTimerOf(clock);
    this.#startedAt = clock.now();
    this.queues = new Map(
      Object.entries(operations).map(([name, operation]) => [name, new OperationQueue(name, operation)]),
    );
    const now = (): number => clock.now();
    this.hub = new EventHub(id, now);
    this.model = new ModelAccount(this.hub);
    const onStep = (from: WorkerState, to: WorkerState, cause: unknown): void => {
      if (!this.hub.hasAudience('state')) return;
      this.hub.emit(cause === undefined ? { type: 'state', from, to } : { type: 'state', from, to, cause });
    };
    this.state = new StateMachine(now, onStep, () => this.hub.hasAudience('state'));
    this.activity = new Activity(this.state, this.model, now);
  }

  /** Whether a call waits for room or for its answer. */
  get hasPending(): boolean {
    return this.#ledger.hasPending;
  }

  /** Whether the loop is over: nothing will be answered any more, because everything was. */
  get isOver(): boolean {
    return this.#isOver;
  }

  get isAccepting(): boolean {
    return this.#isAccepting;
  }

  /** Whether a loop has begun to work, and will say when it is over. */
  get isAttached(): boolean {
    return this.#isAttached;
  }

  // --- calls

  /**
   * Accepts a call, lets it wait for room, or refuses it; the request knows the answer's way in each case.
   *
   * @throws What refuses the call.
   */
  submit(queue: OperationQueue, input: unknown, options: CallOptions | undefined, mayWait: boolean): PendingRequest {
    const signal = options?.signal;
    const timeoutMs = options?.timeoutMs;
    try {
      // Measuring runs code of the caller's, which may abort the call or end the worker.
      const bytes = inputBytes(queue.name, queue.operation, input);
      this.#requireAcceptable(queue, signal);
      requireFits(queue.name, queue.operation, bytes);
      const mustWait = queue.waiting.first !== undefined || !queue.hasRoom(bytes);
      if (mustWait && !mayWait) {
        throw new WorkerFullError(
          `Cannot call ${queue.name}: its queue must have room, received ${queue.used} of ${queue.maxItems} requests`,
          queue.name,
        );
      }
      const now = this.activity.timeOfCall(timeoutMs !== undefined);
      // Spelled out: a class that is a constant can be inlined.
      const request =
        queue.operation.kind === 'unary'
          ? new PendingUnary(this, queue, input, now, options)
          : new PendingStream(this, queue, input, now, options);
      request.bytes = bytes;
      this.#enter(request, timeoutMs, mustWait);
      return request;
    } catch (error) {
      this.#ledger.refused++;
      throw error;
    }
  }

  /**
   * Accepts a call that has just come over a link, as a request of the link's own making.
   *
   * @throws What refuses the call.
   */
  admit(request: PendingRequest, timeoutMs: number | undefined): void {
    const { queue } = request;
    try {
      this.#requireAcceptable(queue, undefined);
    } catch (error) {
      this.#ledger.refused++;
      throw error;
    }
    this.#enter(request, timeoutMs, queue.waiting.first !== undefined || !queue.hasRoom(0));
  }

  #enter(request: PendingRequest, timeoutMs: number | undefined, mustWait: boolean): void {
    const now = request.calledAt;
    // One that may take for ever has no deadline.
    if (timeoutMs !== undefined && timeoutMs !== Number.POSITIVE_INFINITY) {
      request.due = new RequestDeadline(request, now + timeoutMs);
      this.#deadlines.add(request.due, now);
    }
    if (mustWait || requestChannel.hasSubscribers) request.keepTrace();
    if (mustWait) {
      this.#ledger.wait(request);
    } else {
      this.#accept(request, now);
    }
  }

  traceOf(traceparent: string | undefined): RequestTrace {
    if (!this.isDistant || requestChannel.hasSubscribers) return new CallerTrace(traceparent);
    return traceparent === undefined ? untraced : new DistantTrace(traceparent);
  }

  #requireAcceptable(queue: OperationQueue, signal: AbortSignal | undefined): void {
    if (!this.#isAccepting) throw this.#refusal(queue);
    if (signal?.aborted) throw signal.reason;
  }

  #refusal({ name }: OperationQueue): WorkerClosedError {
    const { cause } = this.state.borrow();
    const why = cause === undefined ? '' : `, since it has failed: ${messageOf(cause)}`;
    return new WorkerClosedError(`Cannot call ${name}: ${this.id} takes no more calls${why}`, { cause });
  }

  /** @param at The time, where the caller knows it. */
  #accept(request: PendingRequest, at: number | undefined): void {
    request.phase = Phase.QUEUED;
    this.#ledger.accept(request);
    try {
      request.queue.enter(request, at);
    } catch (error) {
      // A loop of the user's own closed the receiver of an operation that it does not serve any more.
      request.queue.freePlace(request);
      const reason = `Cannot call ${request.operation}: the loop has closed its queue`;
      request.answerAhead('failed', new WorkerClosedError(reason, { cause: error }));
    }
  }

  #admit(queue: OperationQueue): void {
    for (;;) {
      const first = queue.waiting.first;
      if (first === undefined || !queue.hasRoom(first.bytes)) return;
      this.#ledger.stopWaiting(first);
      this.#accept(first, undefined);
    }
  }

  // --- what requests report

  onTaken(request: PendingRequest, at: number | undefined): void {
    this.activity.begin(request, at);
  }

  onPlaceFree(request: PendingRequest): void {
    request.queue.freePlace(request);
    if (request.phase === Phase.ANSWERED) this.#released.reach();
    this.#admit(request.queue);
  }

  onSettled(request: PendingRequest, outcome: Outcome, from: number): void {
    if (request.due !== undefined) {
      this.#deadlines.remove(request.due);
      request.due.forget();
      request.due = undefined;
    }
    if (from === Phase.WAITING) {
      this.#ledger.stopWaiting(request);
      this.#ledger.refused++;
      // It may have held up smaller ones behind it.
      this.#admit(request.queue);
    } else {
      this.#ledger.answer(request, outcome);
      // A call that has just left the model was seen off with a look at the clock.
      const now = this.model.lastLeft === request ? this.model.lastActiveAt : this.clock.now();
      this.#report(request, outcome, now);
      if (from === Phase.QUEUED && request.bytes > 0) {
        request.queue.freeBytes(request);
        this.#admit(request.queue);
      }
      if (from === Phase.TAKEN && !request.isInModel) this.#leaveFlight(request, now);
      this.model.lastLeft = undefined;
    }
    if (this.#quiet.isAwaited) this.#checkQuiet();
  }

  onLate(request: PendingRequest): void {
    this.#ledger.late++;
    if (this.hub.hasAudience('late')) this.hub.emit({ type: 'late', operation: request.operation });
  }

  #report(request: PendingRequest, outcome: Outcome, now: number): void {
    const ms = now - request.calledAt;
    if (outcome === 'succeeded' || outcome === 'failed') this.latency.record(ms, now);
    if (!requestChannel.hasSubscribers) return;
    const report: RequestReport = { workerId: this.id, operation: request.operation, outcome, ms };
    const { keptTrace } = request;
    if (keptTrace === undefined) requestChannel.publish(report);
    else keptTrace.run(() => requestChannel.publish(report));
  }

  // --- the loop

  /** A call into the model begins: it occupies the worker until {@link leaveModel}, whatever the caller does meanwhile. */
  enterModel(request: PendingRequest, at: number = this.clock.now()): void {
    request.isInModel = true;
    this.model.enter(request, at);
  }

  /** The call into the model has returned. Called before the request is answered. */
  leaveModel(request: PendingRequest, isFailure: boolean, error: unknown, now: number = this.clock.now()): void {
    const isAnswered = request.phase === Phase.ANSWERED;
    request.isInModel = false;
    // What a method throws once nobody listens any more is most often the abort itself.
    this.model.leave(request, isFailure && !isAnswered, error, now);
    // One that is about to be answered leaves the flight with its answer; one that no model ever saw was never in it.
    if (isAnswered) this.model.lastLeft = undefined;
    if (isAnswered && request.isInFlight) this.#leaveFlight(request, now);
  }

  #leaveFlight(request: PendingRequest, at: number): void {
    this.activity.end(request, at);
    this.#released.reach();
  }

  /** A step of the loop. False when the worker is on its way out, so that the step has lost its sense. */
  enter(to: WorkerState, cause: unknown): boolean {
    this.#isAttached = true;
    const from = this.state.current;
    if (from === to) return true;
    if (!isLive(from) && !canTransition(from, to)) return false;
    if (to === 'spawning') this.#restarts++;
    this.state.enter(to, cause);
    if (to === 'ready') this.activity.sync();
    return true;
  }

  /** Registers the loop: from now on the worker waits for its end. */
  attach(): void {
    this.#isAttached = true;
    this.#startedAt = this.clock.now();
  }

  // --- the end

  stopAccepting(): void {
    this.#isAccepting = false;
  }

  /** Resolves when every call made so far has its answer. */
  quiet(): Promise<void> {
    const quiet = this.#quiet.reached();
    this.#checkQuiet();
    return quiet;
  }

  #checkQuiet(): void {
    if (!this.hasPending) this.#quiet.reach();
  }

  /** Answers every call with an error, now. */
  answerAll(error: unknown): void {
    for (const queue of this.queues.values()) {
      while (queue.waiting.first !== undefined) queue.waiting.first.answerAhead('failed', error);
    }
    const { unanswered } = this.#ledger;
    while (unanswered.first !== undefined) unanswered.first.answerAhead('failed', error);
  }

  /** The loop is over: what is unanswered is answered, and the worker is dead, or failed where there is a cause and nobody asked it to end. */
  finish(cause: unknown): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#isAccepting = false;
    this.answerAll(cause ?? new WorkerClosedError('Cannot answer: the worker has ended'));
    this.shutdown.cancel();
    this.kill.cancel();
    for (const queue of this.queues.values()) queue.close();
    if (isLive(this.state.current) && cause !== undefined) {
      this.state.enter('failed', cause);
    } else {
      if (isLive(this.state.current)) this.state.enter('evicting');
      if (this.state.current !== 'dead') this.state.enter('dead', cause);
    }
    this.#deadlines.trim();
    this.hub.end();
    this.ended.cancel();
    this.#released.reach();
    this.#over.reach();
  }

  /** Resolves when a request next leaves the worker: the model, or a queue in which it was answered before it was taken. */
  released(): Promise<void> {
    return this.#isOver ? Promise.resolve() : this.#released.reached();
  }

  /** Resolves when the loop is over. */
  over(): Promise<void> {
    return this.#isOver ? Promise.resolve() : this.#over.reached();
  }

  // --- reports

  stats(): WorkerStats {
    return {
      ...this.#ledger.report(this.queues.values()),
      inFlight: this.activity.inFlight,
      restarts: this.#restarts,
      queueDepth: this.#queueDepth(),
      latency: this.latency.summarise(this.clock.now()),
    };
  }

  health(): WorkerHealth {
    const now = this.clock.now();
    const status = this.state.borrow();
    return {
      state: status.state,
      stateMs: now - status.enteredAt,
      queueDepth: this.#queueDepth(),
      inFlight: this.activity.inFlight,
      ...this.model.report(now),
      uptimeMs: now - this.#startedAt,
      pid: process.pid,
      rss: process.memoryUsage.rss(),
    };
  }

  #queueDepth(): Record<string, number> {
    return Object.fromEntries([...this.queues].map(([name, { used }]) => [name, used]));
  }
}
