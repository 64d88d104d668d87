import { createSelector, mpsc, type Selectable, type Selector } from '../channels/index.js';
import { messageOf, scheduleMacrotask } from '../core/index.js';
import { HealthCheck } from './health-check.js';
import { IdleTimer } from './idle-timer.js';
import { requireModel, type UntypedModel } from './model.js';
import type { OperationQueue } from './operation-queue.js';
import type { PendingRequest } from './pending-request.js';
import { QueueTurns } from './queue-turns.js';
import { CallPlace } from './run-request.js';
import { coreOf, type Ping, type WorkerChannels } from './worker-channels.js';
import type { WorkerCore } from './worker-core.js';
import { WorkerLoadError } from './worker-errors.js';

// Invariants:
// - At most `concurrency` requests are inside the model. While it is full the operation arms are off, so that the queues push back.
// - Requests are taken by turns: the operation after the last one served comes first, so saturated operations get equal shares.
// - A call that leaves a full model starts the next request itself, without a turn of the loop; only when none waits is the loop woken.
// - After `BURST_TAKES` requests or `BURST_MS` the loop lets timers and I/O run, however fast callers are.
// - A request that comes from a link, to a loop that waits with all queues empty, is started from where it comes, without a turn of the loop.
// - Before it waits, the loop lingers until the microtasks of this turn of the event loop are done: requests that come meanwhile are started from
//   where they come, one microtask later, so a fast model and an eager caller are served without a wait.
// - That microtask belongs to the first such request's caller: it carries the request into the model in the caller's async context, of which no record
//   is made then. The loop lingers until it has run, and starts nothing before it.

const BURST_TAKES = 1_024;
const BURST_MS = 8;
const DONE = Promise.resolve();

type LoopArms = Record<string, Selectable<unknown>>;
type LoopSelector = Selector<LoopArms>;

/** What the loop is run with, filled and checked. */
export interface LoopSettings {
  readonly concurrency: number;
  readonly idleTimeoutMs: number;
}

/** The stock loop. */
export class WorkerLoop {
  readonly #core: WorkerCore;
  readonly #channels: WorkerChannels<never>;
  readonly #settings: LoopSettings;
  readonly #queues: readonly OperationQueue[];
  readonly #turns: QueueTurns;
  readonly #idle: IdleTimer;
  readonly #freed: mpsc.Sender<void>;
  readonly #slot: mpsc.Receiver<void>;
  #model!: UntypedModel;
  #health: HealthCheck | undefined;
  #inModel = 0;
  // Requests since timers and I/O last had their turn, and when the first of them was taken.
  #taken = 0;
  #burstStart = 0;
  #isParkedFull = false;
  #isFilling = false;
  // Waits with the operations' arms on, and no request has entered a queue since.
  #isParkedFree = false;
  // Received from its queue when the model had become full, or carried. It is started before any other.
  #early: PendingRequest | undefined;
  // False once the queues were seen empty, until a request enters one.
  #mayWait = true;
  #isLingering = false;
  #isPumping = false;
  #isStopping = false;
  #isIdle = false;
  #lastActiveAt = 0;
  // Places inside the model that are free; as many as were ever taken at once.
  readonly #places: CallPlace[] = [];
  readonly #onLeave = (place: CallPlace): void => this.#left(place);
  readonly #onEnter = (): void => {
    this.#isParkedFree = false;
    this.#mayWait = true;
    if (this.#isLingering && !this.#isPumping) this.#pumpSoon();
  };
  readonly #pump = (): void => {
    this.#isPumping = false;
    if (!this.#isStopping) this.#fill();
    this.#early?.keepTrace();
  };

  constructor(channels: WorkerChannels<never>, settings: LoopSettings) {
    this.#core = coreOf(channels);
    this.#channels = channels;
    this.#settings = settings;
    this.#queues = [...this.#core.queues.values()];
    this.#turns = new QueueTurns(this.#queues);
    this.#idle = new IdleTimer(this.#core.clock, settings.idleTimeoutMs, () =>
      this.#inModel > 0 ? undefined : this.#lastActiveAt,
    );
    [this.#freed, this.#slot] = mpsc.channel<void>(1);
  }

