import { CancellationToken } from '../channels/index.js';
import type { Clock } from '../core/index.js';
import { type DeadlineTimer, deadlineTimerOf } from './deadline-timer.js';
import { EventHub, type RequestReport, requestChannel } from './event-hub.js';
import type { CallOptions } from './handle.js';
import { LatencyWindow } from './latency-window.js';
import { ModelAccount } from './model-account.js';
import type { Operations } from './operation.js';
import { OperationQueue } from './operation-queue.js';
import { type Outcome, type PendingRequest, Phase, RequestDeadline, type RequestOwner } from './pending-request.js';
import { PendingStream } from './pending-stream.js';
import { PendingUnary } from './pending-unary.js';
import { RequestList } from './request-list.js';
import { StateMachine } from './state-machine.js';
import { WorkerClosedError, WorkerFullError } from './worker-errors.js';
import type { WorkerHealth } from './worker-health.js';
import { canTransition, isLive, type WorkerState } from './worker-state.js';
import type { WorkerStats } from './worker-stats.js';

// Invariants:
// - accepted = succeeded + failed + expired + cancelled + acceptedList.size, after every public step.
// - A call is either refused or accepted. A refused call is answered too, but never enters the ledger.
// - `inFlight` counts the requests that were taken and are not answered, and those whose call into the model has not returned.
// - Once `isOver`, both lists are empty and nothing is accepted any more.

