import { inspect } from 'node:util';
import { type mpsc, oneshot, TimeoutError } from '../channels/index.js';
import {
  type AbortListener,
  addAbortListener,
  type ClockTimerOptions,
  removeAbortListener,
  requireMilliseconds,
  requireOptions,
  requireWorkingSignal,
  textOf,
} from '../core/index.js';
import { requireCallOptions } from './call-options.js';
import type {
  CallOptions,
  CloseOptions,
  OperationSender,
  PingOptions,
  WorkerHandle,
  WorkerStateView,
} from './handle.js';
import type { InputOf, Operations } from './operation.js';
import type { OperationQueue } from './operation-queue.js';
import type { PendingStream } from './pending-stream.js';
import type { PendingUnary } from './pending-unary.js';
import { blameCaller, noteUnreached } from './reached.js';
import { RefusedStream } from './refused-stream.js';
import type { Ping } from './worker-channels.js';
import type { WorkerCore } from './worker-core.js';
import { UnknownOperationError, WorkerClosedError } from './worker-errors.js';
import type { WorkerEvent } from './worker-events.js';
import type { WorkerHealth } from './worker-health.js';
import { isLive } from './worker-state.js';
import type { WorkerStats } from './worker-stats.js';

const CLOSE_MS = 5_000;
const PING_MS = 5_000;
/** How long a loop may take to release its model before the worker counts as dead without it. */
const RELEASE_MS = 5_000;
/** Whoever waits for the end of a worker or its answer gets it, even when nothing else is going on. */
const HOLDING: ClockTimerOptions = { ref: true };

/** The handle over a worker's channels. The same for every host: a host differs in what runs at the other end. */
export function createHandle<Ops extends Operations>(
  core: WorkerCore,
  operations: Ops,
  pings: mpsc.Sender<Ping>,
): WorkerHandle<Ops> {
  return new ChannelHandle(core, operations, pings);
}

class ChannelHandle<Ops extends Operations> implements WorkerHandle<Ops> {
  readonly id: string;
  readonly operations: Ops;
  readonly senders: WorkerHandle<Ops>['senders'];
  readonly #core: WorkerCore;
  readonly #pings: mpsc.Sender<Ping>;
  #ending: Promise<void> | undefined;

  constructor(core: WorkerCore, operations: Ops, pings: mpsc.Sender<Ping>) {
    this.#core = core;
    this.#pings = pings;
    this.id = core.id;
    this.operations = operations;
    this.senders = Object.freeze(
      Object.fromEntries([...core.queues].map(([name, queue]) => [name, new QueueSender(this, core, queue)])),
    ) as unknown as WorkerHandle<Ops>['senders'];
  }

  get state(): WorkerStateView {
    return this.#core.state;
  }

  // The reply's type depends on the operation's kind, which the compiler can't follow into the body.
  call(operation: string, input?: unknown, options?: CallOptions): never {
    return this.#submit(operation, input, options, true) as never;
  }

  tryCall(operation: string, input?: unknown, options?: CallOptions): never {
    return this.#submit(operation, input, options, false) as never;
  }

  #submit(operation: string, input: unknown, options: CallOptions | undefined, mayWait: boolean): unknown {
    const queue = this.#core.queues.get(operation);
    if (queue === undefined) {
      const known = [...this.#core.queues.keys()].join(', ');
      const name = textOf(operation);
      const message = `Cannot call ${name}: operation must be one of ${known}, received '${name}'`;
      return noteUnreached(Promise.reject(new UnknownOperationError(message, name)));
    }
    let given: CallOptions | undefined;
    try {
      given = options === undefined ? undefined : requireCallOptions(operation, options);
      const request = this.#core.submit(queue, input, given, mayWait);
      return queue.operation.kind === 'unary' ? (request as PendingUnary).promise : (request as PendingStream).stream;
    } catch (error) {
      // The reason of an abort is whatever the caller says it is.
      if (given?.signal?.aborted !== true) blameCaller(error);
      return noteUnreached(queue.operation.kind === 'unary' ? Promise.reject(error) : new RefusedStream(error));
    }
  }

