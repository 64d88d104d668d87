import { inspect } from 'node:util';
import { mpsc, select, sleep, withEnd } from '../channels/index.js';
import {
  type AbortListener,
  addAbortListener,
  type Clock,
  type Filled,
  fillOptions,
  option,
  type OptionTable,
  removeAbortListener,
  requireClock,
  required,
  requireFunction,
  requireMilliseconds,
  requireOptions,
  requirePositiveInteger,
  requireWorkingSignal,
  systemClock,
} from '../core/index.js';
import { BatchContractError, BatcherClosedError } from './errors.js';
import { inNeutralContext } from './trace.js';

/** What a batch is run with beside its items. */
export interface BatchContext {
  /** Aborts when every item of the batch was given up, or the batcher was destroyed. */
  readonly signal: AbortSignal;
}

/** Options of {@link createBatcher}. */
export interface BatcherOptions<Item, Result> {
  /** How many items a batch holds at most. 16 by default. */
  readonly maxBatch?: number | undefined;
  /** How long the first item of a batch may wait for others, from when it was added, in ms. 0 by default: what is there goes, a free model never waits. */
  readonly maxDelayMs?: number | undefined;
  /** Runs a batch and answers with one result per item, in order. When it throws, halves of the batch are run again, to find the guilty items. */
  readonly run: (items: Item[], context: BatchContext) => Promise<readonly Result[]> | readonly Result[];
  /** The time source. The system's by default. */
  readonly clock?: Clock | undefined;
}

const BATCHER_OPTIONS = {
  maxBatch: option(requirePositiveInteger, 16),
  maxDelayMs: option(requireMilliseconds, 0),
  run: required(requireFunction<BatcherOptions<unknown, unknown>['run']>),
  clock: option(requireClock, systemClock),
} satisfies OptionTable<BatcherOptions<unknown, unknown>>;

/** Options of {@link Batcher.add}. */
export interface BatchAddOptions {
  /** Gives the item up: its promise rejects at once with `signal.reason`, and an item that still waits leaves its batch. */
  readonly signal?: AbortSignal | undefined;
}

/** Gathers single items into batches. Made by {@link createBatcher}. */
export interface Batcher<Item, Result> extends AsyncDisposable {
  /**
   * Adds an item to the next batch.
   *
   * **Cancel safety:** the item goes with the call: given up while it waits, it is never run; while its batch runs, its result is dropped.
   *
   * @returns The item's own result.
   * @throws What `run` threw for this item, `signal.reason`, or `BatcherClosedError`.
   */
  add(item: Item, options?: BatchAddOptions): Promise<Result>;
  /** How many items wait for a batch. */
  readonly waiting: number;
  /** How many items are in the batch that runs. */
  readonly running: number;
  /** Takes no more items, and resolves when those that were added have been answered. */
  close(): Promise<void>;
  /** Answers every item now with `BatcherClosedError` (`cause` is the reason), and resolves when the running batch has ended. */
  destroy(reason?: unknown): Promise<void>;
}

/**
 * Gathers single items, from any operation, into batches for something that works best on many at once.
 *
 * One batch runs at a time, and what arrives meanwhile makes up the next. A batch that throws is bisected: only the items that fail on their
 * own fail, after at most `1 + 2·k·⌈log2 n⌉` runs for k bad items of n.
 *
 * @param options See {@link BatcherOptions}.
 * @returns The batcher.
 * @throws TypeError, RangeError When an option is of the wrong type, out of range or unknown.
 * @example
 * ```ts
 * const sizes: number[] = [];
 * const batcher = createBatcher<number, number>({
 *   maxBatch: 4,
 *   run: async (items) => {
 *     sizes.push(items.length);
 *     return items.map((n) => n * n);
 *   },
 * });
 * await Promise.all([1, 2, 3, 4, 5].map((n) => batcher.add(n))); // => [1, 4, 9, 16, 25]
 * sizes; // => [4, 1]
 * await batcher.close();
 * ```
 */
export function createBatcher<Item, Result>(options: BatcherOptions<Item, Result>): Batcher<Item, Result> {
  const settings = fillOptions('Cannot create batcher', options, BATCHER_OPTIONS);
  return new QueueBatcher(settings as Filled<BatcherOptions<Item, Result>>);
}

