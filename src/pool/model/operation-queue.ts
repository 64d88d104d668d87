import { type AnyOperation, inputBytes, requireFits } from '../../worker/index.js';
import { Histogram, TIME_BOUNDS } from '../observe/histogram.js';
import { Ledger } from '../observe/ledger.js';
import { PriorityQueue, type PriorityShares } from '../priority.js';
import type { Job } from './job.js';
import { RateEstimate } from './rate.js';

/** What a model keeps per operation: how much of it waits, who waits outside for room, and its counts. */
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

  constructor(
    name: string,
    declaration: AnyOperation,
    keyOf: ((input: never) => unknown) | undefined,
    shares: PriorityShares,
  ) {
    this.name = name;
    this.declaration = declaration;
    this.keyOf = keyOf;
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
