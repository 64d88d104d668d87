/**
 * tokio's channels and `select` for TypeScript, without any Node API.
 *
 * Which when: {@link mpsc} for work that goes to one consumer, {@link oneshot} for the one reply to a request, {@link CancellationToken} to stop,
 * {@link select} to wait for the first of several.
 */
// Errors
export { FullError, PermitError, RecvError, SendError } from './closed-errors.js';
export { TimeoutError } from './time/timeout-error.js';
// Waiting
export type { WaitOptions } from './abort.js';
// Channels of many producers and one consumer
export * as mpsc from './mpsc/index.js';
// A channel for one value
export * as oneshot from './oneshot.js';
// Cancellation
export { CancellationToken } from './cancellation/token.js';
export type { DropGuard } from './cancellation/drop-guard.js';
// Select
export type { Arm, Arms, ArmValue, CheckedArms, FalsyArm, SelectEvent, SelectOptions } from './select/arms.js';
export { reserving } from './select/reserving.js';
export { select } from './select/select.js';
export type { Selectable } from './select/selectable.js';
export { createSelector, type Selector, type TurnOptions } from './select/selector.js';
export { withEnd } from './select/with-end.js';
// Time
export { type Clock, SimulatedClock, systemClock } from '../core/index.js';
export { type Sleep, type SleepOptions, sleep, type TimerOptions } from './time/sleep.js';
