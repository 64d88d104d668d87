/**
 * Workers: a loop that owns a model, in any host.
 *
 * Declare what a worker can do with `operation()`, make the two ends with `createWorkerChannels()`, and run the stock loop `runWorker()` over
 * them, or a loop of your own. `spawnWorker()` does all of it, in this event loop, in a thread or in a process.
 *
 * @module millrace/worker
 */
export {
  type ErrorCode,
  type ErrorOf,
  type Fault,
  isMillraceError,
  MillraceError,
  type MillraceErrorOptions,
  type MillraceErrors,
} from '../core/index.js';
export {
  type BatchAddOptions,
  type BatchContext,
  type Batcher,
  type BatcherOptions,
  createBatcher,
} from './batcher.js';
export { type ErrorClass, RemoteError, registerErrorClass } from './codec/error-registry.js';
export type { RequestReport } from './events.js';
export type { CallOptions, CloseOptions, OperationSender, PingOptions, ReplyOf, WorkerHandle } from './handle.js';
export type { ReplyStream } from './streaming-request.js';
export type { WorkerStateView } from './state.js';
export { inheritedExecArgv } from './executor/exec-argv.js';
export type { WorkerStdio } from './executor/host.js';
export { type SpareHost, type SpareHostOptions, startSpareHost } from './executor/spare-host.js';
export type {
  CallContext,
  ModelContext,
  ModelFactory,
  ModelLifecycle,
  ModelMethod,
  ModelOf,
  WorkerHost,
} from './model.js';
export {
  type CallArguments,
  type AnyOperation,
  type InputOf,
  type OperationCapacity,
  type OperationFactory,
  type OperationName,
  type OperationOptions,
  type Operations,
  type OutputOf,
  operation,
  type StreamOperation,
  type StreamOperationOptions,
  type UnaryOperation,
} from './operation.js';
export type {
  AnyRequest,
  ModelForRequest,
  Reply,
  RequestOf,
  StreamReply,
  StreamRequest,
  UnaryRequest,
} from './answer-request.js';
export { answerRequest } from './answer-request.js';
export { type RunWorkerOptions, runWorker } from './loop.js';
export type {
  CommonWorkerOptions,
  SpawnWorkerOptions,
  WorkerSource,
  TransferOptions,
} from './spawn.js';
export { spawnWorker } from './spawn.js';
export type { Trace } from './trace.js';
export type { Ping } from './account/ledger.js';
export { createWorkerChannels, type WorkerChannels, type WorkerChannelsOptions } from './channels.js';
export {
  BadInputError,
  BatchContractError,
  BatcherClosedError,
  DeadlineExceededError,
  ModelContractError,
  UnknownOperationError,
  WorkerClosedError,
  type WorkerCrashDetails,
  WorkerCrashedError,
  WorkerFullError,
  WorkerLoadError,
  WorkerStateError,
} from './errors.js';
export type {
  WorkerCrashEvent,
  WorkerEvent,
  WorkerFailureEvent,
  WorkerLateEvent,
  WorkerStallEvent,
  WorkerStateEvent,
} from './events.js';
export type { LastError, WorkerHealth, WorkerProgress } from './account/ledger.js';
export { type WorkerState, type WorkerStatus, workerTransitions } from './state.js';
export type { LatencySummary } from './account/ledger.js';
export type { WorkerLedger, WorkerStats } from './account/ledger.js';
