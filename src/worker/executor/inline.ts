import { CancellationToken } from '../../channels/index.js';
import { messageOf, scheduleMacrotask } from '../../core/index.js';
import type { Account } from '../account/account.js';
import type { WorkerHealth } from '../account/ledger.js';
import { WorkerLoadError } from '../errors.js';
import { type CallContext, ModelHealth, readChunks, requireModel, type UntypedModel } from '../model.js';
import type { Operations } from '../operation.js';
import type { Request } from '../request.js';
import type { StreamingRequest } from '../streaming-request.js';
import type { Executor } from './executor.js';

// Invariants:
// - At most `concurrency` calls are inside the model.
// - A method is called one microtask after its request was started: what its caller does in the same turn is seen first.
// - After `BURST_CALLS` calls or `BURST_MS` no more are started until timers and I/O have run, however fast callers are.

const BURST_CALLS = 1_024;
const BURST_MS = 8;
const DONE = Promise.resolve();

type Method = (input: unknown, context: CallContext) => unknown;

/** Runs requests in a model that lives in this event loop. */
export class InlineExecutor implements Executor {
  readonly isKillable = false;
  /** Never cancelled: this event loop does not end before its worker. */
  readonly closed: CancellationToken = new CancellationToken();
  onFreed: () => void = () => {};
  readonly #account: Account;
  readonly #operations: Operations;
  readonly #makeModel: (signal: AbortSignal) => Promise<unknown>;
  readonly #concurrency: number;
  readonly #loading = new AbortController();
  #model!: UntypedModel;
  #health: ModelHealth | undefined;
  #inside = 0;
  #calls = 0;
  #burstSince = 0;
  #isPausing = false;

  /** @param makeModel Makes the model; its signal aborts when the model is not wanted any more. */
  constructor(
    account: Account,
    operations: Operations,
    makeModel: (signal: AbortSignal) => Promise<unknown>,
    concurrency: number,
  ) {
    this.#account = account;
    this.#operations = operations;
    this.#makeModel = makeModel;
    this.#concurrency = concurrency;
  }

  get hasRoom(): boolean {
    return this.#inside < this.#concurrency && !this.#isPausing;
  }

  get isEmpty(): boolean {
    return this.#inside === 0;
  }

