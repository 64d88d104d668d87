import { createSelector, mpsc, Notify, type Selectable, type Selector, sleep } from '../channels/index.js';
import {
  type Clock,
  type ClockTimer,
  fillOptions,
  millisecondsOrInfinity,
  option,
  type OptionTable,
  requireFunction,
  requirePositiveInteger,
} from '../core/index.js';
import type { Account } from './account/account.js';
import type { Ping, WorkerProgress } from './account/ledger.js';
import { QueueTurns } from './account/operation-queue.js';
import { accountOf, type WorkerChannels } from './channels.js';
import { WorkerLoadError } from './errors.js';
import type { Executor } from './executor/executor.js';
import { InlineExecutor } from './executor/inline.js';
import type { ModelOf } from './model.js';
import type { Operations } from './operation.js';
import type { Request } from './request.js';
import { inNeutralContext } from './trace.js';

// Invariants:
// - A request leaves its queue only when the executor has room for it: what waits, waits in the one queue whose capacity counts.
// - Requests are taken in rotation: the operation after the last one served comes first, so saturated operations get equal shares.
// - A request that meets room, and none before it, is started from where it comes. None overtakes one that waits.

/** What a loop is run with, filled and checked. */
interface LoopSettings {
  readonly idleTimeoutMs: number;
  readonly loadTimeoutMs: number;
  /** The name of the model's source, for messages. */
  readonly source: string;
}

type Arms = Selector<Record<string, Selectable<unknown>>>;

/** The loop of a worker, for every host: it loads the model, starts requests on the executor as it has room, and releases the model. */
class WorkerLoop {
  readonly #account: Account;
  readonly #channels: WorkerChannels<never>;
  readonly #executor: Executor;
  readonly #settings: LoopSettings;
  readonly #turns: QueueTurns;
  readonly #idle: IdleTimer;
  readonly #freed = new Notify();
  /** Whether it waits with the operations' arms off. */
  #isParkedFull = false;
  #isStopping = false;
  #isIdle = false;

