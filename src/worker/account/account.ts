import { CancellationToken } from '../../channels/index.js';
import { type Clock, messageOf } from '../../core/index.js';
import { WorkerClosedError, WorkerFullError } from '../errors.js';
import { EventHub, keepTrace, requestChannel, type RequestReport } from '../events.js';
import type { Operations } from '../operation.js';
import type { Outcome, Phase, Request, RequestOwner } from '../request.js';
import { canTransition, isLive, StateMachine, type WorkerState } from '../state.js';
import { deadlineTimerOf } from './deadline-timer.js';
import { LatencyWindow, Ledger, ModelAccount, type WorkerHealth, type WorkerStats } from './ledger.js';
import { OperationQueue } from './operation-queue.js';

// Invariants:
// - A call is either refused or accepted. A refused call is answered too, but never enters the ledger.
// - `inFlight` counts the requests that were taken and are not answered, and those whose call into the model has not returned. The state is
//   processing exactly while there is one.
// - Once `isOver`, nothing waits, nothing is unanswered and nothing is accepted any more.

/** What handle, loop and executor share: the owner of every request that the worker has, its state, its events and its end. */
export class Account implements RequestOwner {
  readonly id: string;
  readonly clock: Clock;
  readonly queues: ReadonlyMap<string, OperationQueue>;
  readonly state: StateMachine;
  readonly hub: EventHub;
  /** Cancelled when the loop should take no more, let what runs finish, and end. */
  readonly shutdown: CancellationToken = new CancellationToken();
  /** Cancelled when the loop should end now: everything has been answered. */
  readonly kill: CancellationToken = new CancellationToken();
  /** Cancelled once the loop is over. */
  readonly ended: CancellationToken = new CancellationToken();
  /** The calls into the model. */
  readonly model: ModelAccount;
  /** Whether the model is in another thread or process, where nothing of the caller's context is. */
  isDistant = false;
  /** Whether the model's host gives no sign of life. */
  isSilent: () => boolean = () => false;
  /** The loop's way to start a request at once; false where it has to wait in its queue. */
  startNow: (request: Request) => boolean = () => false;
  readonly #latency: LatencyWindow = new LatencyWindow();
  readonly #ledger: Ledger = new Ledger();
  #onQuiet: (() => void)[] = [];
  #inFlight = 0;
  #isAccepting = true;
  #isOver = false;
  #isAttached = false;
  #startedAt: number;

  constructor(id: string, operations: Operations, clock: Clock) {
    this.id = id;
    this.clock = clock;
    this.#startedAt = clock.now();
    this.queues = new Map(
      Object.entries(operations).map(([name, operation]) => [name, new OperationQueue(name, operation)]),
    );
    const now = (): number => clock.now();
    this.hub = new EventHub(id, now);
    this.model = new ModelAccount(this.hub);
    this.state = new StateMachine(now, (from, to, cause) => {
      if (!this.hub.hasAudience('state')) return;
      this.hub.emit(cause === undefined ? { type: 'state', from, to } : { type: 'state', from, to, cause });
    });
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

  get inFlight(): number {
    return this.#inFlight;
  }

  // --- the way in

  /** The error of a call to a worker that takes none any more. */
  refusal(operation: string): WorkerClosedError {
    const { cause } = this.state.borrow();
    const why = cause === undefined ? '' : `, since it has failed: ${messageOf(cause)}`;
    return new WorkerClosedError(`Cannot call ${operation}: ${this.id} takes no more calls${why}`, { cause });
  }

  /** Refuses a call that would have to wait for room. */
  requireRoom(queue: OperationQueue, bytes: number): void {
    if (!this.#mustWait(queue, bytes)) return;
    throw new WorkerFullError(
      `Cannot call ${queue.name}: its queue is full (${queue.used} of ${queue.maxItems} requests)`,
      queue.name,
    );
  }

  #mustWait(queue: OperationQueue, bytes: number): boolean {
    return queue.waiting.first !== undefined || !queue.hasRoom(bytes);
  }

  /** A call was refused before there was a request. */
  noteRefused(): void {
    this.#ledger.refused++;
  }

  /** Takes a request over: starts it where there is a free place, puts it into its queue, or has it wait for room there. */
  accept(request: Request): void {
    request.owner = this;
    const queue = this.queues.get(request.operation) as OperationQueue;
    request.queue = queue;
    if (requestChannel.hasSubscribers) this.#keepTrace(request);
    if (this.#mustWait(queue, request.bytes)) {
      this.#keepTrace(request);
      request.phase = 'waiting';
      queue.waiting.push(request);
      this.#ledger.waiting++;
    } else {
      this.#enter(request, queue);
    }
  }

  /** To be called in the caller's context, before the request waits. One that is started at once is run in it as it is. */
  #keepTrace(request: Request): void {
    request.keptTrace ??= keepTrace(this.isDistant, request.traceparent);
  }

