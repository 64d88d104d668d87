import {
  type Clock,
  requireMilliseconds,
  requireOneOf,
  requireOptions,
  requireString,
  requireWorkingSignal,
  textOf,
} from '../../core/index.js';
import { blameCaller } from '../../worker/index.js';
import type { ModelSettings } from '../model-settings.js';
import type { EventHub, PoolEvent } from '../observe/events.js';
import type { SpawnPooledWorker } from '../options.js';
import type { PoolSettings } from '../pool-settings.js';
import { type Priority, priorities } from '../priority.js';
import type { SpareHosts } from '../spare-hosts.js';
import { type CallSettings, Dispatcher } from './dispatcher.js';
import { isModelFault } from './faults.js';
import { Fleet } from './fleet.js';
import { PooledStream, type StreamSource } from './stream.js';

/** Options of a call to a pool. */
export interface PoolCallOptions {
  /** Gives the call up: its promise rejects at once with `signal.reason`. */
  readonly signal?: AbortSignal | undefined;
  /** How long the answer may take, from the call on, all waiting included, in ms. The model's `timeoutMs` by default; with 0 it expires at once, and starts nothing. */
  readonly timeoutMs?: number | undefined;
  /** How urgent it is. `'normal'` by default. */
  readonly priority?: Priority | undefined;
  /** The caller's W3C `traceparent`, handed to the model. */
  readonly traceparent?: string | undefined;
}

const CALL_KEYS = ['signal', 'timeoutMs', 'priority', 'traceparent'] as const;

const NO_OPTIONS: CallSettings = Object.freeze({
  signal: undefined,
  timeoutMs: undefined,
  priority: 'normal',
  traceparent: undefined,
  isTry: false,
  isDetailed: false,
});

/**
 * A model of the pool: its requests and its workers.
 *
 * @internal
 */
export class RegisteredModel {
  readonly key: string;
  readonly settings: ModelSettings;
  readonly dispatcher: Dispatcher;
  readonly fleet: Fleet;
  readonly #pool: PoolSettings;
  readonly #clock: Clock;
  readonly #events: EventHub;

  constructor(
    settings: ModelSettings,
    pool: PoolSettings,
    spawn: SpawnPooledWorker,
    events: EventHub,
    spares?: SpareHosts,
  ) {
    this.key = settings.key;
    this.settings = settings;
    this.#pool = pool;
    this.#clock = pool.clock;
    this.#events = events;
    this.dispatcher = new Dispatcher(settings, pool, (from, to) => this.#emit({ type: 'breaker', from, to }));
    this.fleet = new Fleet(
      settings,
      pool,
      spawn,
      {
        queued: () => this.dispatcher.queued,
        waitingSince: () => this.dispatcher.waitingSince,
        measured: () => this.dispatcher.measured(),
        onRoom: () => this.dispatcher.pump(),
        onNoWorkers: (error) => this.dispatcher.failQueued(error),
        onEvent: (type, worker) => this.#emit({ type, worker }),
        onLoadFailure: (error, backOffMs) => {
          // Once for the load, however many calls waited for it; a shortage of memory is not the model's fault.
          if (isModelFault(error)) this.dispatcher.breaker?.recordFailure();
          this.#emit({ type: 'load-failure', error, backOffMs });
        },
        onCrash: (worker, error, held) => {
          // Once for all that it held.
          if (held > 0) this.dispatcher.breaker?.recordFailure();
          this.#emit({ type: 'crash', worker, error });
        },
      },
      spares,
    );
    this.dispatcher.fleet = this.fleet;
  }

  /** Starts the workers that are always kept. */
  begin(): void {
    if (this.settings.minWorkers > 0) this.fleet.check();
  }

  call(operation: string, input: unknown, options: PoolCallOptions | undefined, isTry: boolean): unknown {
    const isStream = this.dispatcher.operations.get(operation)?.declaration.kind === 'stream';
    let checked: CallSettings;
    try {
      checked = this.#check(operation, options, isTry, false);
    } catch (error) {
      blameCaller(error);
      return isStream ? this.#stream(() => Promise.reject(error)) : Promise.reject(error);
    }
    if (!isStream) return this.dispatcher.submit(operation, input, checked);
    return this.#stream((onCall) => this.dispatcher.submit(operation, input, { ...checked, onCall }));
  }

  #stream(lease: StreamSource['lease']): PooledStream {
    return new PooledStream({
      lease,
      giveUp: (call, reason) => this.dispatcher.giveUp(call, reason),
      leases: this.dispatcher.leases,
    });
  }

  callDetailed(operation: string, input: unknown, options: PoolCallOptions | undefined): Promise<unknown> {
    try {
      if (this.dispatcher.operations.get(operation)?.declaration.kind === 'stream') {
        throw new TypeError(`Cannot call '${this.key}.${operation}' in detail: it is a stream operation, use call()`);
      }
      return this.dispatcher.submit(operation, input, this.#check(operation, options, false, true));
    } catch (error) {
      blameCaller(error);
      return Promise.reject(error);
    }
  }

  /** Drains for at most `timeoutMs`, answers what is left, and resolves once the workers are gone. */
  async close(timeoutMs: number, why: string): Promise<void> {
    const deadline = this.#clock.now() + timeoutMs;
    const isDrained = await this.#drainFor(timeoutMs, why);
    if (isDrained) {
      await this.fleet.close(Math.max(0, deadline - this.#clock.now()));
      return;
    }
    const reason = new Error(`not finished within ${timeoutMs} ms`);
    await this.destroy(why, reason);
  }

  async destroy(why: string, reason: unknown): Promise<void> {
    this.dispatcher.failAll(why, reason);
    await this.fleet.destroy(reason);
  }

  #drainFor(timeoutMs: number, why: string): Promise<boolean> {
    const drained = this.dispatcher.drain(why);
    return new Promise((resolve) => {
      const timer = this.#clock.setTimer(() => resolve(false), timeoutMs, { ref: true });
      void drained.then(() => {
        timer.cancel();
        resolve(true);
      });
    });
  }

  #check(operation: string, options: PoolCallOptions | undefined, isTry: boolean, isDetailed: boolean): CallSettings {
    if (options === undefined && !isTry && !isDetailed) return NO_OPTIONS;
    const action = `Cannot call '${this.key}.${textOf(operation)}'`;
    // Each option is read once: what the caller's object says afterwards concerns no call.
    const { signal, timeoutMs, priority, traceparent } = requireOptions<PoolCallOptions>(action, options, CALL_KEYS);
    return {
      signal: signal === undefined ? undefined : requireWorkingSignal(action, signal),
      timeoutMs:
        timeoutMs === undefined ? undefined : requireMilliseconds(action, 'timeoutMs', timeoutMs, { infinite: true }),
      priority:
        priority === undefined ? 'normal' : requireOneOf(action, 'priority', priority, priorities as Priority[]),
      traceparent: traceparent === undefined ? undefined : requireString(action, 'traceparent', traceparent),
      isTry,
      isDetailed,
    };
  }

  #emit(what: DistributiveOmit<PoolEvent, 'pool' | 'model' | 'at'>): void {
    this.#events.emit({ ...what, pool: this.#pool.name, model: this.key, at: this.#clock.now() } as PoolEvent);
  }
}

type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;
