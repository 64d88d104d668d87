/** Why a model turns calls away, and in which words. */
import { textOf } from '../../core/index.js';
import { DeadlineExceededError, UnknownOperationError } from '../../worker/index.js';
import type { CircuitBreaker } from '../breaker.js';
import { BreakerOpenError, PoolClosedError, PoolOverloadedError, withoutStack } from '../errors.js';
import type { ModelSettings } from '../model-settings.js';
import type { Fleet } from './fleet.js';
import type { Call } from './job.js';
import type { JobQueue } from './job-queue.js';
import type { RateEstimate } from './rate.js';

const RETRY_GUESS_MS = 100;

/** What the door looks at. */
export interface DoorParts {
  readonly settings: ModelSettings;
  readonly queue: JobQueue;
  readonly rate: RateEstimate;
  readonly fleet: () => Fleet;
}

export class Door {
  readonly #parts: DoorParts;
  /** Why new calls are refused, once they are. */
  closing: string | undefined;

  constructor(parts: DoorParts) {
    this.#parts = parts;
  }

  /** Why there is no room for a call that no worker is free for, where there is none. */
  overloaded(operation: string, isTry: boolean, timeoutMs: number, hasRoom: boolean): PoolOverloadedError | undefined {
    const { settings, queue, rate } = this.#parts;
    const fleet = this.#parts.fleet();
    if (isTry && fleet.backOffMs > 0 && fleet.slots.accepting + fleet.starting === 0) {
      const message = `${this.#subject(operation)}: no worker, the last one failed`;
      const cause = fleet.lastFailure;
      return withoutStack(() => new PoolOverloadedError(message, fleet.backOffMs, { cause }));
    }
    if (isTry && !hasRoom) {
      return this.#overloaded(`${this.#subject(operation)}: its queue is full`);
    }
    if (!settings.refuseEarly) return undefined;
    const waitMs = rate.waitMs(queue.size + queue.outside + 1, fleet.slots.places);
    if (waitMs === undefined || waitMs + rate.likelyServiceMs <= timeoutMs) return undefined;
    const message = `${this.#subject(operation)}: its deadline of ${timeoutMs} ms cannot be met`;
    return this.#overloaded(message);
  }

  unknown(operation: string): UnknownOperationError {
    const known = Object.keys(this.#parts.settings.operations).join(', ');
    const name = textOf(operation);
    const message = `${this.#subject(undefined)}: operation must be one of ${known}, received '${name}'`;
    return new UnknownOperationError(message, name);
  }

  closed(operation: string | undefined, cause?: unknown): PoolClosedError {
    const options = cause === undefined ? undefined : { cause };
    return new PoolClosedError(`${this.#subject(operation)}: ${this.closing}`, options);
  }

  broken(operation: string, breaker: CircuitBreaker): BreakerOpenError {
    const message = `${this.#subject(operation)}: its circuit breaker is ${breaker.state}`;
    return withoutStack(() => new BreakerOpenError(message, breaker.retryAfterMs));
  }

  noRoomInTime(call: Call): PoolOverloadedError {
    const message = `${this.#subject(call.job.operation.name)}: no room in its queue within ${call.timeoutMs} ms`;
    return this.#overloaded(message);
  }

  tooLate(call: Call): DeadlineExceededError {
    const message = `${this.#subject(call.job.operation.name)}: no answer within ${call.timeoutMs} ms`;
    return withoutStack(() => new DeadlineExceededError(message, call.timeoutMs));
  }

  #subject(operation: string | undefined): string {
    return `Cannot call '${this.#parts.settings.key}${operation === undefined ? '' : `.${operation}`}'`;
  }

  #overloaded(message: string): PoolOverloadedError {
    return withoutStack(() => new PoolOverloadedError(message, this.#retryAfterMs()));
  }

  // When half of what waits now will have been served.
  #retryAfterMs(): number {
    const { queue, rate } = this.#parts;
    const fleet = this.#parts.fleet();
    const waitMs = rate.waitMs((queue.size + 1) / 2, fleet.slots.places);
    return Math.max(1, Math.ceil(waitMs ?? Math.max(RETRY_GUESS_MS, fleet.backOffMs)));
  }
}
