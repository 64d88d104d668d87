/**
 * What waits: the model's one queue, bounded per operation and as a whole; beside it the suspects of a crash, which have had their place before; and
 * outside of it the jobs that wait for room.
 *
 * Invariants:
 * - The counts of an operation are those of its jobs in the queue and among the suspects. A job is in the queue, a suspect, outside, or none of these.
 *   Nothing waits outside of an operation that has room. `waitingSince` is set exactly while anything waits, and `onWaiting` is called each time it
 *   begins.
 * - Suspects are jobs that a crashed worker held, any of which may have crashed it. A suspect runs alone: its worker holds nothing else until it is
 *   done, so a second crash convicts one job and takes no other along. A loss beside other jobs counts against none of them; one that was alone counts,
 *   and is forgiven `retries` times. A job is a suspect until it is answered, so it is lost beside others at most once.
 */
import { type Clock, LinkedList } from '../../core/index.js';
import type { AnyOperation } from '../../worker/index.js';
import { inputBytes, requireFits } from '../../worker/internal.js';
import type { ModelSettings } from '../model-options.js';
import { Histogram, Ledger, RateEstimate, TIME_BOUNDS } from '../observe/counts.js';
import { type Priority, PriorityQueue, priorities } from '../priority.js';
import type { Job } from './job.js';

/** What a model keeps per operation: how much of it waits inside and outside, which runs may be shared, and its counts. */
export class OperationQueue {
  readonly name: string;
  readonly declaration: AnyOperation;
  /** Makes the key under which identical requests share a run. */
  readonly keyOf: ((input: never) => unknown) | undefined;
  readonly shared: Map<unknown, Job> = new Map();
  readonly ledger: Ledger = new Ledger();
  readonly waitSeconds: Histogram = new Histogram(TIME_BOUNDS);
  readonly serviceSeconds: Histogram = new Histogram(TIME_BOUNDS);
  /** How long the model takes as a rule. */
  readonly service: RateEstimate = new RateEstimate();
  /** Jobs outside, waiting for room in the queue. */
  readonly outside: PriorityQueue<Job>;
  queued = 0;
  queuedBytes = 0;
  running = 0;

  constructor(name: string, declaration: AnyOperation, { coalesce, shares }: ModelSettings) {
    this.name = name;
    this.declaration = declaration;
    this.keyOf = coalesce.get(name);
    this.outside = new PriorityQueue<Job>(shares);
  }

  /** Whether a request of that size may join the queue. */
  hasRoom(bytes: number): boolean {
    const { capacity } = this.declaration;
    return this.queued < capacity.items && this.queuedBytes + bytes <= capacity.bytes;
  }

  /**
   * The size of an input, where the operation limits bytes.
   *
   * @throws When `sizeOf` throws or answers no size, or the input never fits.
   */
  sizeOf(input: unknown): number {
    const bytes = inputBytes(this.name, this.declaration, input);
    requireFits(this.name, this.declaration, bytes);
    return bytes;
  }
}

export class JobQueue {
  readonly #operations: ReadonlyMap<string, OperationQueue>;
  readonly #limit: number;
  readonly #retries: number;
  readonly #queue: PriorityQueue<Job>;
  readonly #suspects: LinkedList<Job> = new LinkedList();
  readonly #clock: Clock;
  readonly #onWaiting: () => void;
  #outside = 0;
  #waitingSince: number | undefined;

