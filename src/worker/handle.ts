import { inspect } from 'node:util';
import { type mpsc, oneshot, TimeoutError, type WaitOptions } from '../channels/index.js';
import {
  type AbortListener,
  addAbortListener,
  type ClockTimerOptions,
  removeAbortListener,
  requireMilliseconds,
  requireOptions,
  requireString,
  requireWorkingSignal,
  textOf,
} from '../core/index.js';
import type { Account } from './account/account.js';
import type { Ping, WorkerHealth, WorkerStats } from './account/ledger.js';
import type { OperationQueue } from './account/operation-queue.js';
import { blameCaller, UnknownOperationError, WorkerClosedError } from './errors.js';
import type { WorkerEvent } from './events.js';
import {
  type CallArguments,
  inputBytes,
  type InputOf,
  type OperationName,
  type Operations,
  type OutputOf,
  requireFits,
  type StreamOperation,
} from './operation.js';
import { type Outcome, Request, type RequestFields, type RequestListener } from './request.js';
import { isLive, type WorkerStateView } from './state.js';
import { type ReplyStream, StreamingRequest } from './streaming-request.js';

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

const CLOSE_MS = 5_000;
const PING_MS = 5_000;
/** How long a loop may take to release its model before the worker counts as dead without it. */
const RELEASE_MS = 5_000;
/** A caller that waits for a worker's end or answer gets it, even when nothing else is going on. */
const HOLDING: ClockTimerOptions = { ref: true };

/** The handle over a worker's channels: the same for every host. */
export function createHandle<Ops extends Operations>(
  account: Account,
  operations: Ops,
  pings: mpsc.Sender<Ping>,
): WorkerHandle<Ops> {
  return new ChannelHandle(account, operations, pings);
}

class ChannelHandle<Ops extends Operations> implements WorkerHandle<Ops> {
  readonly id: string;
  readonly operations: Ops;
  readonly senders: WorkerHandle<Ops>['senders'];
  readonly #account: Account;
  readonly #pings: mpsc.Sender<Ping>;
  #ending: Promise<void> | undefined;

  constructor(account: Account, operations: Ops, pings: mpsc.Sender<Ping>) {
    this.#account = account;
    this.#pings = pings;
    this.id = account.id;
    this.operations = operations;
    this.senders = Object.freeze(
      Object.fromEntries([...account.queues].map(([name, queue]) => [name, new QueueSender(this, account, queue)])),
    ) as unknown as WorkerHandle<Ops>['senders'];
  }

  get state(): WorkerStateView {
    return this.#account.state;
  }

  // The reply's type depends on the operation's kind, which the compiler can't follow into the body.
  call(operation: string, input?: unknown, options?: CallOptions): never {
    return this.#submit(operation, input, options, true) as never;
  }

  tryCall(operation: string, input?: unknown, options?: CallOptions): never {
    return this.#submit(operation, input, options, false) as never;
  }

  /** Hands over a request that was admitted elsewhere: nothing of it is checked again. */
  start(request: Request): void {
    const account = this.#account;
    if (account.isAccepting) {
      account.accept(request);
    } else {
      const error = account.refusal(request.operation);
      if (request.isWantedBack(error)) request.goBack(error);
      else request.giveUp('failed', error);
    }
  }

