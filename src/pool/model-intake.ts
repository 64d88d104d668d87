import type { Operations } from '../worker/index.js';
import type { PoolCallOptions, RegisteredModel } from './model/registered-model.js';
import type { Pool } from './pool.js';

/** A model of a pool, for a sister layer that lets in calls from elsewhere: what it could take now, and a way in. */
export interface ModelIntake {
  readonly key: string;
  readonly operations: Operations;
  /**
   * How many calls its workers could have at once, those that it may start included. While none may be started, after a failure, only those that are
   * there count.
   */
  readonly capacity: number;
  /** How many calls it has: in its workers, in its queue and outside of that. */
  readonly load: number;
  /** Places that calls of the class `'batch'` never take. */
  readonly reserve: number;
  /** How long a worker takes for a call, in ms; undefined before the first answer. */
  readonly serviceMs: number | undefined;
  /** When a call that found no place has a fair chance, in ms. */
  readonly retryAfterMs: number;
  /** As `pool.call()`. */
  call(operation: string, input: unknown, options: PoolCallOptions): unknown;
  /** Calls back each time that a place may have come free. Answers a function that ends it. */
  watch(onChange: () => void): () => void;
}

/** The intake of a registered model; undefined where none is registered under the key. */
export function intakeOf(pool: Pool, key: string): ModelIntake | undefined {
  const model = pool.modelOf(key);
  return model === undefined ? undefined : new Intake(model);
}

class Intake implements ModelIntake {
  readonly #model: RegisteredModel;

  constructor(model: RegisteredModel) {
    this.#model = model;
  }

  get key(): string {
    return this.#model.key;
  }

  get operations(): Operations {
    return this.#model.settings.operations;
  }

  get capacity(): number {
    const { fleet, settings } = this.#model;
    const workers = fleet.backOffMs > 0 ? fleet.workers.accepting : settings.maxWorkers;
    return workers * settings.window;
  }

  get load(): number {
    const { dispatcher, fleet } = this.#model;
    let load = dispatcher.queued + dispatcher.outside;
    // A worker has a call that was given up until it lets go of it.
    for (const { pending } of fleet.workers) load += pending;
    return load;
  }

  get reserve(): number {
    return this.#model.settings.reserve * this.#model.settings.maxWorkers;
  }

  get serviceMs(): number | undefined {
    return this.#model.dispatcher.rate.serviceMs;
  }

  get retryAfterMs(): number {
    return this.#model.dispatcher.retryAfterMs;
  }

  call(operation: string, input: unknown, options: PoolCallOptions): unknown {
    return this.#model.call(operation, input, options, false);
  }

  watch(onChange: () => void): () => void {
    const { onChange: listeners } = this.#model.dispatcher;
    listeners.add(onChange);
    return () => listeners.delete(onChange);
  }
}
