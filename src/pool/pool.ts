import {
  fillOptions,
  millisecondsOrInfinity,
  type OptionTable,
  option,
  requirePositiveInteger,
  textOf,
} from '../core/index.js';
import type { Operations } from '../worker/index.js';
import { inNeutralContext } from '../worker/internal.js';
import { PoolClosedError, UnknownModelError } from './errors.js';
import { type PoolCallOptions, RegisteredModel } from './model/registered-model.js';
import { createModelHandle, type ModelHandle } from './model-handle.js';
import { type ModelOptions, requireModelOptions } from './model-options.js';
import { sumLedgers } from './observe/counts.js';
import { EventHub, type PoolEvent } from './observe/events.js';
import { claimName, publishMetrics, renderMetrics, withdrawMetrics } from './observe/metrics.js';
import {
  healthOf,
  type PoolHealth,
  type PoolStats,
  statsOf,
  type WorkerReport,
  workersOf,
  worstOf,
} from './observe/reports.js';
import { type PoolOptions, type PoolSettings, requirePoolOptions } from './pool-options.js';
import { type StartWorker, workerStarter } from './pooled-worker.js';
import { SpareHosts } from './spare-hosts.js';

/** Options of anything that closes. */
export interface PoolCloseOptions {
  /** How long accepted requests may take to finish, in ms. The pool's `shutdownMs` by default. */
  readonly timeoutMs?: number | undefined;
}

const CLOSE_OPTIONS = { timeoutMs: option(millisecondsOrInfinity) } satisfies OptionTable<PoolCloseOptions>;

type PoolState = 'open' | 'draining' | 'closing' | 'closed';

const inspect = Symbol.for('nodejs.util.inspect.custom');

/** Many workers per model, many models. Made by {@link createPool}. */
export class Pool implements AsyncDisposable {
  readonly #settings: PoolSettings;
  readonly #models = new Map<string, RegisteredModel>();
  readonly #events = new EventHub();
  readonly #spares: SpareHosts | undefined;
  // Models that were unregistered and are not gone yet: a close waits for them too.
  readonly #leaving = new Set<RegisteredModel>();
  #state: PoolState = 'open';
  #closed: Promise<void> | undefined;