  async run(model: unknown): Promise<void> {
    const core = this.#core;
    core.attach();
    core.activity.owesReady = true;
    try {
      this.#channels.enter('loading');
      await this.#load(model);
      this.#channels.enter('ready');
      await this.#serve();
      await this.#model.dispose?.();
      this.#channels.finish();
    } catch (error) {
      this.#channels.finish(error);
      throw error;
    }
  }

  async #load(model: unknown): Promise<void> {
    this.#model = requireModel(model, this.#core.operations);
    if (this.#model.health !== undefined) {
      this.#health = new HealthCheck(() => this.#model.health?.(), this.#core.clock);
    }
    try {
      await this.#model.warmup?.();
    } catch (error) {
      // Nobody's answer waits for that.
      void this.#discard();
      throw new WorkerLoadError(`Cannot load model: its warmup failed (${messageOf(error)})`, { cause: error });
    }
  }

  /** Releases a model that is not used. What goes wrong with that is not why. */
  async #discard(): Promise<void> {
    try {
      await this.#model.dispose?.();
    } catch {
      // There is somebody to tell of what went wrong before.
    }
  }

  async #serve(): Promise<void> {
    const { concurrency } = this.#settings;
    const arms = this.#makeSelectors();
    this.#lastActiveAt = this.#core.clock.now();
    this.#idle.start();
    for (const queue of this.#queues) {
      queue.onEnter = this.#onEnter;
      queue.handOver = (request) => this.#handOver(request);
    }
    while (!(this.#isStopping && this.#inModel === 0)) {
      // After a pause every arm is looked at, so that callers in a hurry keep nobody else waiting.
      const mustLook = this.#isBurstOver();
      if (mustLook) await this.#pause();
      if (!this.#isStopping) this.#fill();
      if (!mustLook && this.#taken > 0) {
        await this.#linger();
        if (this.#isBurstOver()) continue;
      }
      // The last call may have left meanwhile, when nobody is told of it.
      if (this.#isStopping && this.#inModel === 0) break;
      this.#isParkedFull = this.#isStopping || this.#inModel >= concurrency;
      const selector = this.#isStopping ? arms.stopping : this.#isParkedFull ? arms.full : arms.free;
      this.#isParkedFree = selector === arms.free;
      this.#core.state.settle();
      const event = await selector.next();
      this.#isParkedFull = false;
      this.#isParkedFree = false;
      switch (event.arm) {
        case 'shutdown':
          this.#isStopping = true;
          // Here and not at the end, which a call that hangs puts off for ever.
          this.#idle.stop();
          break;
        case 'health':
          void this.#answer(event.value as Ping);
          break;
        case 'slot':
          break;
        case 'idle':
          // A request may have been taken between the timer and here, and answered as well.
          if (this.#inModel === 0 && this.#idle.isDue) this.#isIdle = this.#channels.enter('idle');
          else this.#idle.start();
          break;
        case null:
          // Every arm is gone; only a loop that is over leaves its arms without senders.
          this.#isStopping = true;
          break;
        default: {
          const request = event.value as PendingRequest;
          this.#turns.served(request.queue);
          // Others may have been started from where they came while the loop waited.
          if (this.#inModel < concurrency) this.#start(request);
          else this.#early = request;
        }
      }
    }
    this.#idle.stop();
    this.#health?.stop();
  }

  /** Waits until nothing happens any more in this turn of the event loop. */
  async #linger(): Promise<void> {
    this.#isLingering = true;
    await new Promise<void>((resolve) => process.nextTick(resolve));
    while (this.#isPumping) await DONE;
    this.#isLingering = false;
    this.#core.activity.isLingering = false;
  }

  /** The arms of a turn: while the model is full the operations are left out, and once the end has begun so is the shutdown. */
  #makeSelectors(): { free: LoopSelector; full: LoopSelector; stopping: LoopSelector } {
    const stopping = { health: this.#channels.health, slot: this.#slot };
    const full = { shutdown: this.#core.shutdown, ...stopping };
    const operations = Object.fromEntries(this.#queues.map((queue) => [armOf(queue), queue.receiver]));
    const options = { biased: true };
    return {
      free: createSelector<LoopArms>({ ...full, ...operations, idle: this.#idle.due }, options),
      full: createSelector<LoopArms>(full, options),
      stopping: createSelector<LoopArms>(stopping, options),
    };
  }

  /** Lets timers and I/O run. After a call that blocked the thread all that has come in meanwhile, the abort of a request that waits among it. */
  async #pause(): Promise<void> {
    const { activity } = this.#core;
    this.#taken = 0;
    // The first comes before the event loop has looked at its sockets and ports, or after; the second after.
    for (let turns = activity.hasBlocked ? 2 : 1; turns > 0; turns--) {
      await new Promise<void>((resolve) => scheduleMacrotask(resolve));
    }
    activity.hasBlocked = false;
  }

  #isBurstOver(): boolean {
    if (this.#core.activity.hasBlocked) return true;
    return this.#taken >= BURST_TAKES || (this.#taken > 0 && this.#lastActiveAt - this.#burstStart > BURST_MS);
  }

  /** Starts what waits, while there is room. */
  #fill(): void {
    this.#isFilling = true;
    while (this.#inModel < this.#settings.concurrency && !this.#isBurstOver()) {
      const request = this.#takeNext();
      if (request === undefined) break;
      this.#start(request);
    }
    this.#isFilling = false;
  }

  #takeNext(): PendingRequest | undefined {
    const early = this.#early;
    if (early !== undefined) {
      this.#early = undefined;
      return early;
    }
    if (!this.#mayWait) return undefined;
    const next = this.#turns.take();
    this.#mayWait = next !== undefined;
    return next;
  }

  #start(request: PendingRequest): void {
    if (this.#taken++ === 0) this.#burstStart = this.#lastActiveAt;
    this.#run(request);
  }

  /** Takes a request by the hand, where there is room for it in the model and nothing has come before it. */
  #handOver(request: PendingRequest): boolean {
    if (this.#inModel >= this.#settings.concurrency) return false;
    if (this.#core.activity.isAlone) return this.#startAlone(request);
    if (!this.#isLingering || this.#isPumping || this.#isFilling || this.#isStopping) return false;
    if (this.#early !== undefined || this.#hasOthers(request)) return false;
    this.#early = request;
    this.#turns.served(request.queue);
    this.#pumpSoon();
    return true;
  }

  /** Whether a request waits beside this one, which has its place in its queue already. */
  #hasOthers(request: PendingRequest): boolean {
    if (this.#mayWait) this.#mayWait = this.#queues.some((queue) => queue.used > (queue === request.queue ? 1 : 0));
    return this.#mayWait;
  }

  #pumpSoon(): void {
    this.#isPumping = true;
    void DONE.then(this.#pump);
  }

  /** Starts a request from where it comes. It is no part of a burst: the event loop has brought it. */
  #startAlone(request: PendingRequest): boolean {
    const { activity } = this.#core;
    if (!this.#isParkedFree || activity.hasBlocked) return false;
    request.keepTrace();
    this.#run(request);
    // What came in while the model kept the thread is looked at before anything else is started.
    if (activity.hasBlocked && this.#freed.capacity > 0) this.#freed.trySend(undefined);
    return true;
  }

  #run(request: PendingRequest): void {
    this.#inModel++;
    if (this.#isIdle) {
      this.#isIdle = false;
      this.#idle.start();
    }
    const place = this.#places.pop() ?? new CallPlace(this.#core, this.#onLeave);
    if (place.run(request, this.#model)) return;
    this.#places.push(place);
    this.#inModel--;
  }

  #left(place: CallPlace): void {
    this.#places.push(place);
    this.#inModel--;
    this.#lastActiveAt = this.#core.model.lastActiveAt;
    this.#core.activity.isLingering = this.#isLingering && this.#inModel === 0;
    // A method that does not wait has left while its request is being started: whoever starts it goes on with the next.
    if (this.#isFilling || this.#isPumping || (!this.#isParkedFull && !this.#isLingering)) return;
    if (!this.#isStopping && !this.#isBurstOver()) {
      this.#fill();
      if (this.#inModel >= this.#settings.concurrency) return;
    }
    if (this.#isParkedFull && this.#freed.capacity > 0) this.#freed.trySend(undefined);
  }

  async #answer(ping: Ping): Promise<void> {
    const report = this.#core.health();
    ping.reply.send(this.#health === undefined ? report : { ...report, model: await this.#health.ask() });
  }
}

/** An operation's arm: prefixed, so that no operation's name is taken for one of the loop's own arms. */
function armOf(queue: OperationQueue): string {
  return `operation ${queue.name}`;
}