  #enter(request: Request, queue: OperationQueue): void {
    request.phase = 'queued';
    this.#ledger.accept(request);
    queue.reserve(request);
    if (this.startNow(request)) return;
    this.#keepTrace(request);
    try {
      queue.push(request);
    } catch (error) {
      // A loop of the user's own closed the receiver of an operation that it does not serve any more.
      queue.freePlace(request);
      const reason = `Cannot call ${request.operation}: the loop has closed its queue`;
      request.giveUp('failed', new WorkerClosedError(reason, { cause: error }));
    }
  }

  #admitWaiting(queue: OperationQueue): void {
    for (;;) {
      const first = queue.waiting.first;
      if (first === undefined || !queue.hasRoom(first.bytes)) return;
      queue.waiting.remove(first);
      this.#ledger.waiting--;
      this.#enter(first, queue);
    }
  }

  // --- what requests report

  onTaken(request: Request, at?: number): void {
    request.isInFlight = true;
    this.#inFlight++;
    this.#syncState(at);
  }

  onPlaceFree(request: Request): void {
    const queue = request.queue as OperationQueue;
    queue.freePlace(request);
    request.releaseIfDone();
    this.#admitWaiting(queue);
  }

  onSettled(request: Request, outcome: Outcome, from: Phase): void {
    const queue = request.queue as OperationQueue;
    if (from === 'waiting') {
      queue.waiting.remove(request);
      this.#ledger.waiting--;
      this.#ledger.refused++;
      // It may have held up smaller ones behind it.
      this.#admitWaiting(queue);
    } else {
      this.#ledger.answer(request, outcome);
      const now = request.leftAt ?? this.clock.now();
      this.#report(request, outcome, now);
      if (from === 'queued' && request.bytes > 0) {
        queue.freeBytes(request);
        this.#admitWaiting(queue);
      }
      if (request.isInModel) this.model.abandon(request);
      else this.#leaveFlight(request, now);
    }
    this.#checkQuiet();
  }

  onLate(request: Request): void {
    this.#ledger.late++;
    if (this.hub.hasAudience('late')) this.hub.emit({ type: 'late', operation: request.operation });
  }

  #report(request: Request, outcome: Outcome, now: number): void {
    const ms = now - request.calledAt;
    if (outcome === 'succeeded' || outcome === 'failed') this.#latency.record(ms, now);
    if (!requestChannel.hasSubscribers) return;
    const report: RequestReport = { workerId: this.id, operation: request.operation, outcome, ms };
    request.trace.run(() => requestChannel.publish(report));
  }

  #leaveFlight(request: Request, at: number): void {
    if (!request.isInFlight) return;
    request.isInFlight = false;
    this.#inFlight--;
    this.#syncState(at);
  }

  // --- the loop

  /** A call into the model begins: it occupies the worker until {@link leaveModel}, whatever the caller does meanwhile. */
  enterModel(request: Request, now: number): void {
    this.model.enter(request, now);
  }

  /** The call into the model has returned. Called before the request is answered. */
  leaveModel(request: Request, failure?: { readonly error: unknown }): void {
    if (request.owner !== this) return;
    const isAnswered = request.phase === 'answered';
    // What a method throws once its caller has given up is most often the abort itself.
    const now = this.clock.now();
    this.model.leave(request, isAnswered ? undefined : failure, now);
    if (!isAnswered) return;
    this.#leaveFlight(request, now);
    request.releaseIfDone();
  }

  /** A step of the loop. False when the worker is on its way out, so that the step has lost its sense. */
  enter(to: WorkerState, cause?: unknown): boolean {
    this.#isAttached = true;
    const from = this.state.current;
    if (from === to) return true;
    if (!isLive(from) && !canTransition(from, to)) return false;
    this.state.enter(to, cause);
    if (to === 'ready') this.#syncState();
    return true;
  }

  /** Brings ready, processing and idle in line with whether anything is in flight. */
  #syncState(at?: number): void {
    const { current } = this.state;
    if (this.#inFlight > 0) {
      if (current === 'idle') this.state.enter('ready', undefined, at);
      if (current === 'idle' || current === 'ready') this.state.enter('processing', undefined, at);
    } else if (current === 'processing') {
      this.state.enter('ready', undefined, at);
    }
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
      this.#onQuiet.push(resolve);
      this.#checkQuiet();
    });
  }

  #checkQuiet(): void {
    if (this.#onQuiet.length === 0 || this.hasPending) return;
    for (const resolve of this.#onQuiet.splice(0)) resolve();
  }

  /** The worker lets go of every call now; its maker may take it back for another worker. */
  loseAll(error: unknown): void {
    for (const queue of this.queues.values()) {
      for (let first = queue.waiting.first; first !== undefined; first = queue.waiting.first) this.#lose(first, error);
    }
    const { unanswered } = this.#ledger;
    while (unanswered.first !== undefined) this.#lose(unanswered.first, error);
  }

  #lose(request: Request, error: unknown): void {
    if (!request.isWantedBack(error)) {
      request.giveUp('failed', error);
      // No loop comes for it any more.
      if (request.hasPlace) this.onPlaceFree(request);
      return;
    }
    const from = request.phase;
    if (request.isInModel) this.model.leave(request, undefined, this.clock.now());
    if (request.hasPlace) (request.queue as OperationQueue).freePlace(request);
    this.onSettled(request, 'failed', from);
    request.goBack(error);
  }

  /** The loop is over: what is unanswered is lost, and the worker is dead, or failed where there is a cause and it was not asked to end. */
  finish(cause?: unknown): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#isAccepting = false;
    if (isLive(this.state.current) && cause !== undefined) {
      this.state.enter('failed', cause);
    } else {
      if (isLive(this.state.current)) this.state.enter('evicting');
      if (this.state.current !== 'dead') this.state.enter('dead', cause);
    }
    this.startNow = () => false;
    this.loseAll(cause ?? new WorkerClosedError('Cannot answer: the worker has ended'));
    this.shutdown.cancel();
    this.kill.cancel();
    for (const queue of this.queues.values()) queue.close();
    deadlineTimerOf(this.clock).trim();
    this.hub.end();
    this.ended.cancel();
  }

  // --- reports

  stats(): WorkerStats {
    return {
      ...this.#ledger.report(this.queues.values()),
      inFlight: this.#inFlight,
      queueDepth: this.#queueDepth(),
      latency: this.#latency.summarise(this.clock.now()),
    };
  }

  health(): WorkerHealth {
    const now = this.clock.now();
    const status = this.state.borrow();
    return {
      state: status.state,
      stateMs: now - status.enteredAt,
      queueDepth: this.#queueDepth(),
      inFlight: this.#inFlight,
      ...this.model.report(now, this.#ledger.unanswered.toArray()),
      uptimeMs: now - this.#startedAt,
      pid: process.pid,
      rss: process.memoryUsage.rss(),
    };
  }

  #queueDepth(): Record<string, number> {
    return Object.fromEntries([...this.queues].map(([name, { used }]) => [name, used]));
  }
}