  /** @internal */
  constructor(settings: PoolSettings) {
    this.#settings = settings;
    claimName(settings);
    if (settings.spareHosts !== undefined) {
      try {
        this.#spares = new SpareHosts(`${settings.name}/spare hosts`, settings.spareHosts, settings);
      } catch (error) {
        withdrawMetrics(settings);
        throw error;
      }
    }
    // Where the package is missing, `metrics()` says so.
    if (settings.registry !== undefined) publishMetrics(settings, () => this.#models.values()).catch(() => {});
  }

  /** The pool's name. */
  get name(): string {
    return this.#settings.name;
  }

  /** The keys of the registered models. */
  get keys(): string[] {
    return [...this.#models.keys()];
  }

  /**
   * Registers a model under a key. No worker is started before the first call, unless `minWorkers` asks for some.
   *
   * @param key Its name in this pool.
   * @param options What it is and how its workers are run; unknown keys are refused.
   * @returns The model, typed by its operations: wrong names and inputs do not compile.
   * @throws TypeError, RangeError When an option is of the wrong type, out of range or unknown, or the key is taken.
   * @throws PoolClosedError When the pool is closing.
   * @example
   * ```ts
   * const pool = createPool();
   * const text = pool.register('text', {
   *   operations: { upper: operation<string, string>() },
   *   load: () => ({ upper: (input: string) => input.toUpperCase() }),
   * });
   * await text.call('upper', 'millrace'); // => 'MILLRACE'
   * await pool.close();
   * ```
   */
  register<const Ops extends Operations>(key: string, options: ModelOptions<Ops>): ModelHandle<Ops> {
    const settings = requireModelOptions(key, options, this.#settings);
    const action = `Cannot register model '${key}'`;
    const { find, spawn } = this.#settings;
    // Workers of another kind have names and options of their own for where a model comes from.
    const startWorker: StartWorker | undefined =
      find !== undefined
        ? undefined
        : spawn === undefined
          ? workerStarter(action, settings.start)
          : (extras) => spawn({ ...settings.start, ...extras });
    if (this.#state !== 'open') throw new PoolClosedError(`${action}: the pool is ${this.#state}`);
    if (this.#models.has(key)) throw new TypeError(`${action}: key must be free, received one that is registered`);
    for (const { settings: other } of this.#models.values()) {
      if (other.label !== settings.label) continue;
      throw new TypeError(
        `${action}: label must be free, received '${settings.label}', which is that of '${other.key}'`,
      );
    }
    const workers = startWorker ?? (find as NonNullable<typeof find>)(key);
    const model = new RegisteredModel(settings, this.#settings, workers, this.#events, this.#spares);
    this.#models.set(key, model);
    this.#emit('register', key);
    inNeutralContext(() => model.begin());
    return createModelHandle<Ops>(model);
  }

  /**
   * Takes a model out: new calls are refused at once, accepted ones are finished for at most `timeoutMs`, then its workers are released.
   *
   * **Cancel safety:** takes no signal.
   *
   * @returns False when no such model is registered.
   */
  async unregister(key: string, options?: PoolCloseOptions): Promise<boolean> {
    const timeoutMs = this.#requireTimeout(`Cannot unregister model '${key}'`, options);
    const model = this.#models.get(key);
    if (model === undefined) return false;
    this.#models.delete(key);
    this.#leaving.add(model);
    try {
      await model.close(timeoutMs, 'the model is unregistered');
    } finally {
      this.#leaving.delete(model);
    }
    this.#emit('unregister', key);
    return true;
  }

  /** Whether a model is registered under a key. */
  has(key: string): boolean {
    return this.#models.has(key);
  }

  /**
   * Calls an operation of a model by names known only at run time; the typed way is the handle that `register` answers with.
   *
   * **Cancel safety:** the message goes with the call.
   *
   * @returns A promise of the output; for a stream operation, the stream of its chunks.
   */
  call(key: string, operation: string, input: unknown, options?: PoolCallOptions): unknown {
    const model = this.#models.get(key);
    return model === undefined
      ? Promise.reject(this.#unknown('call', key))
      : model.call(operation, input, options, false);
  }

  /**
   * Starts workers of a model ahead of the first call.
   *
   * **Cancel safety:** takes no signal; workers that were started stay.
   *
   * @param count How many should be ready; at most the model's `maxWorkers` are.
   * @returns A promise that resolves once they can take requests.
   * @throws What the load failed with.
   */
  async warm(key: string, count = 1): Promise<void> {
    requirePositiveInteger(`Cannot warm model '${key}'`, 'count', count);
    if (this.#state !== 'open') throw new PoolClosedError(`Cannot warm model '${key}': the pool is ${this.#state}`);
    try {
      await this.#require('warm', key).fleet.warm(count);
    } catch (error) {
      if (this.#isOpen()) throw error;
      throw new PoolClosedError(`Cannot warm model '${key}': the pool is ${this.#state}`, { cause: error });
    }
  }

  /**
   * Evicts every idle worker of a model, `minWorkers` included; busy ones stay.
   *
   * **Cancel safety:** takes no signal.
   *
   * @returns How many, once they are gone.
   */
  async evict(key: string): Promise<number> {
    return await this.#require('evict', key).fleet.evictIdle();
  }

  /** How the pool and each of its models are, now. */
  health(): PoolHealth {
    const { governor } = this.#settings;
    const models = Object.fromEntries([...this.#models].map(([key, model]) => [key, healthOf(model)]));
    return {
      status: worstOf(Object.values(models).map((each) => each.status)),
      models,
      memory: { limitBytes: governor.limitBytes, heldBytes: governor.heldBytes, held: governor.holdings() },
    };
  }

  /** What became of the calls; `accepted = succeeded + failed + expired + cancelled + pending` at any moment. */
  stats(): PoolStats {
    const models = Object.fromEntries([...this.#models].map(([key, model]) => [key, statsOf(model)]));
    return { ...sumLedgers(Object.values(models)), models };
  }

  /**
   * How each worker is: its state, process, memory, requests, and what the one before it in its place crashed with. Each is asked and measured for this;
   * what a worker does not answer within half a second, being in native code, is as it was last known.
   *
   * **Cancel safety:** takes no signal; nothing is changed.
   *
   * @returns One report a worker, model by model. A start that waits for memory has no worker yet.
   * @example
   * ```ts
   * const pool = createPool();
   * const text = pool.register('text', {
   *   operations: { upper: operation<string, string>() },
   *   load: () => ({ upper: (input: string) => input.toUpperCase() }),
   * });
   * await text.call('upper', 'millrace');
   * const [worker] = await pool.workers();
   * worker?.served; // => 1
   * worker?.restarts; // => 0
   * await pool.close();
   * ```
   */
  async workers(): Promise<WorkerReport[]> {
    const { clock } = this.#settings;
    const reports = [...this.#models.values()].map((model) => workersOf(model, () => clock.now()));
    return (await Promise.all(reports)).flat();
  }

  /**
   * The metrics as Prometheus text. Needs the package `prom-client`, which is loaded when this is first called.
   *
   * @throws MissingPackageError When `prom-client` is not installed.
   */
  async metrics(): Promise<string> {
    return await renderMetrics(this.#settings, () => this.#models.values());
  }

  /** What happens in the pool's life from now on. Ends with the pool; a slow reader loses the oldest of more than 1,024 events. */
  events(): AsyncIterableIterator<PoolEvent, void, void> {
    return this.#events.read();
  }

  /**
   * Takes no more calls, and resolves once every accepted one is answered. Workers stay.
   *
   * **Cancel safety:** takes no signal.
   */
  async drain(): Promise<void> {
    if (this.#state === 'open') this.#become('draining', 'drain');
    const models = [...this.#models.values(), ...this.#leaving];
    await Promise.all(models.map((model) => model.drain('the pool is draining')));
  }

  /**
   * Drains for at most `timeoutMs`, then answers what is left with `PoolClosedError`, and resolves once every worker is gone.
   *
   * **Cancel safety:** takes no signal; calling it again answers with the same promise.
   */
  close(options?: PoolCloseOptions): Promise<void> {
    const timeoutMs = this.#requireTimeout('Cannot close pool', options);
    this.#closed ??= this.#end((model) => model.close(timeoutMs, 'the pool is closing'));
    return this.#closed;
  }

  /**
   * Answers every call now with `PoolClosedError`, whose `cause` is the reason, ends every worker, and resolves once they are gone.
   *
   * **Cancel safety:** takes no signal.
   */
  destroy(reason?: unknown): Promise<void> {
    const cause = reason ?? new Error('the pool was destroyed');
    const destroyed = this.#end((model) => model.destroy('the pool is destroyed', cause));
    this.#closed ??= destroyed;
    return destroyed;
  }

  /** The same as `close()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** @internal */
  modelOf(key: string): RegisteredModel | undefined {
    return this.#models.get(key);
  }

  /** @internal */
  [inspect](): string {
    const { queued, running } = [...this.#models.values()].reduce(
      (sum, { dispatcher }) => ({ queued: sum.queued + dispatcher.queued, running: sum.running + dispatcher.running }),
      { queued: 0, running: 0 },
    );
    return `Pool { name: '${this.name}', state: '${this.#state}', models: [${this.keys.join(', ')}], queued: ${queued}, running: ${running} }`;
  }

  async #end(end: (model: RegisteredModel) => Promise<void>): Promise<void> {
    if (this.#isOpen()) this.#become('closing', 'close');
    await Promise.all([this.#spares?.close(), ...[...this.#models.values(), ...this.#leaving].map(end)]);
    this.#state = 'closed';
    withdrawMetrics(this.#settings);
    this.#events.close();
  }

  /** States only advance. */
  #become(state: 'draining' | 'closing', event: 'drain' | 'close'): void {
    this.#state = state;
    this.#emit(event, '');
  }

  #isOpen(): boolean {
    return this.#state === 'open' || this.#state === 'draining';
  }

  #require(verb: string, key: string): RegisteredModel {
    const model = this.#models.get(key);
    if (model === undefined) throw this.#unknown(verb, key);
    return model;
  }

  #unknown(verb: string, key: string): UnknownModelError {
    const known = this.#models.size === 0 ? 'none is registered' : `registered are ${this.keys.join(', ')}`;
    return new UnknownModelError(`Cannot ${verb} model '${textOf(key)}': ${known}`);
  }

  #requireTimeout(action: string, options: PoolCloseOptions | undefined): number {
    return fillOptions(action, options, CLOSE_OPTIONS).timeoutMs ?? this.#settings.shutdownMs;
  }

  #emit(type: 'register' | 'unregister' | 'drain' | 'close', model: string): void {
    this.#events.emit({ type, pool: this.name, model, at: this.#settings.clock.now() });
  }
}

/**
 * Creates a pool: models are registered with it, calls go to whichever of their workers is free first, and workers come and go with the load
 * and the memory.
 *
 * An idle pool does not hold the process; a pool that was forgotten takes its workers along when the process ends.
 *
 * @param options See {@link PoolOptions}; unknown keys are refused.
 * @returns The pool. `await using` closes it.
 * @throws TypeError, RangeError When an option is of the wrong type, out of range or unknown, or another pool of that name is in the registry.
 * @example
 * ```ts
 * const pool = createPool({ name: 'text' });
 * const words = pool.register('words', {
 *   operations: { count: operation<string, number>() },
 *   load: () => ({ count: (input: string) => input.split(' ').length }),
 *   maxWorkers: 2,
 * });
 * await words.call('count', 'the mill turns', { timeoutMs: 1_000, priority: 'interactive' }); // => 3
 * pool.stats().succeeded; // => 1
 * await pool.close();
 * ```
 */
export function createPool(options?: PoolOptions): Pool {
  const settings = requirePoolOptions(options);
  return inNeutralContext(() => new Pool(settings));
}
