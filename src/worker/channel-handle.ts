import { type mpsc, oneshot, select, sleep, TimeoutError } from '../channels/index.js';
import {
  type ClockTimerOptions,
  fillOptions,
  millisecondsOrInfinity,
  type OptionTable,
  option,
  requireString,
  textOf,
  workingSignal,
} from '../core/index.js';
import type { Account } from './account/account.js';
import type { Ping, WorkerHealth, WorkerStats } from './account/ledger.js';
import type { OperationQueue } from './account/operation-queue.js';
import { blameCaller, UnknownOperationError, WorkerClosedError } from './errors.js';
import type { WorkerEvent } from './events.js';
import type { CallOptions, CloseOptions, OperationSender, PingOptions, WorkerHandle } from './handle.js';
import { inputBytes, type InputOf, type Operations, requireFits } from './operation.js';
import { type Outcome, Request, type RequestFields, type RequestListener } from './request.js';
import { isLive, type WorkerStateView } from './state.js';
import { LazyStream, StreamingRequest } from './streaming-request.js';

const CALL_OPTIONS = {
  signal: option(workingSignal),
  timeoutMs: option(millisecondsOrInfinity),
  traceparent: option(requireString),
} satisfies OptionTable<CallOptions>;
const PING_OPTIONS = {
  signal: option(workingSignal),
  timeoutMs: option(millisecondsOrInfinity, 5_000),
} satisfies OptionTable<PingOptions>;
const CLOSE_OPTIONS = { timeoutMs: option(millisecondsOrInfinity, 5_000) } satisfies OptionTable<CloseOptions>;
const NO_OPTIONS: CallOptions = Object.freeze({});

const inspect = Symbol.for('nodejs.util.inspect.custom');

/** How long a loop may take to release its model before the worker counts as dead without it. */
const RELEASE_MS = 5_000;
/** A caller that waits for a worker's end or answer gets it, even when nothing else is going on. */
const HOLDING: ClockTimerOptions = { ref: true };

/** The handle over a worker's channels: the same for every host. */
export class ChannelHandle<Ops extends Operations> implements WorkerHandle<Ops> {
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
      const given: CallOptions =
        options === undefined ? NO_OPTIONS : fillOptions(`Cannot call ${operation}`, options, CALL_OPTIONS);
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
      if (declaration.kind === 'unary') return Promise.reject(error);
      return new LazyStream(() => {
        throw error;
      });
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
    const { signal, timeoutMs } = fillOptions(action, options, PING_OPTIONS);
    if (signal?.aborted) throw signal.reason;
    const { clock, ended, state } = this.#account;
    const [reply, answer] = oneshot.channel<WorkerHealth>();
    const timer = sleep(timeoutMs, { clock, ...HOLDING });
    const gaveUp = new AbortController();
    try {
      // Where the loop has no room for another question, it waits for that.
      if (!ended.isCancelled) this.#pings.send({ reply }, { signal: gaveUp.signal }).catch(() => reply.close());
      const arms = { ended, health: answer, timer };
      const event = await select(arms, { biased: true, ...(signal === undefined ? {} : { signal }) });
      if (event.arm === 'health') return event.value;
      if (event.arm === 'timer') throw new TimeoutError(`${action}: expected an answer within ${timeoutMs} ms`);
      throw new WorkerClosedError(`${action}: it has ended`, { cause: state.borrow().cause });
    } finally {
      timer[Symbol.dispose]();
      gaveUp.abort();
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
    const { timeoutMs } = fillOptions('Cannot close worker', options, CLOSE_OPTIONS);
    this.#ending ??= this.#close(timeoutMs);
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

  /**
   * Shows state and counts, never inputs.
   *
   * @internal
   */
  [inspect](): string {
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