/** What handle and channels share: the account of every request, the state, the events and the end. */
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
  readonly latency: LatencyWindow = new LatencyWindow();
  /** The calls into the model. */
  readonly model: ModelAccount;
  inFlight = 0;
  /** Whether the loop takes the step to ready itself, by `state.settle()`, when it has nothing more to do. */
  owesReady = false;
  /** Whether the loop gives callers a few microtasks after the last call has left the model. */
  isLingering = false;
  #isReadyOwed = false;
  #readyAt = 0;
  restarts = 0;
  readonly #counts: Record<Outcome, number> = { succeeded: 0, failed: 0, expired: 0, cancelled: 0 };
  #accepted = 0;
  #refused = 0;
  #late = 0;
  #waiting = 0;
  readonly #acceptedList: RequestList<PendingRequest> = new RequestList();
  readonly #deadlines: DeadlineTimer;
  #isAccepting = true;
  #isOver = false;
  #isAttached = false;
  #startedAt: number;
  #quiet: (() => void)[] = [];
  readonly #whenOver: (() => void)[] = [];
  #whenReleased: (() => void)[] = [];

  constructor(id: string, operations: Operations, clock: Clock) {
    this.id = id;
    this.operations = operations;
    this.clock = clock;
    this.#deadlines = deadlineTimerOf(clock);
    this.#startedAt = clock.now();
    this.queues = new Map(
      Object.entries(operations).map(([name, operation]) => [name, new OperationQueue(name, operation)]),
    );
    this.hub = new EventHub(id, () => clock.now());
    this.model = new ModelAccount(this.hub);
    this.state = new StateMachine(
      () => clock.now(),
      (from, to, cause) => {
        if (!this.hub.hasAudience('state')) return;
        this.hub.emit(cause === undefined ? { type: 'state', from, to } : { type: 'state', from, to, cause });
      },
    );
    this.state.settle = () => this.#settleActivity();
  }

  /** Whether a call waits for room or for its answer. */
  get hasPending(): boolean {
    return this.#acceptedList.size > 0 || this.#waiting > 0;
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
    try {
      this.#requireAcceptable(queue, signal);
      const bytes = queue.measure(input);
      if (bytes > queue.maxBytes) {
        throw new RangeError(
          `Cannot call ${queue.name}: input must be at most ${queue.maxBytes} bytes, received ${bytes}`,
        );
      }
      const mustWait = queue.waiting.first !== undefined || !queue.hasRoom(bytes);
      if (mustWait && !mayWait) {
        throw new WorkerFullError(
          `Cannot call ${queue.name}: its queue must have room, received ${queue.used} of ${queue.maxItems} requests`,
          queue.name,
        );
      }
      const now = this.#timeOfCall(options);
      const Pending = queue.operation.kind === 'unary' ? PendingUnary : PendingStream;
      const request = new Pending(this, queue, input, now, options);
      request.bytes = bytes;
      // One that may take for ever has no deadline.
      if (options?.timeoutMs !== undefined && options.timeoutMs !== Number.POSITIVE_INFINITY) {
        request.due = new RequestDeadline(request, now + options.timeoutMs);
        this.#deadlines.add(request.due, now);
      }
      if (mustWait) {
        queue.waiting.push(request);
        this.#waiting++;
      } else {
        this.#accept(request);
      }
      return request;
    } catch (error) {
      this.#refused++;
      throw error;
    }
  }

  /**
   * The time, for a call. While the loop lingers after its last call has left the model, what that call was seen off with is still the time, but
   * for the microtasks in between: good enough for a latency, not for a deadline.
   */
  #timeOfCall(options: CallOptions | undefined): number {
    const isJustAfter = this.isLingering && this.inFlight === 0 && options?.timeoutMs === undefined;
    return isJustAfter ? this.model.lastActiveAt : this.clock.now();
  }

  /**
   * The time, for a request that the loop takes: that of its call when it was made while the loop lingered, microtasks ago. A deadline is held
   * against the clock itself.
   */
  timeOfTaking(request: PendingRequest): number {
    const { calledAt, due } = request;
    const isJustAfter =
      due === undefined && this.isLingering && this.inFlight === 0 && calledAt >= this.model.lastActiveAt;
    return isJustAfter ? calledAt : this.clock.now();
  }

  #requireAcceptable(queue: OperationQueue, signal: AbortSignal | undefined): void {
    if (!this.#isAccepting) {
      throw new WorkerClosedError(`Cannot call ${queue.name}: the worker takes no more calls`, {
        cause: this.state.borrow().cause,
      });
    }
    if (signal?.aborted) throw signal.reason;
  }

  #accept(request: PendingRequest): void {
    request.phase = Phase.QUEUED;
    this.#accepted++;
    this.#acceptedList.push(request);
    try {
      request.queue.enter(request);
    } catch (error) {
      // A loop of the user's own closed the receiver of an operation that it does not serve any more.
      const reason = `Cannot call ${request.operation}: the loop has closed its queue`;
      request.answerAhead('failed', new WorkerClosedError(reason, { cause: error }));
    }
  }

  // --- what requests report

  onTaken(at: number | undefined): void {
    if (++this.inFlight !== 1) return;
    if (this.#isReadyOwed) this.#isReadyOwed = false;
    else this.#syncActivity(at);
  }

  onPlaceFree(request: PendingRequest): void {
    request.queue.freePlace(request);
    if (request.phase === Phase.ANSWERED && this.#whenReleased.length > 0) this.#tellReleased();
    this.#admit(request.queue);
  }

  onSettled(request: PendingRequest, outcome: Outcome, from: number): void {
    if (request.due !== undefined) {
      this.#deadlines.remove(request.due);
      request.due = undefined;
    }
    if (from === Phase.WAITING) {
      request.queue.waiting.remove(request);
      this.#waiting--;
      this.#refused++;
      // It may have held up smaller ones behind it.
      this.#admit(request.queue);
    } else {
      this.#acceptedList.remove(request);
      this.#counts[outcome]++;
      // A call that has just left the model was seen off with a look at the clock.
      const now = this.model.lastLeft === request ? this.model.lastActiveAt : this.clock.now();
      const ms = now - request.calledAt;
      if (outcome === 'succeeded' || outcome === 'failed') this.latency.record(ms, now);
      if (requestChannel.hasSubscribers) {
        const report: RequestReport = { workerId: this.id, operation: request.operation, outcome, ms };
        requestChannel.publish(report);
      }
      if (from === Phase.QUEUED && request.bytes > 0) {
        request.queue.freeBytes(request);
        this.#admit(request.queue);
      }
      if (from === Phase.TAKEN && !request.isInModel) this.#leaveFlight(now);
      this.model.lastLeft = undefined;
    }
    if (this.#quiet.length > 0) this.#checkQuiet();
  }

  onLate(request: PendingRequest): void {
    this.#late++;
    if (this.hub.hasAudience('late')) this.hub.emit({ type: 'late', operation: request.operation });
  }

  #admit(queue: OperationQueue): void {
    for (;;) {
      const first = queue.waiting.first;
      if (first === undefined || !queue.hasRoom(first.bytes)) return;
      queue.waiting.remove(first);
      this.#waiting--;
      this.#accept(first);
    }
  }

  // --- the loop

  /** A call into the model begins: it occupies the worker until {@link leaveModel}, whatever the caller does meanwhile. */
  enterModel(request: PendingRequest, at: number = this.clock.now()): void {
    request.isInModel = true;
    this.model.enter(request, at);
  }

  /** The call into the model has returned. Called before the request is answered. */
  leaveModel(request: PendingRequest, isFailure: boolean, error: unknown): void {
    const now = this.clock.now();
    const isAnswered = request.phase === Phase.ANSWERED;
    request.isInModel = false;
    // What a method throws once nobody listens any more is most often the abort itself.
    this.model.leave(request, isFailure && !isAnswered, error, now);
    // One that is about to be answered leaves the flight with its answer.
    if (isAnswered) this.#leaveFlight(now);
  }

  #leaveFlight(at: number): void {
    this.inFlight--;
    if (this.#whenReleased.length > 0) this.#tellReleased();
    if (this.inFlight > 0) return;
    if (this.owesReady) {
      this.#isReadyOwed = true;
      this.#readyAt = at;
    } else {
      this.#syncActivity(at);
    }
  }

  /** Takes the step to ready that is owed, if it is. */
  #settleActivity(): void {
    if (!this.#isReadyOwed) return;
    this.#isReadyOwed = false;
    this.#syncActivity(this.#readyAt);
  }

  /** Brings ready, processing and idle in line with whether anything is in flight. */
  #syncActivity(at?: number): void {
    const { current } = this.state;
    if (this.inFlight > 0) {
      if (current === 'idle') this.state.enter('ready', undefined, at);
      if (current === 'idle' || current === 'ready') this.state.enter('processing', undefined, at);
    } else if (current === 'processing') {
      this.state.enter('ready', undefined, at);
    }
  }

  /** A step of the loop. False when the worker is on its way out, so that the step has lost its sense. */
  enter(to: WorkerState, cause: unknown): boolean {
    this.#isAttached = true;
    const from = this.state.current;
    if (from === to) return true;
    if (!isLive(from) && !canTransition(from, to)) return false;
    if (to === 'spawning') this.restarts++;
    this.state.enter(to, cause);
    if (to === 'ready') this.#syncActivity();
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
    return new Promise((resolve) => {
      this.#quiet.push(resolve);
      this.#checkQuiet();
    });
  }

  #checkQuiet(): void {
    if (this.hasPending) return;
    const waiters = this.#quiet;
    this.#quiet = [];
    for (const resolve of waiters) resolve();
  }

  /** Answers every call with an error, now. */
  answerAll(error: unknown): void {
    for (const queue of this.queues.values()) {
      while (queue.waiting.first !== undefined) queue.waiting.first.answerAhead('failed', error);
    }
    while (this.#acceptedList.first !== undefined) this.#acceptedList.first.answerAhead('failed', error);
  }

  /** The loop is over: what is unanswered is answered, and the worker is dead, or failed where there is a cause and nobody asked it to end. */
  finish(cause: unknown): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#isAccepting = false;
    this.answerAll(cause ?? new WorkerClosedError('Cannot answer: the worker has ended'));
    this.shutdown.cancel();
    this.kill.cancel();
    for (const queue of this.queues.values()) queue.sender.close();
    if (isLive(this.state.current) && cause !== undefined) {
      this.state.enter('failed', cause);
    } else {
      if (isLive(this.state.current)) this.state.enter('evicting');
      if (this.state.current !== 'dead') this.state.enter('dead', cause);
    }
    this.#deadlines.trim();
    this.hub.end();
    this.#tellReleased();
    for (const resolve of this.#whenOver.splice(0)) resolve();
  }

  /** Resolves when a request next leaves the worker: the model, or a queue in which it was answered before it was taken. */
  released(): Promise<void> {
    return this.#isOver ? Promise.resolve() : new Promise((resolve) => this.#whenReleased.push(resolve));
  }

  #tellReleased(): void {
    const waiters = this.#whenReleased;
    this.#whenReleased = [];
    for (const resolve of waiters) resolve();
  }

  /** Resolves when the loop is over. */
  over(): Promise<void> {
    return this.#isOver ? Promise.resolve() : new Promise((resolve) => this.#whenOver.push(resolve));
  }

  // --- reports

  stats(): WorkerStats {
    const queueDepth = this.queueDepth();
    let queued = 0;
    for (const name of Object.keys(queueDepth)) queued += queueDepth[name] as number;
    return {
      accepted: this.#accepted,
      ...this.#counts,
      pending: this.#acceptedList.size,
      refused: this.#refused,
      waiting: this.#waiting,
      queued,
      inFlight: this.inFlight,
      lateResults: this.#late,
      restarts: this.restarts,
      queueDepth,
      latency: this.latency.summarise(this.clock.now()),
    };
  }

  queueDepth(): Record<string, number> {
    const depth: Record<string, number> = {};
    for (const [name, queue] of this.queues) depth[name] = queue.used;
    return depth;
  }

  health(): WorkerHealth {
    const now = this.clock.now();
    const status = this.state.borrow();
    return {
      state: status.state,
      stateMs: now - status.enteredAt,
      queueDepth: this.queueDepth(),
      inFlight: this.inFlight,
      ...this.model.report(now),
      uptimeMs: now - this.#startedAt,
      pid: process.pid,
      rss: process.memoryUsage.rss(),
    };
  }
}
