import { createSelector, mpsc, type Selectable, sleep } from '../../channels/index.js';
import type { ClockTimer } from '../../core/index.js';
import type { Host } from '../hosts/host.js';
import type { HostInit } from '../link/messages.js';
import type { Operations } from '../operation.js';
import type { OperationQueue } from '../operation-queue.js';
import type { PendingRequest } from '../pending-request.js';
import type { AnyRequest } from '../request.js';
import { coreOf, type Ping, type WorkerChannels } from '../worker-channels.js';
import type { WorkerCore } from '../worker-core.js';
import { WorkerCrashedError, WorkerLoadError } from '../worker-errors.js';
import { isLive } from '../worker-state.js';
import { RestartBudget, type RestartPolicy } from './back-off.js';
import { crashError, describeExit } from './crash-error.js';
import { type HeldCall, HostClient } from './host-client.js';
import { type HostWatch, watchHost } from './host-watch.js';
import { KeepAlive } from './keep-alive.js';
import { PingAnswerer } from './ping-answerer.js';
import { SecondChances } from './second-chances.js';
import type { StallDetector } from './stall-detector.js';

// Invariants:
// - a request leaves the worker's queue only when the host has a free slot for it: what waits, waits in the one queue whose capacity counts, and
//   survives the host;
// - `client.held.size` and what `again` keeps are together at most `concurrency`;
// - whatever ends a host (crash, exit, kill) goes one way: `exited` settles, `#afterCrash` gives every held call back or an answer.

/** What a supervised worker is told. */
export interface SupervisionSettings {
  readonly startHost: () => Host;
  readonly init: HostInit;
  readonly transferInputs: boolean;
  readonly concurrency: number;
  readonly idleTimeoutMs: number;
  readonly loadTimeoutMs: number;
  readonly stallTimeoutMs: number;
  readonly retries: number;
  readonly restart: RestartPolicy;
}

/** How long a host may take to dispose of its model and end before it is killed, in ms: less than a closing handle waits. */
const RELEASE_MS = 4_000;

const CONTROL = { kill: '#kill', shutdown: '#shutdown', down: '#down', ping: '#ping', slot: '#slot' } as const;

type LoopArms = Record<string, Selectable<unknown>>;

/** The loop of a worker whose model lives elsewhere: it starts hosts, feeds them, and replaces them when they die. */
export class SupervisedWorker {
  readonly #channels: WorkerChannels<Operations>;
  readonly #core: WorkerCore;
  readonly #settings: SupervisionSettings;
  readonly #budget: RestartBudget;
  readonly #queues: readonly OperationQueue[];
  /** Wakes the loop when a full host has room again. */
  readonly #freed: mpsc.Sender<void>;
  readonly #slot: mpsc.Receiver<void>;
  readonly #keepAlive = new KeepAlive();
  readonly #pings: PingAnswerer;
  /** Calls of a dead host that the next one is given. */
  readonly #again: SecondChances;
  #client: HostClient | undefined;
  #lastFailure: unknown;
  #wasReady = false;
  #lastProgressAt = 0;
  #quietSince = 0;
  #idleTimer: ClockTimer | undefined;
  /** The host that is being served, while it is. */
  #serving: { readonly client: HostClient; readonly stall: StallDetector; isEnding: boolean } | undefined;
  /** Whether the loop waits with the operations' arms off. */
  #isParkedFull = false;
  #isFilling = false;
  #cursor = 0;

