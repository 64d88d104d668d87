import { type Clock, type ClockTimer, messageOf } from '../core/index.js';
import { ModelContractError } from './errors.js';
import type { InputOf, Operations, OutputOf, StreamOperation } from './operation.js';

/** What a model's method is told about the call beside its input. */
export interface CallContext {
  /** Aborts when the caller gave up, when the deadline passed or when the worker was destroyed: the answer is not wanted any more. */
  readonly signal: AbortSignal;
  /** When the answer is due, in ms on the worker's clock; undefined when there is no deadline. */
  readonly deadline: number | undefined;
  /** The caller's W3C `traceparent`, when there is one. */
  readonly traceparent: string | undefined;
}

/** The method that a model has for one operation. */
export type ModelMethod<O> =
  O extends StreamOperation<never, unknown>
    ? (input: InputOf<O>, context: CallContext) => AsyncIterable<OutputOf<O>>
    : (input: InputOf<O>, context: CallContext) => Promise<OutputOf<O>> | OutputOf<O>;

/** What a model may have beside its operations. */
export interface ModelLifecycle {
  /** Runs once, before the worker is ready. */
  warmup?(): Promise<void> | void;
  /** Runs once, after the last call has left the model. */
  dispose?(): Promise<void> | void;
  /**
   * Anything that a health report should carry; it must be cheap, and serialisable where the worker is not in-process. Asked once at a time, for all
   * pings that come meanwhile; after 500 ms a report goes without it, and says so.
   */
  health?(): Promise<unknown> | unknown;
}

/**
 * A model: an object with one method per operation, async (or an async generator for a stream operation), and optionally `warmup()`,
 * `dispose()` and `health()`.
 */
export type ModelOf<Ops extends Operations> = {
  readonly [K in keyof Ops & string]: ModelMethod<Ops[K]>;
} & ModelLifecycle;

/** What a module that makes models is told. */
export interface ModelContext {
  /** Aborts when the worker is closed before the model is ready. */
  readonly signal: AbortSignal;
  /** The worker that the model is for. */
  readonly workerId: string;
  /** Where the model runs. */
  readonly host: WorkerHost;
  /**
   * Resolves once the calls that have arrived, in part too where their inputs are large, have begun; undefined where there are none. A model whose
   * method has blocked the thread waits for it before another long run that such a call should be part of. Absent in the inline host.
   */
  readonly arriving?: (() => Promise<void> | undefined) | undefined;
}

/** Where a worker's model runs: in the caller's event loop, in a worker thread, or in a child process. */
export type WorkerHost = 'inline' | 'thread' | 'process';

/** The default export (or `createModel`) of a model module. */
export type ModelFactory<Ops extends Operations, Options = unknown> = (
  options: Options,
  context: ModelContext,
) => ModelOf<Ops> | Promise<ModelOf<Ops>>;

/** A model seen without its types. */
export type UntypedModel = ModelLifecycle & Readonly<Record<string, unknown>>;

/** Whether a method is one that every object or function has, such as `toString`, and not the model's own. */
function isInherited(name: string, method: unknown): boolean {
  return [Object.prototype, Function.prototype].some((each) => (each as unknown as UntypedModel)[name] === method);
}

/**
 * Checks that a model has what its operations ask for.
 *
 * @internal
 * @throws ModelContractError When it is no object, lacks a method, or has a lifecycle member that is no function.
 */
export function requireModel(model: unknown, operations: Readonly<Record<string, unknown>>): UntypedModel {
  if ((typeof model !== 'object' && typeof model !== 'function') || model === null) {
    throw new ModelContractError(
      `Cannot load model: it must be an object with a method per operation, received ${model === null ? 'null' : typeof model}`,
    );
  }
  const untyped = model as UntypedModel;
  for (const name of Object.keys(operations)) {
    const method = untyped[name];
    if (typeof method !== 'function' || isInherited(name, method)) {
      const received = method === null ? 'null' : typeof method === 'function' ? 'that of every object' : typeof method;
      throw new ModelContractError(`Cannot load model: it must have a method '${name}', received ${received}`);
    }
  }
  for (const name of ['warmup', 'dispose', 'health'] as const) {
    if (untyped[name] !== undefined && typeof untyped[name] !== 'function') {
      throw new ModelContractError(
        `Cannot load model: '${name}' must be a method where there is one, received ${typeof untyped[name]}`,
      );
    }
  }
  return untyped;
}

