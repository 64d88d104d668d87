import type { CallArguments, OperationName, Operations, OutputOf, ReplyOf, StreamOperation } from '../worker/index.js';
import type { CallInfo } from './model/job.js';
import type { PoolCallOptions, RegisteredModel } from './model/registered-model.js';

/** The names of a model's operations that answer with one value. */
export type UnaryName<Ops extends Operations> = {
  [K in OperationName<Ops>]: Ops[K] extends StreamOperation<never, unknown> ? never : K;
}[OperationName<Ops>];

/** A registered model, typed by its operations. */
export interface ModelHandle<Ops extends Operations> {
  /** The key it is registered under. */
  readonly key: string;
  /** What it can do. */
  readonly operations: Ops;
  /**
   * Calls an operation on whichever worker is free first. While the queue is full the call waits for room, within its deadline.
   *
   * It never throws: every failure comes through the promise, or through the stream's first `next()`. A stream operation is asked for when it is
   * first read.
   *
   * **Cancel safety:** the message goes with the call. A request that waits is then never run; one inside the model sees its `signal` abort.
   *
   * @throws PoolOverloadedError When there was no room for it within its deadline.
   * @throws BreakerOpenError When the model's circuit breaker lets no call through.
   * @throws PoolClosedError When the pool is closing.
   * @throws DeadlineExceededError When the answer did not come in time.
   * @throws WorkerCrashedError When its worker crashed and it could not be run again.
   */
  call<K extends keyof Ops & string>(operation: K, ...args: CallArguments<Ops[K], PoolCallOptions>): ReplyOf<Ops[K]>;
  /** The same as {@link ModelHandle.call}, but refused at once with `PoolOverloadedError` when there is no room. */
  tryCall<K extends keyof Ops & string>(operation: K, ...args: CallArguments<Ops[K], PoolCallOptions>): ReplyOf<Ops[K]>;
  /** The same as {@link ModelHandle.call}, with the worker and the times beside the value. */
  callDetailed<K extends UnaryName<Ops>>(
    operation: K,
    ...args: CallArguments<Ops[K], PoolCallOptions>
  ): Promise<{ readonly value: OutputOf<Ops[K]>; readonly info: CallInfo }>;
}

/**
 * Makes the typed face of a model.
 *
 * @internal
 */
export function createModelHandle<Ops extends Operations>(model: RegisteredModel): ModelHandle<Ops> {
  return Object.freeze({
    key: model.key,
    operations: model.settings.operations as Ops,
    call: (operation: string, input: unknown, options?: PoolCallOptions) =>
      model.call(operation, input, options, false),
    tryCall: (operation: string, input: unknown, options?: PoolCallOptions) =>
      model.call(operation, input, options, true),
    callDetailed: (operation: string, input: unknown, options?: PoolCallOptions) =>
      model.callDetailed(operation, input, options),
  }) as unknown as ModelHandle<Ops>;
}
