/**
 * tokio's channels and `select` for TypeScript, without any Node API.
 *
 * Which when: {@link mpsc} for work that goes to one consumer, {@link oneshot} for the one reply to a request, {@link broadcast} for values
 * that every consumer sees, {@link watch} for a state of which only the newest value matters, {@link Notify} and {@link Semaphore} for state that
 * lies elsewhere, {@link JoinSet} and {@link TaskTracker} for tasks, {@link CancellationToken} to stop, {@link select} to wait for the first of
 * several.
 *
 * @module millrace/channels
 */
// Errors
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
  AcquireError,
  AlreadyInitializedError,
  FullError,
  InitializingError,
  LaggedError,
  ModifyingError,
  NoPermitsError,
  PermitError,
  RecvError,
  SendError,
  StreamSourceError,
  TimeoutError,
} from './errors.js';
// What every wait takes, and what every tryRecv gives
export type { LaggedResult, TryRecvResult, WaitOptions } from './internal/wait.js';
// Many producers, one consumer
export * as mpsc from './mpsc/index.js';
// One value
export * as oneshot from './oneshot.js';
// Every receiver sees every value, or the newest value
export * as broadcast from './broadcast/index.js';
export * as watch from './watch/index.js';
// Synchronisation
export { Notified, Notify } from './notify.js';
export { OnceCell } from './once-cell.js';
export { SemaphorePermit } from './semaphore/core.js';
export { acquiring, Semaphore } from './semaphore/semaphore.js';
// Tasks
export { type AbortHandle, JoinQueue, JoinSet, type Task, type TaskResult } from './join-set.js';
export { TaskTracker, TaskTrackerToken } from './task-tracker.js';
// Cancellation
export { CancellationToken, type DropGuard, type UntilCancelled } from './cancellation-token.js';
// Select
export type { Arm, Arms, ArmsOf, ArmValue, CheckedArms, FalsyArm, SelectEvent, SelectOptions } from './select/plan.js';
export { reserving } from './mpsc/reserving.js';
export { select } from './select/select.js';
export type { Selectable } from './select/selectable.js';
export { createSelector, type Selector, type TurnOptions, type WonEvent } from './select/selector.js';
export { withEnd } from './select/with-end.js';
// Time
export { type Clock, SimulatedClock, systemClock } from '../core/index.js';
export { type Interval, type IntervalOptions, interval, type MissedTickBehavior } from './time/interval.js';
export { type Sleep, type SleepOptions, sleep, sleepUntil } from './time/sleep.js';
export { type TimedOperation, type TimeoutOptions, timeout } from './time/timeout.js';
export type { TimerOptions } from './time/timer.js';
// Streams
export type { PumpOptions, StreamSink, StreamSource } from './stream/ends.js';
export {
  type FromCallbackOptions,
  fromAsyncIterable,
  fromCallback,
  type Overflow,
  type RepeaterIterator,
  toRepeater,
} from './stream/iterators.js';
export { fromReadableStream, fromWritableStream, toReadableStream, toWritableStream } from './stream/web.js';