  constructor(channels: WorkerChannels<never>, executor: Executor, settings: LoopSettings) {
    const account = accountOf(channels);
    this.#account = account;
    this.#channels = channels;
    this.#executor = executor;
    this.#settings = settings;
    this.#turns = new QueueTurns(account.queues.values());
    this.#idle = new IdleTimer(account.clock, settings.idleTimeoutMs, () =>
      executor.isEmpty ? account.model.lastActiveAt : undefined,
    );
  }

  /**
   * Runs until the worker is closed, or its host ends.
   *
   * @throws What the worker has failed with.
   */
  async run(): Promise<void> {
    const account = this.#account;
    const executor = this.#executor;
    account.attach();
    let failure: { readonly error: unknown } | undefined;
    try {
      if (await this.#load()) {
        account.enter('ready');
        if (await this.#serve()) await executor.release();
        else if (!account.kill.isCancelled) failure = { error: await executor.failure() };
      }
    } catch (error) {
      failure = { error };
    }
    this.#idle.stop();
    if (failure !== undefined) executor.drop(failure.error);
    this.#channels.finish(failure?.error);
    executor.drop(undefined);
    if (failure !== undefined) throw failure.error;
  }

  /** False when the worker was asked to end before its model was ready. */
  async #load(): Promise<boolean> {
    const { shutdown, clock } = this.#account;
    if (shutdown.isCancelled) return false;
    const { loadTimeoutMs, source } = this.#settings;
    const loaded = this.#executor.load(() => {
      if (this.#account.state.current === 'spawning') this.#account.enter('loading');
    });
    const timeout = sleep(loadTimeoutMs, { clock, ref: false });
    try {
      const event = await createSelector({ loaded, shutdown, timeout }, { biased: true }).next();
      if (event.arm === 'loaded') return true;
      await this.#executor.kill();
      if (event.arm === 'shutdown') return false;
      throw new WorkerLoadError(`Cannot load model: ${source} did not load within ${loadTimeoutMs} ms`);
    } finally {
      timeout[Symbol.dispose]();
    }
  }

  /** False when the host has ended, or was killed. */
  async #serve(): Promise<boolean> {
    const executor = this.#executor;
    const arms = this.#makeArms();
    executor.onFreed = () => {
      if (this.#isParkedFull) this.#freed.notifyOne();
    };
    this.#account.startNow = (request) => this.#startNow(request);
    this.#account.model.lastActiveAt = this.#account.clock.now();
    this.#idle.start();
    for (;;) {
      if (!this.#isStopping) this.#fill();
      else if (executor.isEmpty) return !executor.closed.isCancelled;
      this.#isParkedFull = this.#isStopping || !executor.hasRoom;
      const isOver = await this.#turn(this.#isStopping ? arms.stopping : this.#isParkedFull ? arms.full : arms.free);
      if (isOver) return false;
    }
  }

  /** Waits for one event. True when the host has ended. A function of its own: a suspended loop would keep the last request, and its caller's context. */
  async #turn(arms: Arms): Promise<boolean> {
    const event = await arms.next();
    this.#isParkedFull = false;
    switch (event.arm) {
      case 'kill':
        await this.#executor.kill();
        return true;
      case 'closed':
      case null:
        return true;
      case 'shutdown':
        this.#isStopping = true;
        // Here and not at the end, which a call that hangs puts off for ever.
        this.#idle.stop();
        break;
      case 'health':
        void this.#answer(event.value as Ping);
        break;
      case 'freed':
        break;
      case 'idle':
        // A request may have been started between the timer and here, and answered as well.
        if (this.#executor.isEmpty && this.#idle.isDue) this.#isIdle = this.#account.enter('idle');
        else this.#idle.start();
        break;
      default:
        this.#turns.received(event.value as Request);
    }
    return false;
  }

  /** The arms of a turn: while the executor is full the operations are left out, and once the end has begun so is the shutdown. */
  #makeArms(): { readonly free: Arms; readonly full: Arms; readonly stopping: Arms } {
    const { kill, shutdown, queues } = this.#account;
    const { closed } = this.#executor;
    const killed = this.#executor.isKillable ? { kill } : {};
    const stopping = { ...killed, closed, health: this.#channels.health, freed: this.#freed };
    const full = { shutdown, ...stopping };
    // Prefixed, so that no operation's name is taken for one of the loop's own arms.
    const operations = Object.fromEntries([...queues].map(([name, { receiver }]) => [`operation ${name}`, receiver]));
    const options = { biased: true };
    return {
      free: createSelector<Record<string, Selectable<unknown>>>(
        { ...full, ...operations, idle: this.#idle.due },
        options,
      ),
      full: createSelector<Record<string, Selectable<unknown>>>(full, options),
      stopping: createSelector<Record<string, Selectable<unknown>>>(stopping, options),
    };
  }

  /** Starts what waits, while there is room. */
  #fill(): void {
    while (this.#executor.hasRoom) {
      const request = this.#turns.take();
      if (request === undefined) break;
      this.#start(request);
    }
  }

  #startNow(request: Request): boolean {
    if (this.#isStopping || !this.#executor.hasRoom || !this.#turns.isEmpty) return false;
    this.#turns.served(request);
    this.#start(request);
    return true;
  }

  #start(request: Request): void {
    if (this.#isIdle) {
      this.#isIdle = false;
      this.#idle.start();
    }
    this.#executor.start(request);
  }

  async #answer({ reply }: Ping): Promise<void> {
    const health = await this.#executor.health(reply.closed());
    if (health === undefined) reply.close();
    else reply.send(health);
  }
}

/** Channels that have a loop: a second one would run twice as many calls, and end the worker under the first. */
const served = new WeakSet<object>();

/** Options of {@link runWorker}. */
export interface RunWorkerOptions {
  /** How many calls may be inside the model at once. 1 by default. */
  readonly concurrency?: number | undefined;
  /** How long the worker waits for a request before it calls itself idle, in ms; `Infinity` for never. 300,000 by default. */
  readonly idleTimeoutMs?: number | undefined;
  /** Told before and after each call into the model, so that a watcher can see since when a long call runs. What it throws is an uncaught exception, and no call's answer. */
  readonly onProgress?: ((progress: WorkerProgress) => void) | undefined;
}

const RUN_OPTIONS = {
  concurrency: option<number>(requirePositiveInteger, 1),
  idleTimeoutMs: option(millisecondsOrInfinity, 300_000),
  onProgress: option(requireFunction<NonNullable<RunWorkerOptions['onProgress']>>),
} satisfies OptionTable<RunWorkerOptions>;