  /** Where a call enters: all that can be wrong with it is found here. */
  #submit(operation: string, input: unknown, options: CallOptions | undefined, mayWait: boolean): unknown {
    const account = this.#account;
    const queue = account.queues.get(operation);
    if (queue === undefined) {
      const name = textOf(operation);
      const message = `Cannot call ${name}: operation must be one of ${[...account.queues.keys()].join(', ')}, received '${name}'`;
      return Promise.reject(new UnknownOperationError(message, name));
    }
    const declaration = queue.operation;
    let signal: AbortSignal | undefined;
    let fields: RequestFields;
    try {
      const given: CallOptions = options === undefined ? NO_OPTIONS : requireCallOptions(operation, options);
      ({ signal } = given);
      // Measuring runs code of the caller's, which may abort the call or end the worker.
      const bytes = inputBytes(operation, declaration, input);
      if (!account.isAccepting) throw account.refusal(operation);
      if (signal?.aborted) throw signal.reason;
      requireFits(operation, declaration, bytes);
      if (!mayWait) account.requireRoom(queue, bytes);
      const { clock } = account;
      const { timeoutMs, traceparent } = given;
      fields = {
        operation,
        declaration,
        input,
        bytes,
        clock,
        calledAt: clock.now(),
        signal,
        timeoutMs,
        traceparent,
      };
    } catch (error) {
      account.noteRefused();
      // The reason of an abort is whatever the caller says it is.
      if (signal?.aborted !== true) blameCaller(error);
      return declaration.kind === 'unary' ? Promise.reject(error) : new RefusedStream(error);
    }
    if (declaration.kind === 'unary') {
      const reply = new PromisedReply();
      account.accept(new Request(fields, reply));
      return reply.promise;
    }
    const request = new StreamingRequest(fields);
    account.accept(request);
    return request.stream;
  }

  stats(): WorkerStats {
    return this.#account.stats();
  }

  isSilent(): boolean {
    return this.#account.isSilent();
  }

  async ping(options?: PingOptions): Promise<WorkerHealth> {
    const action = 'Cannot ping worker';
    const { signal, timeoutMs = PING_MS } = requireOptions<PingOptions>(action, options, ['signal', 'timeoutMs']);
    const ms = requireMilliseconds(action, 'timeoutMs', timeoutMs, { infinite: true });
    if (signal !== undefined && requireWorkingSignal(action, signal).aborted) throw signal.reason;
    const { clock, ended, state } = this.#account;
    const hasEnded = (): Error => new WorkerClosedError(`${action}: it has ended`, { cause: state.borrow().cause });
    if (ended.isCancelled) throw hasEnded();
    const limit = new AbortController();
    const onAbort: AbortListener = { onAbort: (reason) => limit.abort(reason) };
    const onEnd: AbortListener = { onAbort: () => limit.abort(hasEnded()) };
    if (signal !== undefined) addAbortListener(signal, onAbort);
    addAbortListener(ended.signal, onEnd);
    const late = (): Error => new TimeoutError(`${action}: expected an answer within ${ms} ms`);
    const timer = Number.isFinite(ms) ? clock.setTimer(() => limit.abort(late()), ms, HOLDING) : undefined;
    try {
      return await this.#ask(limit.signal);
    } finally {
      timer?.cancel();
      if (signal !== undefined) removeAbortListener(signal, onAbort);
      removeAbortListener(ended.signal, onEnd);
    }
  }

  async #ask(signal: AbortSignal): Promise<WorkerHealth> {
    const [reply, answer] = oneshot.channel<WorkerHealth>();
    try {
      await this.#pings.send({ reply }, { signal });
      return await answer.recv({ signal });
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      throw new WorkerClosedError('Cannot ping worker: it has ended', { cause: error });
    } finally {
      answer.close();
    }
  }

  events(): AsyncIterableIterator<WorkerEvent, void, void> {
    return this.#account.hub.events();
  }

  drain(): Promise<void> {
    this.#account.stopAccepting();
    return this.#account.quiet();
  }

  close(options?: CloseOptions): Promise<void> {
    const action = 'Cannot close worker';
    const given = requireOptions<CloseOptions>(action, options, ['timeoutMs']);
    const ms =
      given.timeoutMs === undefined
        ? CLOSE_MS
        : requireMilliseconds(action, 'timeoutMs', given.timeoutMs, { infinite: true });
    this.#ending ??= this.#close(ms);
    return this.#ending;
  }

  async #close(ms: number): Promise<void> {
    const account = this.#account;
    account.stopAccepting();
    if (account.isOver) {
      if (account.state.current === 'failed') account.state.enter('dead', account.state.borrow().cause);
      return;
    }
    if (isLive(account.state.current)) account.state.enter('evicting');
    if (account.hasPending) {
      const timer = Number.isFinite(ms)
        ? account.clock.setTimer(
            () => {
              const message = `Cannot answer: the worker was closed, and the request did not finish within ${ms} ms`;
              account.loseAll(new WorkerClosedError(message));
              account.kill.cancel();
            },
            ms,
            HOLDING,
          )
        : undefined;
      await account.quiet();
      timer?.cancel();
    }
    await this.#release();
  }

  async destroy(reason?: unknown): Promise<void> {
    const account = this.#account;
    account.stopAccepting();
    const wasLive = isLive(account.state.current);
    if (wasLive) account.state.enter('evicting');
    account.loseAll(
      new WorkerClosedError(
        'Cannot answer: the worker was destroyed',
        reason === undefined ? undefined : { cause: reason },
      ),
    );
    account.kill.cancel();
    this.#ending ??= account.isOver ? this.#close(0) : this.#release();
    await this.#ending;
  }

  /** Lets the loop end, and goes on without it when it does not. */
  async #release(): Promise<void> {
    const account = this.#account;
    account.shutdown.cancel();
    if (account.isOver) return;
    if (!account.isAttached) {
      account.finish();
      return;
    }
    const timer = account.clock.setTimer(() => account.finish(), RELEASE_MS, HOLDING);
    await account.ended.cancelled();
    timer.cancel();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Shows state and counts, never inputs. */
  [inspect.custom](): string {
    const { accepted, pending, waiting } = this.#account.stats();
    return `WorkerHandle { id: '${this.id}', state: '${this.#account.state.current}', accepted: ${accepted}, pending: ${pending}, waiting: ${waiting} }`;
  }
}