class QueueBatcher<Item, Result> implements Batcher<Item, Result> {
  readonly #options: Filled<BatcherOptions<Item, Result>>;
  readonly #sender: mpsc.UnboundedSender<BatchEntry<Item, Result>>;
  readonly #receiver: mpsc.Receiver<BatchEntry<Item, Result>>;
  readonly #pending: Set<BatchEntry<Item, Result>> = new Set();
  readonly #ended: Promise<void>;
  #running = 0;
  #isClosed = false;
  #controller: AbortController | undefined;

  constructor(options: Filled<BatcherOptions<Item, Result>>) {
    this.#options = options;
    [this.#sender, this.#receiver] = mpsc.unboundedChannel<BatchEntry<Item, Result>>();
    this.#ended = inNeutralContext(() => this.#loop());
  }

  get waiting(): number {
    return this.#pending.size - this.#running;
  }

  get running(): number {
    return this.#running;
  }

  async add(item: Item, options?: BatchAddOptions): Promise<Result> {
    const { signal } = requireOptions<BatchAddOptions>('Cannot add to batch', options, ['signal']);
    if (signal !== undefined && requireWorkingSignal('Cannot add to batch', signal).aborted) throw signal.reason;
    if (this.#isClosed) throw new BatcherClosedError('Cannot add to batch: the batcher is closed');
    const entry = new BatchEntry<Item, Result>(item, signal, (settled) => this.#onSettled(settled));
    const { maxDelayMs, clock } = this.#options;
    if (maxDelayMs > 0) entry.addedAt = clock.now();
    this.#pending.add(entry);
    this.#sender.send(entry);
    return entry.promise;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#sender.close();
    await this.#ended;
  }

  async destroy(reason?: unknown): Promise<void> {
    const details = reason === undefined ? undefined : { cause: reason };
    const error = new BatcherClosedError('Cannot answer: the batcher was destroyed', details);
    for (const entry of [...this.#pending]) entry.giveUp(error);
    await this.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  [inspect.custom](): string {
    return `Batcher { waiting: ${this.waiting}, running: ${this.#running}, isClosed: ${this.#isClosed} }`;
  }

  #onSettled(entry: BatchEntry<Item, Result>): void {
    this.#pending.delete(entry);
    if (!entry.isRunning) return;
    this.#running--;
    if (this.#running === 0 && entry.wasGivenUp) this.#controller?.abort(entry.giveUpReason);
  }

  async #loop(): Promise<void> {
    // No entry is held here while the next batch is waited for: it would keep its caller's result and async context.
    while (await this.#runNext());
  }

  /** Gathers and runs one batch. False once closed and empty. */
  async #runNext(): Promise<boolean> {
    const gathered = await this.#gather();
    if (gathered === undefined) return false;
    // Some may have been given up since, also on the way from there to here.
    const batch = this.#fill(gathered);
    if (batch.length === 0) return true;
    for (const entry of batch) entry.isRunning = true;
    this.#running = batch.length;
    this.#controller = new AbortController();
    const { signal } = this.#controller;
    await runBisected<BatchEntry<Item, Result>, Result>(batch, (entries) =>
      this.#options.run(
        entries.map((entry) => entry.item as Item),
        { signal },
      ),
    );
    this.#controller = undefined;
    return true;
  }

  /** The items of the next batch. Undefined once closed and empty. */
  async #gather(): Promise<BatchEntry<Item, Result>[] | undefined> {
    const { maxBatch, maxDelayMs, clock } = this.#options;
    let batch: BatchEntry<Item, Result>[] = [];
    while (batch.length === 0) {
      const received = await this.#receiver.recvMany(maxBatch);
      if (received.length === 0) return undefined;
      batch = this.#fill(received);
    }
    if (maxDelayMs === 0) return batch;
    // What has waited behind the batch before this one has waited for others, too.
    const leftMs = (batch[0] as BatchEntry<Item, Result>).addedAt + maxDelayMs - clock.now();
    if (leftMs <= 0) return batch;
    // It holds the process, since a caller waits.
    const due = sleep(leftMs, { clock });
    const more = withEnd(this.#receiver);
    try {
      while (batch.length < maxBatch) {
        const event = await select({ more, due }, { biased: true });
        // Closed: no more items come.
        if (event.arm !== 'more' || event.value.done === true) break;
        batch.push(event.value.value);
        if (batch.length === maxBatch) batch = this.#fill(batch);
      }
    } finally {
      due[Symbol.dispose]();
    }
    return batch;
  }

  /** A batch without what was given up, and with what waits in its place. */
  #fill(batch: readonly BatchEntry<Item, Result>[]): BatchEntry<Item, Result>[] {
    const wanted = batch.filter((entry) => !entry.isSettled);
    while (wanted.length < this.#options.maxBatch) {
      const next = this.#receiver.tryRecv();
      if (next.state !== 'ok') break;
      if (!next.value.isSettled) wanted.push(next.value);
    }
    return wanted;
  }
}

/** An item of a batch, which is answered once. */
export interface BatchItem<Result> {
  /** Whether it was answered or given up: it is not run, and no answer reaches it. */
  readonly isSettled: boolean;
  succeed(result: Result): void;
  fail(error: unknown): void;
}

/**
 * Runs a batch and answers its items. When `run` throws, halves of the batch are run again, one after the other, down to the items that fail by
 * themselves.
 */
export async function runBisected<Item extends BatchItem<Result>, Result>(
  batch: readonly Item[],
  run: (items: readonly Item[]) => Promise<readonly Result[]> | readonly Result[],
): Promise<void> {
  const wanted = batch.filter((item) => !item.isSettled);
  if (wanted.length === 0) return;
  let results: unknown;
  try {
    results = await run(wanted);
    // A copy: to read what came is a part of the run, and may throw.
    if (Array.isArray(results)) results = Array.from(results);
  } catch (error) {
    if (wanted.length === 1) {
      (wanted[0] as Item).fail(error);
      return;
    }
    const middle = wanted.length >> 1;
    await runBisected(wanted.slice(0, middle), run);
    await runBisected(wanted.slice(middle), run);
    return;
  }
  if (!Array.isArray(results) || results.length !== wanted.length) {
    const received = Array.isArray(results) ? results.length : typeof results;
    const message = `Cannot answer batch: run must return ${wanted.length} results, received ${received}`;
    for (const item of wanted) item.fail(new BatchContractError(message));
    return;
  }
  for (const [index, item] of wanted.entries()) item.succeed(results[index] as Result);
}

/** One item on its way through a batcher. It is settled once; the first to do so wins. */
class BatchEntry<Item, Result> implements AbortListener {
  /** What it brings along; undefined once it is settled, so that nothing large is kept for an entry that still lies in the queue. */
  item: Item | undefined;
  readonly promise: Promise<Result>;
  /** When it was added, in ms on the batcher's clock; 0 where no batch waits for more items. */
  addedAt = 0;
  /** Whether it belongs to the batch that runs. */
  isRunning = false;
  isSettled = false;
  wasGivenUp = false;
  /** Why it was given up, if it was. */
  giveUpReason: unknown = undefined;
  readonly #signal: AbortSignal | undefined;
  readonly #onSettled: (entry: BatchEntry<Item, Result>) => void;
  #resolve!: (result: Result) => void;
  #reject!: (error: unknown) => void;

  constructor(item: Item, signal: AbortSignal | undefined, onSettled: (entry: BatchEntry<Item, Result>) => void) {
    this.item = item;
    this.#signal = signal;
    this.#onSettled = onSettled;
    this.promise = new Promise<Result>((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    if (signal !== undefined) addAbortListener(signal, this);
  }

  onAbort(reason: unknown): void {
    this.giveUp(reason);
  }

  giveUp(reason: unknown): void {
    if (this.isSettled) return;
    this.wasGivenUp = true;
    this.giveUpReason = reason;
    this.#settle();
    this.#reject(reason);
  }

  succeed(result: Result): void {
    if (this.isSettled) return;
    this.#settle();
    this.#resolve(result);
  }

  fail(error: unknown): void {
    if (this.isSettled) return;
    this.#settle();
    this.#reject(error);
  }

  #settle(): void {
    this.isSettled = true;
    this.item = undefined;
    if (this.#signal !== undefined) removeAbortListener(this.#signal, this);
    this.#onSettled(this);
  }
}