/**
 * The stock loop of a worker: checks and warms up the model, serves requests until the handle is closed, then releases the model.
 *
 * Up to `concurrency` calls are inside the model at once; while it is full, requests stay in their queues, and full queues push back on
 * callers. Operations are served in rotation, so none starves while another is saturated. A request that was given up, or whose deadline has
 * passed, is never run.
 *
 * **Cancel safety:** not applicable; close or destroy the handle to end it.
 *
 * @param model An object with a method per operation.
 * @param channels The loop's end, from {@link createWorkerChannels}.
 * @param options See {@link RunWorkerOptions}.
 * @returns A promise that resolves when the model has been released. It may be ignored: a failure is the worker's state as well.
 * @throws TypeError, RangeError When an option is of the wrong type, out of range or unknown, or the channels have a loop already.
 * @throws WorkerLoadError When the model lacks a method (`ERR_MODEL_CONTRACT`) or its `warmup()` failed.
 * @example
 * ```ts
 * const { handle, channels } = createWorkerChannels({ greet: operation<string, string>({ capacity: 8 }) });
 * const done = runWorker({ greet: async (name) => `hello ${name}` }, channels, { concurrency: 2 });
 * await handle.call('greet', 'mill', { timeoutMs: 1_000 }); // => 'hello mill'
 * await handle.close();
 * await done; // => undefined
 * ```
 */
export function runWorker<Ops extends Operations>(
  model: ModelOf<Ops>,
  channels: WorkerChannels<Ops>,
  options?: RunWorkerOptions,
): Promise<void> {
  const action = 'Cannot run worker';
  const { concurrency, idleTimeoutMs, onProgress } = fillOptions(action, options, RUN_OPTIONS);
  const account = accountOf(channels as unknown as WorkerChannels<never>);
  if (served.has(channels)) {
    throw new TypeError(`${action}: channels must have no loop yet, received those of another`);
  }
  served.add(channels);
  account.model.onProgress = onProgress;
  const executor = new InlineExecutor(account, channels.declared, async () => model, concurrency);
  return runLoop(channels as unknown as WorkerChannels<never>, executor, {
    idleTimeoutMs,
    loadTimeoutMs: Number.POSITIVE_INFINITY,
    source: 'the model',
  });
}

/** Runs the loop of a worker over an executor, in no caller's async context. Its failure, the state's as well, may be left unhandled. */
export function runLoop(channels: WorkerChannels<never>, executor: Executor, settings: LoopSettings): Promise<void> {
  return inNeutralContext(() => {
    const done = new WorkerLoop(channels, executor, settings).run();
    done.catch(() => {});
    return done;
  });
}

// Invariants:
// - Between start and stop exactly one clock timer runs, whatever the worker does: activity does not touch it. When it fires too soon, it is
//   started again for what is left.
// - `due` holds at most one notice.

/** The timer arm of the loop: `due` receives once nothing has happened for the timeout. */
class IdleTimer {
  readonly due: mpsc.Receiver<void>;
  readonly #notice: mpsc.Sender<void>;
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  /** When something last happened; undefined while something is going on. */
  readonly #lastActiveAt: () => number | undefined;
  #timer: ClockTimer | undefined;

  constructor(clock: Clock, timeoutMs: number, lastActiveAt: () => number | undefined) {
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
    this.#lastActiveAt = lastActiveAt;
    [this.#notice, this.due] = mpsc.channel<void>(1);
  }

  /** Waits for the timeout to pass, from now on. */
  start(): void {
    if (this.#timeoutMs !== Number.POSITIVE_INFINITY) this.#arm(this.#timeoutMs);
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  /** Whether nothing has happened for the timeout still: something may have, between the notice and the look at it. */
  get isDue(): boolean {
    return this.#left() <= 0;
  }

  /** How much of the timeout is left. */
  #left(): number {
    const last = this.#lastActiveAt();
    return last === undefined ? this.#timeoutMs : last + this.#timeoutMs - this.#clock.now();
  }

  #arm(ms: number): void {
    this.#timer = inNeutralContext(() => this.#clock.setTimer(() => this.#fire(), ms));
  }

  #fire(): void {
    const left = this.#left();
    if (left > 0) {
      this.#arm(left);
      return;
    }
    this.#timer = undefined;
    if (this.#notice.capacity > 0) this.#notice.trySend(undefined);
  }
}
