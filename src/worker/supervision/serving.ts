import { createSelector, mpsc, type Selectable } from '../../channels/index.js';
import { systemClock } from '../../core/index.js';
import { sharedNow, sharedTime } from '../link/shared-clock.js';
import type { OperationQueue } from '../operation-queue.js';
import type { PendingRequest } from '../pending-request.js';
import type { QueueTurns } from '../queue-turns.js';
import type { AnyRequest } from '../request.js';
import type { Ping, WorkerChannels } from '../worker-channels.js';
import type { WorkerCore } from '../worker-core.js';
import type { HeldCall, HostClient } from './host-client.js';
import type { HostWatch } from './host-watch.js';
import type { PingAnswerer } from './ping-answerer.js';

// Invariants:
// - a request leaves the worker's queue only when the host has a free slot for it: what waits, waits in the one queue whose capacity counts, and
//   survives the host.

/** Why a host is served no more: it is down, the worker is to end now, or it has ended what it was given. */
export type ServingEnd = { readonly stalled: string | undefined } | 'killed' | 'shutdown';

/** What the serving of a host is made of. */
export interface ServingParts {
  readonly core: WorkerCore;
  readonly channels: WorkerChannels<never>;
  readonly client: HostClient;
  readonly watch: HostWatch;
  readonly concurrency: number;
  readonly pings: PingAnswerer;
  /** The worker's, since a request that is put back waits for the next host where this one dies. */
  readonly turns: QueueTurns;
  /** It holds calls, or holds none any more. `at` is the time, where it is known. */
  readonly onActivity: (held: number, at?: number) => void;
}

const CONTROL = { kill: '#kill', shutdown: '#shutdown', down: '#down', ping: '#ping', slot: '#slot' } as const;

type LoopArms = Record<string, Selectable<unknown>>;
type AnyPending = PendingRequest & AnyRequest;

/** The service of one host, from when its model is loaded until it is down or the worker ends: requests go to it as it has slots for them. */
export class Serving {
  readonly #parts: ServingParts;
  readonly #client: HostClient;
  readonly #queues: readonly OperationQueue[];
  readonly #turns: QueueTurns;
  /** Wakes the loop when a full host has room again. */
  readonly #freed: mpsc.Sender<void>;
  readonly #slot: mpsc.Receiver<void>;
  #isEnding = false;
  /** Whether the loop waits with the operations' arms off. */
  #isParkedFull = false;
  #isFilling = false;

  constructor(parts: ServingParts) {
    this.#parts = parts;
    this.#client = parts.client;
    this.#queues = [...parts.core.queues.values()];
    this.#turns = parts.turns;
    [this.#freed, this.#slot] = mpsc.channel<void>(1);
  }

  /** Serves until there is an end. `again` is what a host before this one held. */
  async run(again: readonly HeldCall[]): Promise<ServingEnd> {
    const { watch, pings, onActivity } = this.#parts;
    const client = this.#client;
    const arms = this.#makeSelectors();
    for (const held of again) this.#send(held);
    onActivity(client.held.size);
    for (;;) {
      this.#fill();
      if (this.#isEnding && client.held.size === 0) return 'shutdown';
      this.#isParkedFull = this.#isEnding || !this.#hasSlot();
      const event = await (this.#isEnding ? arms.ending : this.#isParkedFull ? arms.full : arms.free).next();
      this.#isParkedFull = false;
      switch (event.arm) {
        case CONTROL.kill:
        case null:
          return 'killed';
        case CONTROL.down:
          return { stalled: watch.stalled };
        case CONTROL.shutdown:
          this.#isEnding = true;
          break;
        case CONTROL.ping:
          pings.answer(client, event.value as Ping);
          break;
        case CONTROL.slot:
          break;
        default: {
          const request = event.value as AnyPending;
          this.#turns.served(request.queue);
          // Others may have been handed over while the loop waited.
          if (this.#hasSlot()) this.#take(request);
          else this.#turns.putBack(request);
        }
      }
    }
  }

  /** Takes a request that meets a free slot and nobody before it straight from its call, without a turn of the loop. */
  handOver(queue: OperationQueue, request: AnyPending, at: number | undefined): boolean {
    if (this.#isEnding || queue.receiver.len > 0 || this.#turns.hasPutBack || !this.#hasSlot()) return false;
    this.#take(request, at);
    return true;
  }

  /** The host is done with a call: its slot is free. */
  onFinal(at: number): void {
    this.#fill();
    const { held } = this.#client;
    if (this.#isParkedFull && this.#hasSlot() && (!this.#isEnding || held.size === 0)) {
      this.#isParkedFull = false;
      if (this.#freed.capacity > 0) this.#freed.trySend();
    }
    if (held.size === 0) this.#parts.onActivity(0, at);
  }

  // Biased: control goes first, and the operations' turns are kept elsewhere.
  #makeSelectors() {
    const { core, channels, watch } = this.#parts;
    const ending: LoopArms = {
      [CONTROL.kill]: core.kill,
      [CONTROL.down]: watch.down,
      [CONTROL.ping]: channels.health,
      [CONTROL.slot]: this.#slot,
    };
    const full: LoopArms = { ...ending, [CONTROL.shutdown]: core.shutdown };
    // Prefixed, so that no operation's name is taken for one of the loop's own arms.
    const operations = Object.fromEntries(this.#queues.map(({ name, receiver }) => [`operation ${name}`, receiver]));
    return {
      ending: createSelector<LoopArms>(ending, { biased: true }),
      full: createSelector<LoopArms>(full, { biased: true }),
      free: createSelector<LoopArms>({ ...full, ...operations }, { biased: true }),
    };
  }

  #hasSlot(): boolean {
    return this.#client.held.size < this.#parts.concurrency;
  }

  /** Sends what waits, operation by operation, while the host has a slot: no turn of the loop is needed for it. */
  #fill(): void {
    // A call that can't be sent is over while it is being sent: what comes after it is the outer loop's, however many of them there are.
    if (this.#isEnding || this.#isFilling) return;
    this.#isFilling = true;
    while (this.#hasSlot()) {
      const request = this.#turns.take();
      if (request === undefined) break;
      this.#take(request as AnyPending);
    }
    this.#isFilling = false;
  }

  #take(request: AnyPending, at?: number): void {
    // Its caller gave up while it waited.
    if (!request.dispatch()) return;
    const { core } = this.#parts;
    const now = at ?? core.clock.now();
    core.enterModel(request, now);
    const held = {
      request,
      operation: this.#queues.indexOf(request.queue),
      attempts: 0,
      chunks: 0,
      abandonedAt: undefined,
    };
    this.#send(held, now);
    this.#parts.onActivity(this.#client.held.size, now);
  }

  #send(held: HeldCall, now: number = this.#parts.core.clock.now()): void {
    const { core, watch } = this.#parts;
    const { deadline } = held.request;
    const remainingMs = deadline === undefined ? -1 : Math.max(0, deadline - now);
    // A worker's clock may be a simulated one, which no other thread has.
    this.#client.send(held, remainingMs, core.clock === systemClock ? sharedTime(now) : sharedNow());
    watch.stall.watch();
  }
}