  /** @param onWaiting Called when something waits after nothing did. */
  constructor(
    operations: ReadonlyMap<string, OperationQueue>,
    { queueLimit, retries, shares }: ModelSettings,
    clock: Clock,
    onWaiting: () => void,
  ) {
    this.#operations = operations;
    this.#limit = queueLimit;
    this.#retries = retries;
    this.#queue = new PriorityQueue<Job>(shares);
    this.#clock = clock;
    this.#onWaiting = onWaiting;
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

  /** How many jobs wait outside for room. */
  get outside(): number {
    return this.#outside;
  }

  /** Since when something has waited without a break, in ms on the clock; undefined when nothing does. */
  get waitingSince(): number | undefined {
    return this.#waitingSince;
  }

  /** Whether only jobs of the class `'batch'` wait, suspects aside. */
  get isAllBulk(): boolean {
    return this.#queue.sizeOf('batch') === this.#queue.size;
  }

  /** Whether a new request may join, without passing those that wait outside. */
  hasRoom(operation: OperationQueue, bytes: number): boolean {
    return operation.outside.size === 0 && this.size < this.#limit && operation.hasRoom(bytes);
  }

  push(job: Job): void {
    job.become('queued');
    this.#queue.push(job);
    this.#entered(job);
  }

  /** Puts a job at the head of its class, room or not: it has had its place before. */
  pushFront(job: Job): void {
    job.become('queued');
    this.#queue.pushFront(job);
    this.#entered(job);
  }

  /** Lines a job up to run alone in a worker, room or not, behind the suspects that are there: what crashes its worker keeps none of them waiting. */
  pushSuspect(job: Job): void {
    job.become('queued');
    job.isSuspect = true;
    job.isQueued = true;
    this.#suspects.push(job);
    this.#entered(job);
  }

  /** Has a job wait for room. */
  pushOutside(job: Job): void {
    job.operation.outside.push(job);
    this.#outside += 1;
  }

  /**
   * Whether a job that its worker was lost with may run again.
   *
   * @param isAlone Whether the worker held nothing else.
   */
  acquit(job: Job, isAlone: boolean): boolean {
    if (isAlone) job.lostAlone += 1;
    return this.#retries > 0 && job.lostAlone <= this.#retries;
  }

  takeSuspect(): Job | undefined {
    const { first } = this.#suspects;
    if (first !== undefined) this.remove(first);
    return first;
  }

  /** Takes the job whose turn it is, or the newest of its class. */
  take(newest: boolean): Job | undefined {
    return this.#taken(this.#queue.take(newest));
  }

  /** Takes the most urgent job, though it be the turn of a less urgent one, or the newest of its class. */
  takeUrgent(newest: boolean): Job | undefined {
    return this.#taken(this.#queue.takeUrgent(newest));
  }

  /** Takes a job out, in the queue or outside. False when it is in neither. */
  remove(job: Job): boolean {
    if (!job.isQueued) return false;
    if (job.phase === 'waiting') {
      job.operation.outside.remove(job);
      this.#outside -= 1;
    } else {
      if (job.isSuspect) {
        job.isQueued = false;
        this.#suspects.remove(job);
      } else this.#queue.remove(job);
      this.#count(job, -1);
    }
    this.#noteGone();
    return true;
  }

  /** Moves a waiting job up into a more urgent class. */
  promote(job: Job, priority: Priority): void {
    if (!job.isQueued || job.isSuspect || priorities.indexOf(priority) >= priorities.indexOf(job.priority)) return;
    const list = job.phase === 'queued' ? this.#queue : job.operation.outside;
    list.remove(job);
    job.priority = priority;
    list.push(job);
  }

  /** Lets those in who wait outside and now have room, first of the operation that has just given up a place. */
  admitOutside(first: OperationQueue, enter: (job: Job) => void): void {
    if (this.#outside === 0) return;
    this.#admitFrom(first, enter);
    // Only a limit over all operations lets a place of one be taken by another.
    if (this.#outside === 0 || this.#limit === Number.MAX_SAFE_INTEGER) return;
    for (const operation of this.#operations.values()) this.#admitFrom(operation, enter);
  }

  /** Every job that waits: suspects, the queue, outside. */
  jobs(): Job[] {
    return [...this.#suspects.toArray(), ...this.#queue.toArray(), ...this.jobsOutside()];
  }

  jobsOutside(): Job[] {
    return [...this.#operations.values()].flatMap((operation) => operation.outside.toArray());
  }

  #admitFrom(operation: OperationQueue, enter: (job: Job) => void): void {
    for (;;) {
      const next = operation.outside.peek();
      if (next === undefined || this.size >= this.#limit || !operation.hasRoom(next.bytes)) return;
      operation.outside.take();
      this.#outside -= 1;
      enter(next);
      this.#noteGone();
    }
  }

  #taken(job: Job | undefined): Job | undefined {
    if (job !== undefined) this.#count(job, -1);
    this.#noteGone();
    return job;
  }

  #entered(job: Job): void {
    this.#count(job, 1);
    if (this.#waitingSince !== undefined) return;
    this.#waitingSince = this.#clock.now();
    this.#onWaiting();
  }

  #noteGone(): void {
    if (this.size === 0 && this.#outside === 0) this.#waitingSince = undefined;
  }

  #count({ operation, bytes }: Job, difference: 1 | -1): void {
    operation.queued += difference;
    operation.queuedBytes += difference * bytes;
  }
}
