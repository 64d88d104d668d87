import type { Account } from './account/account.js';
import { runInModel } from './executor/inline.js';
import type { CallContext, UntypedModel } from './model.js';
import type { InputOf, OutputOf, StreamOperation } from './operation.js';
import type { Request } from './request.js';
import type { Trace } from './trace.js';

/** The way back to the caller of a unary request: used at most once; whatever comes later is dropped and counted. */
export interface Reply<in Output> {
  /** Answers with a value. False when no caller listens any more: the caller gave up, or it was answered before. */
  send(value: Output): boolean;
  /** Answers with an error. False when no caller listens any more. */
  fail(error: unknown): boolean;
  /** Whether it was answered: by the loop, or because its caller gave up, its deadline passed or the worker ended. */
  readonly isClosed: boolean;
}

/** The way back to the consumer of a stream request: a bounded channel of chunks. */
export interface StreamReply<in Chunk> {
  /**
   * Sends one chunk, and waits while the consumer is behind by the operation's `chunkCapacity`.
   *
   * **Cancel safety:** not applicable; it takes no signal. It settles when the consumer leaves, the deadline passes or the worker ends.
   *
   * @returns True when it was sent, false when no caller listens any more: then the generator should end.
   */
  send(chunk: Chunk): Promise<boolean>;
  /** Ends the stream; the consumer still reads what was sent. False when no caller listens any more. */
  end(): boolean;
  /** Fails the stream; the consumer reads what was sent, then gets the error. False when no caller listens any more. */
  fail(error: unknown): boolean;
  /** Whether it has ended: by the loop, or because its consumer left, its deadline passed or the worker ended. */
  readonly isClosed: boolean;
}

interface RequestBase<Input, Name extends string> {
  /** The operation that was called. */
  readonly operation: Name;
  /** The caller's input. Reading it takes the request, see `take()`. */
  readonly input: Input;
  /** Aborts when the answer is not wanted any more: the caller gave up, the deadline passed, the worker was destroyed. Made when first read. */
  readonly signal: AbortSignal;
  /** When the answer is due, in ms on the worker's clock; undefined when there is no deadline. */
  readonly deadline: number | undefined;
  /** The caller's context: `traceparent`, and `run(fn)` to run a function in the caller's AsyncLocalStorage context. */
  readonly trace: Trace;
  /**
   * Takes the request off the queue's account, so that its place is free for another. Done by reading `input` and by answering, too.
   *
   * @returns False when it was answered already, because the caller gave up or the deadline passed: then it must not be run.
   */
  take(): boolean;
}

/** A request for one value, as a loop receives it. */
export interface UnaryRequest<Input, Output, Name extends string = string> extends RequestBase<Input, Name> {
  readonly kind: 'unary';
  readonly reply: Reply<Output>;
}

/** A request for a stream of chunks, as a loop receives it. */
export interface StreamRequest<Input, Chunk, Name extends string = string> extends RequestBase<Input, Name> {
  readonly kind: 'stream';
  readonly reply: StreamReply<Chunk>;
}

/** Any request. */
export type AnyRequest = UnaryRequest<unknown, never> | StreamRequest<unknown, never>;

/** The request of an operation, by the name that it was declared with. */
export type RequestOf<O, Name extends string = string> =
  O extends StreamOperation<never, unknown>
    ? StreamRequest<InputOf<O>, OutputOf<O>, Name>
    : UnaryRequest<InputOf<O>, OutputOf<O>, Name>;

/** What a model must have to answer a request, or any of several: the methods of their operations. */
export type ModelForRequest<R extends AnyRequest> = string extends R['operation']
  ? object
  : { readonly [Name in R['operation']]: MethodForRequest<Extract<R, { readonly operation: Name }>> };

type MethodForRequest<R> =
  R extends StreamRequest<infer Input, infer Chunk>
    ? (input: Input, context: CallContext) => AsyncIterable<Chunk>
    : R extends UnaryRequest<infer Input, infer Output>
      ? (input: Input, context: CallContext) => Promise<Output> | Output
      : never;

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
  const record = request as unknown as Request;
  return new Promise((resolve) => {
    // Without an owner its worker is over, and it was answered.
    const account = record.owner as Account | undefined;
    if (account === undefined) resolve();
    else runInModel(account, record, model as unknown as UntypedModel, account.clock.now(), resolve);
  });
}
