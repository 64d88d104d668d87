import { createSelector, sleep } from '../../channels/index.js';
import type { Host } from '../hosts/host.js';
import type { HostInit } from '../link/messages.js';
import type { Operations } from '../operation.js';
import type { PendingRequest } from '../pending-request.js';
import { QueueTurns } from '../queue-turns.js';
import type { AnyRequest } from '../request.js';
import { coreOf, type WorkerChannels } from '../worker-channels.js';
import type { WorkerCore } from '../worker-core.js';
import { WorkerCrashedError, WorkerLoadError } from '../worker-errors.js';
import { isLive } from '../worker-state.js';
import { RestartBudget, type RestartPolicy } from './back-off.js';
import { crashError, describeExit } from './crash-error.js';
import { type HeldCall, HostClient } from './host-client.js';
import { type HostWatch, watchHost } from './host-watch.js';
import { KeepAlive } from './keep-alive.js';
import { PingAnswerer } from './ping-answerer.js';
import { Rest } from './rest.js';
import { SecondChances } from './second-chances.js';
import { Serving, type ServingEnd } from './serving.js';

// Invariants:
// - `client.held.size` and what `again` keeps are together at most `concurrency`;
// - whatever ends a host (crash, exit, kill) goes one way: `exited` settles, and every call that it held is kept for the next host, or answered.

/** What a supervised worker is told. */
export interface SupervisionSettings {
  readonly startHost: () => Host;
  readonly init: HostInit;
  readonly transferInputs: boolean;
  readonly concurrency: number;
  readonly idleTimeoutMs: number;
  readonly loadTimeoutMs: number;
  readonly stallTimeoutMs: number;
  readonly blockedTimeoutMs: () => number;
  readonly retries: number;
  readonly restart: RestartPolicy;
}

/** How long a host may take to dispose of its model and end before it is killed, in ms: less than a closing handle waits. */
const RELEASE_MS = 4_000;

/** The loop of a worker whose model lives elsewhere: it starts hosts, feeds them, and replaces them when they die. */
export class SupervisedWorker {
  readonly #channels: WorkerChannels<Operations>;
  readonly #core: WorkerCore;
  readonly #settings: SupervisionSettings;
  readonly #budget: RestartBudget;
  readonly #keepAlive = new KeepAlive();
  readonly #pings: PingAnswerer;
  /** Calls of a dead host that the next one is given. */
  readonly #again: SecondChances;
  #client: HostClient | undefined;
  #lastFailure: unknown;
  #wasReady = false;
  #lastProgressAt = 0;
  readonly #rest: Rest;
  readonly #turns: QueueTurns;
  /** The host that is being served, while it is. */
  #serving: Serving | undefined;

  constructor(channels: WorkerChannels<Operations>, settings: SupervisionSettings) {
    this.#channels = channels;
    this.#core = coreOf(channels as never);
    this.#settings = settings;
    this.#budget = new RestartBudget(settings.restart);
    this.#again = new SecondChances(this.#core, settings.retries);
    this.#pings = new PingAnswerer(this.#core, this.#keepAlive);
    this.#rest = new Rest(this.#core, this.#keepAlive, settings.idleTimeoutMs);
    this.#turns = new QueueTurns(this.#core.queues.values());
    this.#core.isDistant = true;
    this.#core.activity.owesReady = true;
    this.#core.activity.onOwed = () => this.#core.state.settleForObservers();
    for (const queue of this.#core.queues.values()) {
      queue.handOver = (request, at) =>
        this.#serving?.handOver(queue, request as PendingRequest & AnyRequest, at) ?? false;
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
      this.#rest.stop();
      this.#client?.host.kill();
      const end = cause ?? this.#lastFailure ?? new WorkerCrashedError('Cannot answer: the worker has ended');
      this.#again.giveUp(this.#client?.takeHeld() ?? [], end);
      // A model that could not be disposed of is a cause too, as it is in-process.
      this.#channels.finish(cause ?? this.#client?.disposeError?.error);
      // What was taken from its queue, and waited for a slot, gives its place back as the rest has.
      this.#turns.take()?.dispatch();
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
        // What the system refuses now it may grant later; what Node refuses it always will.
        isPermanent: (error as NodeJS.ErrnoException).syscall === undefined,
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
    if (host.started === undefined) this.#beginLoading(client);
    else void host.started.then(() => this.#beginLoading(client));
    const watch = watchHost(client, this.#core, this.#settings, () => this.#lastProgressAt);
    this.#core.isSilent = () => watch.stall.isSilent();
    const loaded = await this.#load(client, watch);
    // Its first word may be read after its last.
    if (loaded !== 'ended') this.#beginLoading(client);
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
    if (end.stalled !== undefined) host.kill();
    const error = crashError(this.#core.id, await client.exited, end.stalled);
    if (this.#core.hub.hasAudience('crash')) this.#core.hub.emit({ type: 'crash', error, held: client.held.size });
    // Asked to end while it was dying: it has ended.
    return kill.isCancelled ? undefined : { error, isPermanent: false, crash: error };
  }

  /** Its host runs: what takes time from now on is the model. */
  #beginLoading(client: HostClient): void {
    if (this.#client === client && this.#core.state.current === 'spawning') this.#channels.enter('loading');
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

  async #serve(client: HostClient, watch: HostWatch): Promise<ServingEnd> {
    this.#core.activity.isSuspended = false;
    this.#channels.enter('ready');
    const serving = new Serving({
      core: this.#core,
      channels: this.#channels as unknown as WorkerChannels<never>,
      client,
      watch,
      concurrency: this.#settings.concurrency,
      pings: this.#pings,
      turns: this.#turns,
      onActivity: (held, at) => this.#rest.note(held, at),
    });
    this.#serving = serving;
    try {
      return await serving.run(this.#again.take());
    } finally {
      this.#serving = undefined;
      // Whatever becomes of its calls: without a host it is not ready.
      this.#core.activity.isSuspended = true;
      watch.stall.stop();
    }
  }

  #onFinal(held: HeldCall, failure: { readonly error: unknown } | undefined): void {
    const now = this.#core.clock.now();
    this.#lastProgressAt = now;
    this.#core.leaveModel(held.request, failure !== undefined, failure?.error, now);
    this.#serving?.onFinal(now);
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
    // Every call that the dead host held is kept for the next, or answered: by now nobody who is told takes the worker for ready.
    if (failure.crash !== undefined) this.#again.sort(this.#client?.takeHeld() ?? [], failure.crash);
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
  /** The same, where a host has crashed that was being served. */
  readonly crash?: WorkerCrashedError | undefined;
}