  stats(): WorkerStats {
    return this.#core.stats();
  }

  isSilent(): boolean {
    return this.#core.isSilent();
  }

  released(): Promise<void> {
    return this.#core.released();
  }

  async ping(options?: PingOptions): Promise<WorkerHealth> {
    const action = 'Cannot ping worker';
    const { signal, timeoutMs = PING_MS } = requireOptions<PingOptions>(action, options, ['signal', 'timeoutMs']);
    const ms = requireMilliseconds(action, 'timeoutMs', timeoutMs, { infinite: true });
    if (signal !== undefined && requireWorkingSignal(action, signal).aborted) throw signal.reason;
    const { clock, ended, state } = this.#core;
    const hasEnded = (): Error => new WorkerClosedError(`${action}: it has ended`, { cause: state.borrow().cause });
    if (ended.isCancelled) throw hasEnded();
    const limit = new AbortController();
    const onAbort: AbortListener = { onAbort: (reason) => limit.abort(reason) };
    // Nobody is left to answer.
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
      if (signal.aborted) throw error;
      throw new WorkerClosedError('Cannot ping worker: it has ended', { cause: error });
    } finally {
      answer.close();
    }
  }

  events(): AsyncIterableIterator<WorkerEvent, void, void> {
    return this.#core.hub.events();
  }

  drain(): Promise<void> {
    this.#core.stopAccepting();
    return this.#core.quiet();
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
    const core = this.#core;
    core.stopAccepting();
    if (core.isOver) {
      if (core.state.current === 'failed') core.state.enter('dead', core.state.borrow().cause);
      return;
    }
    if (isLive(core.state.current)) core.state.enter('evicting');
    if (core.hasPending) {
      const timer = Number.isFinite(ms)
        ? core.clock.setTimer(
            () => {
              const message = `Cannot answer: the worker was closed, and the request did not finish within ${ms} ms`;
              core.answerAll(new WorkerClosedError(message));
              core.kill.cancel();
            },
            ms,
            HOLDING,
          )
        : undefined;
      await core.quiet();
      timer?.cancel();
    }
    await this.#release();
  }

  async destroy(reason?: unknown): Promise<void> {
    const core = this.#core;
    core.stopAccepting();
    const wasLive = isLive(core.state.current);
    if (wasLive) core.state.enter('evicting');
    core.answerAll(
      new WorkerClosedError(
        'Cannot answer: the worker was destroyed',
        reason === undefined ? undefined : { cause: reason },
      ),
    );
    core.kill.cancel();
    this.#ending ??= core.isOver ? this.#close(0) : this.#release();
    await this.#ending;
  }

  /** Lets the loop end, and goes on without it when it does not. */
  async #release(): Promise<void> {
    const core = this.#core;
    core.shutdown.cancel();
    if (core.isOver) return;
    if (!core.isAttached) {
      core.finish(undefined);
      return;
    }
    const timer = core.clock.setTimer(() => core.finish(undefined), RELEASE_MS, HOLDING);
    await core.over();
    timer.cancel();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Shows state and counts, never inputs. */
  [inspect.custom](): string {
    const { accepted, pending, waiting } = this.#core.stats();
    return `WorkerHandle { id: '${this.id}', state: '${this.#core.state.current}', accepted: ${accepted}, pending: ${pending}, waiting: ${waiting} }`;
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
  readonly #core: WorkerCore;
  readonly #queue: OperationQueue;

  constructor(handle: Caller, core: WorkerCore, queue: OperationQueue) {
    this.operation = queue.name;
    this.#handle = handle;
    this.#core = core;
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
    if (!this.#core.isAccepting || queue.waiting.first !== undefined || !queue.hasRoom(1)) return 0;
    return queue.maxItems - queue.used;
  }

  get maxCapacity(): number {
    return this.#queue.maxItems;
  }

  get len(): number {
    return this.#queue.used;
  }
}