  constructor(channels: WorkerChannels<Operations>, settings: SupervisionSettings) {
    this.#channels = channels;
    this.#core = coreOf(channels as never);
    this.#settings = settings;
    this.#budget = new RestartBudget(settings.restart);
    this.#again = new SecondChances(this.#core, settings.retries);
    [this.#freed, this.#slot] = mpsc.channel<void>(1);
    this.#queues = [...this.#core.queues.values()];
    this.#pings = new PingAnswerer(this.#core, this.#keepAlive);
    for (const queue of this.#queues) {
      queue.handOver = (request) => this.#handOver(queue, request as PendingRequest & AnyRequest);
    }
  }

  /** Runs until the worker is closed or past its restart budget. Never rejects. */
  async run(): Promise<void> {
    this.#core.attach();
    this.#keepAlive.hold('life');
    let cause: unknown;
    try {
      for (;;) {
        const failure = await this.#life();
        if (failure === undefined) break;
        const isLast = !(await this.#mayRestart(failure));
        if (!isLast) continue;
        if (isLive(this.#core.state.current)) cause = failure.error;
        break;
      }
    } catch (error) {
      cause = error;
    } finally {
      this.#idleTimer?.cancel();
      this.#client?.host.kill();
      const end = cause ?? this.#lastFailure ?? new WorkerCrashedError('Cannot answer: the worker has ended');
      this.#again.giveUp(this.#client?.takeHeld() ?? [], end);
      // A model that could not be disposed of is a cause too, as it is in-process.
      this.#channels.finish(cause ?? this.#client?.disposeError?.error);
      this.#keepAlive.close();
    }
  }

  /** One host, from its start to its end. Undefined when the worker was asked to end. */
  async #life(): Promise<Failure | undefined> {
    const { shutdown, kill } = this.#core;
    if (shutdown.isCancelled) return undefined;
    let host: Host;
    try {
      host = this.#settings.startHost();
    } catch (error) {
      return {
        error: new WorkerLoadError(`Cannot start worker: ${String(error)}`, { cause: error }),
        isPermanent: true,
      };
    }
    const client = new HostClient(host, this.#settings.init, this.#settings.transferInputs, {
      onFinal: (held, failure) => this.#onFinal(held, failure),
      onProgress: () => {
        this.#lastProgressAt = this.#core.clock.now();
      },
      now: () => this.#core.clock.now(),
    });
    this.#client = client;
    this.#channels.enter('loading');
    const watch = watchHost(client, this.#core, this.#settings.stallTimeoutMs, () => this.#lastProgressAt);
    const loaded = await this.#load(client, watch);
    if (loaded !== 'ready') {
      watch.stall.stop();
      host.kill();
      await client.exited;
      return loaded === 'ended' ? undefined : loaded;
    }
    this.#wasReady = true;
    this.#lastProgressAt = this.#core.clock.now();
    const end = await this.#serve(client, watch);
    if (end === 'killed') {
      // An idle worker held nothing so far: whoever waits for its end must not be alone with an empty event loop.
      this.#keepAlive.hold('life');
      host.kill();
      await client.exited;
      return undefined;
    }
    if (end === 'shutdown') {
      await this.#release(client);
      return undefined;
    }
    if (end.isStalled) host.kill();
    const exit = await client.exited;
    const error = crashError(this.#core.id, exit, end.isStalled ? end.reason : undefined);
    this.#afterCrash(client, error);
    // Asked to end while it was dying: it has ended.
    return kill.isCancelled ? undefined : { error, isPermanent: false };
  }

  async #load(client: HostClient, watch: HostWatch): Promise<'ready' | 'ended' | Failure> {
    const { shutdown, clock } = this.#core;
    const { loadTimeoutMs, init } = this.#settings;
    const timer = sleep(loadTimeoutMs, { clock, ref: false });
    const event = await createSelector(
      { loaded: client.loaded, down: watch.down, shutdown, timeout: timer },
      { biased: true },
    ).next();
    timer[Symbol.dispose]();
    switch (event.arm) {
      case 'loaded':
        if (event.value === undefined) return 'ready';
        return event.value;
      case 'down': {
        client.host.kill();
        const exit = await client.exited;
        const crash = crashError(this.#core.id, exit, watch.stalled);
        const message = `Cannot load model: ${init.module} must load, but ${watch.stalled ?? describeExit(exit)}`;
        return { error: new WorkerLoadError(message, { cause: crash }), isPermanent: false };
      }
      case 'timeout': {
        const message = `Cannot load model: ${init.module} must load within ${loadTimeoutMs} ms, received nothing`;
        return { error: new WorkerLoadError(message), isPermanent: false };
      }
      default:
        return 'ended';
    }
  }

  async #serve(client: HostClient, watch: HostWatch): Promise<'killed' | 'shutdown' | ServeEnd> {
    const { shutdown, kill } = this.#core;
    const { concurrency } = this.#settings;
    const { down, stall } = watch;
    const ending: LoopArms = {
      [CONTROL.kill]: kill,
      [CONTROL.down]: down,
      [CONTROL.ping]: this.#channels.health,
      [CONTROL.slot]: this.#slot,
    };
    const full: LoopArms = { ...ending, [CONTROL.shutdown]: shutdown };
    // Biased: control goes first, and the operations' turns are the cursor's to keep.
    const arms = {
      ending: createSelector<LoopArms>(ending, { biased: true }),
      full: createSelector<LoopArms>(full, { biased: true }),
      free: createSelector<LoopArms>({ ...full, ...this.#channels.operations }, { biased: true }),
    };
    const serving = { client, stall, isEnding: false };
    try {
      this.#channels.enter('ready');
      this.#serving = serving;
      for (const held of this.#again.take()) this.#send(client, stall, held);
      this.#noteActivity(client);
      for (;;) {
        this.#fill();
        if (serving.isEnding && client.held.size === 0) return 'shutdown';
        this.#isParkedFull = serving.isEnding || client.held.size >= concurrency;
        const event = await (serving.isEnding ? arms.ending : this.#isParkedFull ? arms.full : arms.free).next();
        this.#isParkedFull = false;
        switch (event.arm) {
          case CONTROL.kill:
            return 'killed';
          case CONTROL.down:
            return { isStalled: watch.stalled !== undefined, reason: watch.stalled };
          case CONTROL.shutdown:
            serving.isEnding = true;
            break;
          case CONTROL.ping:
            this.#pings.answer(client, event.value as Ping);
            break;
          case CONTROL.slot:
            break;
          case null:
            return 'killed';
          default: {
            const request = event.value as PendingRequest & AnyRequest;
            this.#cursor = this.#queues.indexOf(request.queue) + 1;
            this.#take(client, stall, request);
          }
        }
      }
    } finally {
      this.#serving = undefined;
      stall.stop();
    }
  }

  /** Sends what waits, operation by operation, while the host has a slot: no turn of the loop is needed for it. */
  #fill(): void {
    const serving = this.#serving;
    // A call that can't be sent is over while it is being sent: what comes after it is the outer loop's, however many of them there are.
    if (serving === undefined || serving.isEnding || this.#isFilling) return;
    const { client, stall } = serving;
    this.#isFilling = true;
    while (client.held.size < this.#settings.concurrency) {
      const request = this.#takeNext();
      if (request === undefined) break;
      this.#take(client, stall, request);
    }
    this.#isFilling = false;
  }

  /** Takes a request that meets a free slot and nobody before it straight from its call, without a turn of the loop. */
  #handOver(queue: OperationQueue, request: PendingRequest & AnyRequest): boolean {
    const serving = this.#serving;
    if (serving === undefined || serving.isEnding || queue.receiver.len > 0) return false;
    const { client, stall } = serving;
    if (client.held.size >= this.#settings.concurrency) return false;
    this.#take(client, stall, request);
    return true;
  }

  #takeNext(): (PendingRequest & AnyRequest) | undefined {
    const queues = this.#queues;
    for (let turn = 0; turn < queues.length; turn++) {
      if (this.#cursor >= queues.length) this.#cursor = 0;
      const queue = queues[this.#cursor++] as OperationQueue;
      if (queue.used === 0) continue;
      const next = queue.receiver.tryRecv();
      if (next.state === 'ok') return next.value as PendingRequest & AnyRequest;
    }
    return undefined;
  }

  #take(client: HostClient, stall: StallDetector, request: PendingRequest & AnyRequest): void {
    // Its caller gave up while it waited.
    if (!request.dispatch()) return;
    this.#core.enterModel(request);
    const held: HeldCall = {
      request,
      operation: this.#queues.indexOf(request.queue),
      attempts: 0,
      hasStreamed: false,
      abandonedAt: undefined,
    };
    this.#send(client, stall, held);
    this.#noteActivity(client);
  }

  #send(client: HostClient, stall: StallDetector, held: HeldCall): void {
    const { deadline } = held.request;
    client.send(held, deadline === undefined ? -1 : Math.max(0, deadline - this.#core.clock.now()));
    stall.watch();
  }

  #onFinal(held: HeldCall, failure: { readonly error: unknown } | undefined): void {
    this.#lastProgressAt = this.#core.clock.now();
    this.#core.leaveModel(held.request, failure !== undefined, failure?.error);
    const serving = this.#serving;
    if (serving === undefined) return;
    this.#fill();
    const { held: still } = serving.client;
    if (this.#isParkedFull && still.size < this.#settings.concurrency && (!serving.isEnding || still.size === 0)) {
      this.#isParkedFull = false;
      if (this.#freed.capacity > 0) this.#freed.trySend();
    }
    if (still.size === 0) this.#noteActivity(serving.client);
  }

  // --- rest

  /** An idle worker does not hold the process; one with calls does. */
  #noteActivity(client: HostClient): void {
    if (client.held.size > 0) {
      this.#keepAlive.hold('calls');
      if (this.#wasReady) this.#keepAlive.release('life');
      return;
    }
    this.#keepAlive.release('calls');
    this.#keepAlive.release('life');
    this.#quietSince = this.#core.clock.now();
    if (this.#idleTimer === undefined && Number.isFinite(this.#settings.idleTimeoutMs)) this.#armIdle();
  }

  /** One timer that looks when it fires how long it has been quiet: none is started or stopped for each request. */
  #armIdle(): void {
    const { clock } = this.#core;
    const left = this.#quietSince + this.#settings.idleTimeoutMs - clock.now();
    this.#idleTimer = clock.setTimer(() => {
      this.#idleTimer = undefined;
      if (this.#core.state.current !== 'ready') return;
      if (clock.now() - this.#quietSince < this.#settings.idleTimeoutMs) this.#armIdle();
      else this.#channels.enter('idle');
    }, left);
  }

  // --- the end of a host

  async #release(client: HostClient): Promise<void> {
    this.#keepAlive.hold('life');
    client.close();
    const timer = sleep(RELEASE_MS, { clock: this.#core.clock, ref: false });
    const event = await createSelector({ exited: client.exited, kill: this.#core.kill, timer }).next();
    timer[Symbol.dispose]();
    if (event.arm !== 'exited') client.host.kill();
    await client.exited;
  }

  /** Every call that the dead host held is kept for the next, or answered. */
  #afterCrash(client: HostClient, error: WorkerCrashedError): void {
    const held = client.takeHeld();
    if (this.#core.hub.hasAudience('crash')) this.#core.hub.emit({ type: 'crash', error, held: held.length });
    this.#again.sort(held, error);
  }

  /** Waits for its turn to start another host. False when there is to be none. */
  async #mayRestart(failure: Failure): Promise<boolean> {
    const { clock, shutdown, hub } = this.#core;
    this.#lastFailure = failure.error;
    // A worker that drains before it closes is replaced too: what it accepted has still to be finished.
    if (failure.isPermanent || shutdown.isCancelled) return false;
    const next = this.#budget.take(clock.now());
    if (next === undefined) return false;
    // A worker that never came up may never do: its callers learn at once, while it goes on trying.
    if (!this.#wasReady) this.#core.answerAll(failure.error);
    this.#keepAlive.hold('life');
    this.#channels.enter('spawning', failure.error);
    if (hub.hasAudience('restart')) hub.emit({ type: 'restart', attempt: next.attempt, delayMs: next.delayMs });
    const timer = sleep(next.delayMs, { clock, ref: false });
    const event = await createSelector({ shutdown, timer }).next();
    timer[Symbol.dispose]();
    this.#again.dropAnswered();
    return event.arm === 'timer';
  }
}

interface Failure {
  readonly error: unknown;
  readonly isPermanent: boolean;
}

interface ServeEnd {
  readonly isStalled: boolean;
  readonly reason: string | undefined;
}