  async load(onLoading: () => void): Promise<void> {
    onLoading();
    const { signal } = this.#loading;
    const made = await this.#makeModel(signal);
    try {
      const model = requireModel(made, this.#operations);
      if (!signal.aborted) await warmUp(model);
      this.#model = model;
    } catch (error) {
      discard(made);
      throw error;
    }
    if (signal.aborted) discard(made);
    if (this.#model.health !== undefined) {
      this.#health = new ModelHealth(() => this.#model.health?.(), this.#account.clock);
    }
  }

  start(request: Request): void {
    this.#inside++;
    void DONE.then(() => {
      const now = this.#account.clock.now();
      this.#countBurst(now);
      runInModel(this.#account, request, this.#model, now, this.#onLeft);
    });
  }

  async health(): Promise<WorkerHealth> {
    const report = this.#account.health();
    return this.#health === undefined ? report : { ...report, model: await this.#health.ask() };
  }

  async release(): Promise<void> {
    this.#health?.stop();
    await this.#model.dispose?.();
  }

  async kill(): Promise<void> {
    this.#loading.abort();
  }

  async failure(): Promise<unknown> {
    return undefined;
  }

  drop(): void {
    this.#health?.stop();
  }

  readonly #onLeft = (): void => {
    this.#inside--;
    this.onFreed();
  };

  #countBurst(now: number): void {
    if (this.#calls++ === 0) this.#burstSince = now;
    if (this.#calls < BURST_CALLS && now - this.#burstSince <= BURST_MS) return;
    this.#isPausing = true;
    scheduleMacrotask(() => {
      this.#calls = 0;
      this.#isPausing = false;
      this.onFreed();
    });
  }
}

async function warmUp(model: UntypedModel): Promise<void> {
  try {
    await model.warmup?.();
  } catch (error) {
    throw new WorkerLoadError(`Cannot load model: its warmup failed (${messageOf(error)})`, { cause: error });
  }
}

/** Releases a model that is not used. Not awaited, and its failure is not told: a reason of more weight is. */
function discard(model: unknown): void {
  void (async () => (model as UntypedModel | null)?.dispose?.())().catch(() => {});
}

/** What a model's method sees of a request; its signal is made when first read. */
class RequestContext implements CallContext {
  readonly #request: Request;

  constructor(request: Request) {
    this.#request = request;
  }

  get signal(): AbortSignal {
    return this.#request.signal;
  }

  get deadline(): number | undefined {
    return this.#request.deadline;
  }

  get traceparent(): string | undefined {
    return this.#request.traceparent;
  }
}

/**
 * Runs a request's method, if the request is still wanted, and answers it.
 *
 * @param now The time on the account's clock.
 * @param onLeft Called once the call has left the model, whatever came of it.
 */
export function runInModel(
  account: Account,
  request: Request,
  model: UntypedModel,
  now: number,
  onLeft: () => void,
): void {
  // Its worker may have ended since it was started, and another one have it.
  if (request.owner !== account || !request.take(now)) {
    onLeft();
    return;
  }
  // A watcher of the call may give it up, and with it the input.
  const input = request.peekInput();
  account.enterModel(request, now);
  if (request.kind === 'stream') void runStream(account, request as StreamingRequest, model, input, onLeft);
  else runUnary(account, request, model, input, onLeft);
}

function runUnary(account: Account, request: Request, model: UntypedModel, input: unknown, onLeft: () => void): void {
  const succeeded = (value: unknown): void => {
    account.leaveModel(request);
    onLeft();
    if (request.owner === account) request.send(value);
  };
  const failed = (error: unknown): void => {
    account.leaveModel(request, { error });
    onLeft();
    if (request.owner === account) request.fail(error);
  };
  let result: unknown;
  let isPlain = false;
  try {
    const method = model[request.operation] as Method;
    const context = new RequestContext(request);
    const { keptTrace } = request;
    result =
      keptTrace === undefined
        ? method.call(model, input, context)
        : keptTrace.runInAsyncScope(method, model, input, context);
    // A promise calls back once; any other thenable is wrapped in one.
    if (result instanceof Promise && result.then === then) result.then(succeeded, failed);
    else if (isThenable(result)) wrap(result).then(succeeded, failed);
    else isPlain = true;
  } catch (error) {
    failed(error);
    return;
  }
  if (isPlain) succeeded(result);
}

async function runStream(
  account: Account,
  request: StreamingRequest,
  model: UntypedModel,
  input: unknown,
  onLeft: () => void,
): Promise<void> {
  const { trace } = request;
  let failure: { readonly error: unknown } | undefined;
  try {
    const method = model[request.operation] as Method;
    const chunks = await trace.runInAsyncScope(method, model, input, new RequestContext(request));
    const send = (chunk: unknown): Promise<boolean> => request.send(chunk);
    await readChunks(request.operation, chunks, request, send, (iterator) =>
      trace.runInAsyncScope(iterator.next, iterator),
    );
  } catch (error) {
    failure = { error };
  }
  request.onGone = undefined;
  account.leaveModel(request, failure);
  onLeft();
  if (request.owner !== account) return;
  if (failure !== undefined) request.fail(failure.error);
  else if (!request.isClosed) request.end();
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return (
    ((typeof value === 'object' && value !== null) || typeof value === 'function') &&
    typeof (value as { then?: unknown }).then === 'function'
  );
}

const { then } = Promise.prototype;

function wrap(thenable: PromiseLike<unknown>): Promise<unknown> {
  return new Promise((resolve) => resolve(thenable));
}