/**
 * Checks what the method of a stream operation has returned.
 *
 * @throws TypeError When it is no async iterable.
 */
function requireChunks(operation: string, chunks: unknown): AsyncIterable<unknown> {
  const iterable = chunks as Partial<AsyncIterable<unknown>> | null | undefined;
  if (typeof iterable?.[Symbol.asyncIterator] === 'function') return iterable as AsyncIterable<unknown>;
  throw new TypeError(
    `Cannot stream ${operation}: the model's method must return an async iterable, received ${typeof chunks}`,
  );
}

/** What the chunks of a stream are read for. */
export interface ChunkTaker {
  /** Whether its consumer has left. */
  readonly isClosed: boolean;
  /** Called when its consumer leaves. */
  onGone: ((...args: never[]) => void) | undefined;
}

/**
 * Reads what the method of a stream operation has returned, until it ends or `send` answers false. A generator that is left is returned, at once
 * where its consumer leaves while it works or waits; what it throws on its way out has no caller.
 *
 * @param next Asks for the next chunk.
 */
export async function readChunks(
  operation: string,
  chunks: unknown,
  taker: ChunkTaker,
  send: (chunk: unknown) => boolean | Promise<boolean>,
  next: (iterator: AsyncIterator<unknown>) => Promise<IteratorResult<unknown>> = (iterator) => iterator.next(),
): Promise<void> {
  const iterator = requireChunks(operation, chunks)[Symbol.asyncIterator]();
  let left: Promise<unknown> | undefined;
  const leave = (): Promise<unknown> => {
    left ??= (async () => iterator.return?.())().catch(() => {});
    return left;
  };
  taker.onGone = () => void leave();
  let isDone = false;
  while (!taker.isClosed) {
    const { done, value } = await next(iterator);
    isDone = done === true;
    if (isDone || !(await send(value))) break;
  }
  if (!isDone) await leave();
}

// Invariants:
// - The model is asked once at a time; an ask meanwhile shares its answer.
// - No ask waits longer than the limit, and once it has passed nothing is kept for it, however long the model takes.

/** Less than the second after which a handle answers for a host that is silent. */
const LIMIT_MS = 500;
const TOO_LATE = `Cannot report health: health() must answer within ${LIMIT_MS} ms, received nothing`;

/** Asks a model how it is. One that does not say so in time holds up no report. */
export class ModelHealth {
  readonly #health: () => unknown;
  readonly #clock: Clock;
  #answer: Promise<unknown> | undefined;
  #timer: ClockTimer | undefined;
  #settle: (answer: unknown) => void = () => {};

  constructor(health: () => unknown, clock: Clock) {
    this.#health = health;
    this.#clock = clock;
  }

  /** What the model says: the message of its error when it throws, and that of the limit when it says nothing. It never rejects. */
  ask(): Promise<unknown> {
    this.#answer ??= this.#start();
    return this.#answer;
  }

  /** Answers what is asked, and is not asked again. */
  stop(): void {
    this.#timer?.cancel();
    this.#settle('Cannot report health: the loop has ended');
  }

  #start(): Promise<unknown> {
    this.#timer = this.#clock.setTimer(() => this.#settle(TOO_LATE), LIMIT_MS);
    void this.#run().then((answer) => {
      this.#timer?.cancel();
      this.#settle(answer);
      this.#answer = undefined;
    });
    return new Promise((resolve) => {
      this.#settle = resolve;
    });
  }

  async #run(): Promise<unknown> {
    try {
      return await this.#health();
    } catch (error) {
      return messageOf(error);
    }
  }
}
