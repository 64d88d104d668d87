import type { Job } from './job.js';
import type { WorkerSlot } from './worker-slot.js';

/** What becomes of a job in a worker. */
type Settle = (job: Job, slot: WorkerSlot, result: unknown, reply: unknown) => void;

/** A place for a job that a worker has, until the worker has answered; used by one job after another. */
export class Run {
  #job: Job | undefined;
  #slot: WorkerSlot | undefined;
  #reply: Promise<unknown> | undefined;
  readonly #onValue: (value: unknown) => void;
  readonly #onError: (error: unknown) => void;

  /** @param free Where it goes once it is over. */
  constructor(free: Run[], succeeded: Settle, failed: Settle) {
    this.#onValue = (value) => this.#end(free, succeeded, value);
    this.#onError = (error) => this.#end(free, failed, error);
  }

  begin(job: Job, slot: WorkerSlot, reply: Promise<unknown>): void {
    this.#job = job;
    this.#slot = slot;
    this.#reply = reply;
    reply.then(this.#onValue, this.#onError);
  }

  #end(free: Run[], settle: Settle, result: unknown): void {
    const job = this.#job as Job;
    const slot = this.#slot as WorkerSlot;
    const reply = this.#reply;
    this.#job = undefined;
    this.#slot = undefined;
    this.#reply = undefined;
    free.push(this);
    settle(job, slot, result, reply);
  }
}
