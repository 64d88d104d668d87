import { requireChunks } from './chunks.js';
import type { CallContext, UntypedModel } from './model.js';
import type { PendingRequest } from './pending-request.js';
import { PendingStream } from './pending-stream.js';
import type { AnyRequest, ModelForRequest, Reply } from './request.js';
import type { WorkerCore } from './worker-core.js';

/** A unary request, whatever its way back. */
type UnaryCall = PendingRequest & Reply<unknown>;

type Method = (input: unknown, context: CallContext) => unknown;

/** What a model's method sees of a request; its signal is made when first read. */
class RequestContext implements CallContext {
  readonly #request: PendingRequest;

  constructor(request: PendingRequest) {
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
 * A place inside the model, used by one call after another: what reacts to a call's promise is made once for the place, not for every call.
 *
 * @internal
 */
export class CallPlace {
  readonly #core: WorkerCore;
  readonly #onLeave: (place: CallPlace) => void;
  #request: UnaryCall | undefined;
  readonly #succeeded = (value: unknown): void => {
    const request = this.#take();
    this.#core.leaveModel(request, false, undefined);
    request.send(value);
    this.#onLeave(this);
  };
  readonly #failed = (error: unknown): void => {
    const request = this.#take();
    this.#core.leaveModel(request, true, error);
    request.fail(error);
    this.#onLeave(this);
  };

  /** @param onLeave Called once the call has left the model, whatever came of it: the place may be used again. */
  constructor(core: WorkerCore, onLeave: (place: CallPlace) => void) {
    this.#core = core;
    this.#onLeave = onLeave;
  }

  /**
   * Runs a request's method, if the request is still wanted, and answers it.
   *
   * @returns False when the request was answered already; nothing runs then, and `onLeave` is not called.
   */
  run(request: PendingRequest, model: UntypedModel): boolean {
    const core = this.#core;
    const now = core.activity.timeOfTaking(request);
    if (!request.take(now)) return false;
    // Whoever is told of the call may give it up, and with it the input.
    const input = request.peekInput();
    core.enterModel(request, now);
    if (request instanceof PendingStream) {
      void runStream(core, request, model, input).then(() => this.#onLeave(this));
    } else {
      this.#request = request as UnaryCall;
      this.#runUnary(this.#request, model, input);
    }
    return true;
  }

  #runUnary(request: UnaryCall, model: UntypedModel, input: unknown): void {
    let result: unknown;
    let isPlain = false;
    try {
      const { keptTrace } = request;
      const method = model[request.operation] as Method;
      const context = new RequestContext(request);
      result =
        keptTrace === undefined
          ? method.call(model, input, context)
          : keptTrace.runInAsyncScope(method, model, input, context);
      // A promise calls back once; whatever else calls itself a thenable is wrapped in one.
      if (result instanceof Promise && result.then === then) result.then(this.#succeeded, this.#failed);
      else if (isThenable(result)) wrap(result).then(this.#succeeded, this.#failed);
      else isPlain = true;
    } catch (error) {
      this.#failed(error);
      return;
    }
    if (isPlain) this.#succeeded(result);
  }

  #take(): UnaryCall {
    const request = this.#request as UnaryCall;
    this.#request = undefined;
    return request;
  }
}

async function runStream(core: WorkerCore, request: PendingStream, model: UntypedModel, input: unknown): Promise<void> {
  const { trace } = request;
  try {
    const chunks = await trace.runInAsyncScope(
      model[request.operation] as Method,
      model,
      input,
      new RequestContext(request),
    );
    const iterator = requireChunks(request.operation, chunks)[Symbol.asyncIterator]();
    let released: Promise<void> | undefined;
    const leave = (): Promise<void> => {
      released ??= release(iterator);
      return released;
    };
    // A consumer that leaves does so while the generator works or waits: it is told at once, not at its next chunk.
    request.onGone = () => void leave();
    while (!request.isClosed) {
      const { done, value } = await trace.runInAsyncScope(iterator.next, iterator);
      if (done === true) {
        core.leaveModel(request, false, undefined);
        request.end();
        return;
      }
      if (!(await request.send(value))) break;
    }
    await leave();
    core.leaveModel(request, false, undefined);
  } catch (error) {
    core.leaveModel(request, true, error);
    request.fail(error);
  } finally {
    request.onGone = undefined;
  }
}

/** Returns a generator; what it throws on its way out concerns nobody any more. */
async function release(iterator: AsyncIterator<unknown>): Promise<void> {
  try {
    await iterator.return?.();
  } catch {
    // The consumer has left.
  }
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

/**
 * Runs a model's method for one request and answers it: what a loop of your own does with a request that it received.
 *
 * The method runs in the caller's async context. A request that was answered already, because its caller gave up or its deadline passed, is
 * not run. What the method throws is the caller's answer, never this function's.
 *
 * **Cancel safety:** not applicable; it takes no signal. The method sees the request's own.
 *
 * @param request A request from one of the receivers in `channels.operations`.
 * @param model The model that has the method: one for another operation, or with other types, does not compile.
 * @returns A promise that resolves once the call has left the model.
 * @example
 * ```ts
 * const operations = { shout: operation<string, string>() };
 * const { handle, channels } = createWorkerChannels(operations);
 * const answer = handle.call('shout', 'hello');
 * const [request] = await channels.operations.shout.recvMany(1);
 * if (request) await answerRequest(request, { shout: (text: string) => text.toUpperCase() });
 * await answer; // => 'HELLO'
 * ```
 */
export function answerRequest<R extends AnyRequest>(request: R, model: ModelForRequest<R>): Promise<void> {
  const pending = request as unknown as PendingRequest;
  return new Promise((resolve) => {
    const place = new CallPlace(pending.owner as WorkerCore, () => resolve());
    if (!place.run(pending, model as unknown as UntypedModel)) resolve();
  });
}
