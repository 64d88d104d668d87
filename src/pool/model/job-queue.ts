/**
 * What waits: the model's one queue, bounded per operation and as a whole, beside it the suspects of a crash, which have had their place before, and
 * outside of it those that wait for room.
 *
 * Invariants: the counts of an operation are those of its jobs in the queue and among the suspects; a job is in the queue, a suspect, outside, or
 * none of these; nothing waits outside of an operation that has room. `waitingSince` is set exactly while anything waits, and the owner
 * is told each time it begins.
 */
import type { Clock } from '../../core/index.js';
import type { ModelSettings } from '../model-settings.js';
import { type Priority, PriorityQueue, priorities } from '../priority.js';
import type { Job } from './job.js';
import type { OperationQueue } from './operation-queue.js';
import { Suspects } from './suspects.js';

export class JobQueue {
  readonly #operations: ReadonlyMap<string, OperationQueue>;
  readonly #limit: number;
  readonly #queue: PriorityQueue<Job>;
  readonly #suspects: Suspects<Job>;
  readonly #clock: Clock;
  readonly #onWaiting: () => void;
  #outside = 0;
  #waitingSince: number | undefined;

  /** @param onWaiting Told when something waits after nothing did. */
  constructor(
    operations: ReadonlyMap<string, OperationQueue>,
    settings: ModelSettings,
    clock: Clock,
    onWaiting: () => void,
  ) {
    this.#clock = clock;
    this.#onWaiting = onWaiting;
    this.#operations = operations;
    this.#limit = settings.queueLimit;
    this.#queue = new PriorityQueue<Job>(settings.shares);
    this.#suspects = new Suspects(settings.retries);
  }

  /** How many jobs wait, suspects included. */
  get size(): number {
    return this.#queue.size + this.#suspects.size;
  }

  /** How many of them are no suspects. */
  get ordinary(): number {
    return this.#queue.size;
  }

  get suspects(): number {
    return this.#suspects.size;
  }

  /** Since when something has waited without a break, in ms on the clock; undefined when nothing does. */
  get waitingSince(): number | undefined {
    return this.#waitingSince;
  }

  /** How many jobs wait outside for room. */
  get outside(): number {
    return this.#outside;
  }

  /** Whether a new request may join, without passing those that wait outside. */
  hasRoom(operation: OperationQueue, bytes: number): boolean {
    return operation.outside.size === 0 && this.size < this.#limit && operation.hasRoom(bytes);
  }

  push(job: Job): void {
    this.#count(job, 1);
    this.#queue.push(job);
    this.#noteWaiting();
  }

  /** Puts a job at the head of its class, room or not: it has had its place before. */
  pushFront(job: Job): void {
    this.#count(job, 1);
    this.#queue.pushFront(job);
    this.#noteWaiting();
  }

  /** Whether a job that its worker was lost with may run again; see {@link Suspects.acquit}. */
  acquit(job: Job, isAlone: boolean): boolean {
    return this.#suspects.acquit(job, isAlone);
  }

  /** Lines a job up to run alone in a worker, room or not. */
  pushSuspect(job: Job): void {
    this.#count(job, 1);
    this.#suspects.push(job);
    this.#noteWaiting();
  }

  takeSuspect(): Job | undefined {
    return this.#taken(this.#suspects.take());
  }

  pushOutside(job: Job): void {
    job.operation.outside.push(job);
    this.#outside += 1;
  }

  /** Whether only jobs of the class `'batch'` wait, suspects aside. */
  get isAllBulk(): boolean {
    return this.#queue.sizeOf('batch') === this.#queue.size;
  }

  /** Takes the most urgent job, though it be the turn of a less urgent one, or the newest of its class. */
  takeUrgent(newest: boolean): Job | undefined {
    return this.#taken(this.#queue.takeUrgent(newest));
  }

  /** Takes the job whose turn it is, or the newest of its class. */
  take(newest: boolean): Job | undefined {
    return this.#taken(this.#queue.take(newest));
  }

  /** Takes a job out, in the queue or outside. */
  remove(job: Job): void {
    if (job.state === 'queued') {
      if (!this.#queue.remove(job)) this.#suspects.remove(job);
      this.#count(job, -1);
    } else if (job.state === 'waiting' && job.operation.outside.remove(job)) this.#outside -= 1;
    this.#noteGone();
  }

  /** Moves a waiting job up into a more urgent class. */
  promote(job: Job, priority: Priority): void {
    if (!job.isQueued || priorities.indexOf(priority) >= priorities.indexOf(job.priority)) return;
    const list = job.state === 'queued' ? this.#queue : job.operation.outside;
    list.remove(job);
    job.priority = priority;
    list.push(job);
  }

  /** Lets those in who wait outside and now have room, first of the operation that has just given up a place. */
  admitOutside(first: OperationQueue, accept: (job: Job) => void): void {
    if (this.#outside === 0) return;
    this.#admitFrom(first, accept);
    // Only a limit over all operations lets a place of one be taken by another.
    if (this.#outside === 0 || this.#limit === Number.MAX_SAFE_INTEGER) return;
    for (const operation of this.#operations.values()) this.#admitFrom(operation, accept);
  }

  jobsOutside(): Job[] {
    return [...this.#operations.values()].flatMap((operation) => operation.outside.toArray());
  }

  jobs(): Job[] {
    return [...this.#suspects.toArray(), ...this.#queue.toArray()];
  }

  #admitFrom(operation: OperationQueue, accept: (job: Job) => void): void {
    for (;;) {
      const next = operation.outside.peek();
      if (next === undefined || this.size >= this.#limit || !operation.hasRoom(next.bytes)) return;
      operation.outside.take();
      this.#outside -= 1;
      accept(next);
      this.#noteGone();
    }
  }

  #taken(job: Job | undefined): Job | undefined {
    if (job !== undefined) this.#count(job, -1);
    this.#noteGone();
    return job;
  }

  #noteWaiting(): void {
    if (this.#waitingSince !== undefined) return;
    this.#waitingSince = this.#clock.now();
    this.#onWaiting();
  }

  #noteGone(): void {
    if (this.size === 0 && this.#outside === 0) this.#waitingSince = undefined;
  }

  #count(job: Job, difference: 1 | -1): void {
    job.state = difference === 1 ? 'queued' : 'over';
    job.operation.queued += difference;
    job.operation.queuedBytes += difference * job.bytes;
  }
}
