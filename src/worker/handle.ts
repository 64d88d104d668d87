import type { WaitOptions } from '../channels/index.js';
import type { WorkerHealth, WorkerStats } from './account/ledger.js';
import type { WorkerEvent } from './events.js';
import type { CallArguments, OperationName, Operations, OutputOf, StreamOperation } from './operation.js';
import type { WorkerStateView } from './state.js';
import type { ReplyStream } from './streaming-request.js';

/** Options of a call. */
export interface CallOptions {
  /** Gives the call up: its promise rejects at once with `signal.reason`, and the model's `signal` aborts. */
  readonly signal?: AbortSignal | undefined;
  /** How long the answer may take, from the call on, waiting for room included, in ms. No limit by default. */
  readonly timeoutMs?: number | undefined;
  /** The caller's W3C `traceparent`, handed to the model in any host. */
  readonly traceparent?: string | undefined;
}

/** Options of {@link WorkerHandle.ping}. */
export interface PingOptions extends WaitOptions {
  /** How long the answer may take, in ms. 5,000 by default. */
  readonly timeoutMs?: number | undefined;
}

/** Options of {@link WorkerHandle.close}. */
export interface CloseOptions {
  /** How long accepted requests may take to finish, in ms; what is left then is answered with `WorkerClosedError`. 5,000 by default. */
  readonly timeoutMs?: number | undefined;
}

/** What a call of an operation returns: a promise of the output, or the stream of chunks. */
export type ReplyOf<O> = O extends StreamOperation<never, unknown> ? ReplyStream<OutputOf<O>> : Promise<OutputOf<O>>;

/** One operation of a worker, seen by a caller. */
export interface OperationSender<O> {
  /** The operation's name. */
  readonly operation: string;
  // Functions and not methods: a sender of some inputs is none of more.
  /** The same as {@link WorkerHandle.call} with the operation fixed. */
  readonly call: (...args: CallArguments<O, CallOptions>) => ReplyOf<O>;
  /** The same as {@link WorkerHandle.tryCall} with the operation fixed. */
  readonly tryCall: (...args: CallArguments<O, CallOptions>) => ReplyOf<O>;
  /** How many requests the queue has room for now; 0 once the worker takes none. */
  readonly capacity: number;
  /** How many requests the queue holds at most. */
  readonly maxCapacity: number;
  /** How many requests are in the queue. */
  readonly len: number;
}

/** The caller's end of a worker, the same for every host. */
export interface WorkerHandle<Ops extends Operations> extends AsyncDisposable {
  /** The worker's name, in events and reports. */
  readonly id: string;
  /** What it can do. */
  readonly operations: Ops;
  /** One sender per operation. */
  readonly senders: { readonly [K in OperationName<Ops>]: OperationSender<Ops[K]> };
  /** Its state, published with the time of entry. */
  readonly state: WorkerStateView;
  /**
   * Calls an operation. When its queue is full, the call waits for room, in order of arrival.
   *
   * It never throws: every failure comes through the promise, or through the stream's first `next()`.
   *
   * **Cancel safety:** the message goes with the call. An abort or the deadline answers it at once; a request that is still in the queue is
   * then never run, one that is inside the model sees its `signal` abort and its result is dropped.
   *
   * @param operation Which operation.
   * @param args Its input, which an operation without one may leave out, and options: see {@link CallOptions}.
   * @returns A promise of the output; for a stream operation an async iterator of its chunks.
   * @throws DeadlineExceededError When there is no answer within `timeoutMs`.
   * @throws WorkerClosedError When the worker takes no more calls, or ended before it could answer.
   * @throws WorkerCrashedError When the worker ended while it ran the request, which can't be run again.
   * @throws WorkerLoadError When the worker could not load its model.
   * @throws UnknownOperationError When there is no such operation.
   * @throws RangeError When the input is larger than all that the operation's queue may hold.
   * @example
   * ```ts
   * const operations = { add: operation<[number, number], number>(), count: operation.stream<number, number>() };
   * const { handle, channels } = createWorkerChannels(operations);
   * runWorker({
   *   add: ([one, other]) => one + other,
   *   async *count(to) {
   *     for (let n = 1; n <= to; n++) yield n;
   *   },
   * }, channels);
   * await handle.call('add', [1, 2], { timeoutMs: 1_000 }); // => 3
   * const chunks: number[] = [];
   * for await (const chunk of handle.call('count', 3)) chunks.push(chunk);
   * chunks; // => [1, 2, 3]
   * await handle.close();
   * ```
   */
  call<K extends keyof Ops & string>(operation: K, ...args: CallArguments<Ops[K], CallOptions>): ReplyOf<Ops[K]>;
  /**
   * Calls an operation, or fails at once when its queue has no room. Otherwise the same as {@link WorkerHandle.call}.
   *
   * **Cancel safety:** the message goes with the call.
   *
   * @throws WorkerFullError When the queue has no room, or others wait for it already.
   */
  tryCall<K extends keyof Ops & string>(operation: K, ...args: CallArguments<Ops[K], CallOptions>): ReplyOf<Ops[K]>;
  /** Counts and latencies as the handle sees them. */
  stats(): WorkerStats;
  /**
   * Whether the worker's process has given no sign of life for a second: it is stopped (`SIGSTOP`), or its machine is too busy to run it. It is then
   * watched, and killed when it stays silent. Always false in the other hosts, which live and stop with this process.
   */
  isSilent(): boolean;
  /**
   * Asks the loop beside the model how it is.
   *
   * A loop in another thread or process that is inside a long call can't answer; after a second, while its host shows signs of life, the
   * handle answers for it with what it knows: `runningMs` says since when the call runs.
   *
   * **Cancel safety:** cancel safe.
   *
   * @param options `signal` and `timeoutMs`, 5,000 by default.
   * @returns What the loop says of itself and of the model.
   * @throws WorkerClosedError When the worker has ended.
   * @throws TimeoutError When there is no answer in time.
   */
  ping(options?: PingOptions): Promise<WorkerHealth>;
  /**
   * What happens in the worker's life from now on. Ends with the worker.
   *
   * A slow reader loses the oldest of more than 256 events. Events carry no inputs and no outputs.
   *
   * **Cancel safety:** cancel safe; `return()` lets go of it.
   */
  events(): AsyncIterableIterator<WorkerEvent, void, void>;
  /**
   * Takes no more calls, and resolves when every call made so far has its answer. The model stays loaded.
   *
   * **Cancel safety:** takes no signal; once begun it can't be taken back.
   */
  drain(): Promise<void>;
  /**
   * Drains for at most `timeoutMs`, then releases the model, and resolves when the worker is dead.
   *
   * A loop that does not end within five seconds more, because a call hangs in its model, is given up: the worker is dead without it.
   *
   * **Cancel safety:** takes no signal; once begun it can't be taken back, only hastened by {@link WorkerHandle.destroy}.
   */
  close(options?: CloseOptions): Promise<void>;
  /**
   * Answers every call now with `WorkerClosedError`, releases the model, and resolves when the worker is dead.
   *
   * **Cancel safety:** takes no signal; once begun it can't be taken back.
   *
   * @param reason The `cause` of the errors that calls are answered with.
   */
  destroy(reason?: unknown): Promise<void>;
  /** The same as `close()`. */
  [Symbol.asyncDispose](): Promise<void>;
}