/** What a sender needs of its handle. */
interface Caller {
  call(operation: string, input: unknown, options?: CallOptions): never;
  tryCall(operation: string, input: unknown, options?: CallOptions): never;
}

class QueueSender implements OperationSender<never> {
  readonly operation: string;
  readonly #handle: Caller;
  readonly #account: Account;
  readonly #queue: OperationQueue;

  constructor(handle: Caller, account: Account, queue: OperationQueue) {
    this.operation = queue.name;
    this.#handle = handle;
    this.#account = account;
    this.#queue = queue;
  }

  call(input: InputOf<never>, options?: CallOptions): never {
    return this.#handle.call(this.operation, input, options);
  }

  tryCall(input: InputOf<never>, options?: CallOptions): never {
    return this.#handle.tryCall(this.operation, input, options);
  }

  get capacity(): number {
    const queue = this.#queue;
    if (!this.#account.isAccepting || queue.waiting.first !== undefined || !queue.hasRoom(1)) return 0;
    return queue.maxItems - queue.used;
  }

  get maxCapacity(): number {
    return this.#queue.maxItems;
  }

  get len(): number {
    return this.#queue.used;
  }
}

const NO_OPTIONS: CallOptions = Object.freeze({});

/** The promise of a call's answer. */
class PromisedReply implements RequestListener {
  readonly promise: Promise<unknown>;
  #resolve!: (value: unknown) => void;
  #reject!: (error: unknown) => void;

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  onAnswered(_request: Request, outcome: Outcome, result: unknown): void {
    if (outcome === 'succeeded') this.#resolve(result);
    else this.#reject(result);
  }
}

/** The stream of a call that was refused: it fails when it is first read, and is over then. */
class RefusedStream implements ReplyStream<never> {
  #failure: { readonly error: unknown } | undefined;

  constructor(error: unknown) {
    this.#failure = { error };
  }

  async next(): Promise<IteratorResult<never, void>> {
    const failure = this.#failure;
    this.#failure = undefined;
    if (failure !== undefined) throw failure.error;
    return { done: true, value: undefined };
  }

  async return(): Promise<IteratorResult<never, void>> {
    this.#failure = undefined;
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }
}

const CALL_OPTIONS: readonly (keyof CallOptions)[] = ['signal', 'timeoutMs', 'traceparent'];

/** Checks the options of a call. Each is read once: what the caller does with the object afterwards does not matter. */
function requireCallOptions(operation: string, options: CallOptions): CallOptions {
  const isKnown = hasKnownOptions(options);
  const { signal, timeoutMs, traceparent } = isKnown ? options : requireKnownOptions(operation, options);
  const isPlain = signal === undefined && traceparent === undefined && typeof timeoutMs === 'number' && timeoutMs >= 0;
  if (!isPlain) {
    const action = `Cannot call ${operation}`;
    if (signal !== undefined) requireWorkingSignal(action, signal);
    if (timeoutMs !== undefined) requireMilliseconds(action, 'timeoutMs', timeoutMs, { infinite: true });
    if (traceparent !== undefined) requireString(action, 'traceparent', traceparent);
  }
  return { signal, timeoutMs, traceparent };
}

function requireKnownOptions(operation: string, options: CallOptions): CallOptions {
  return requireOptions<CallOptions>(`Cannot call ${operation}`, options, CALL_OPTIONS);
}

/** The check that most calls pass, without building a list of keys. */
function hasKnownOptions(options: CallOptions): boolean {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) return false;
  for (const key in options) if (key !== 'timeoutMs' && key !== 'signal' && key !== 'traceparent') return false;
  return true;
}
