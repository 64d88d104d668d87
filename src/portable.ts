/**
 * The root entry in browsers and on edge runtimes (the conditions `browser` and `workerd`): what needs no Node. Workers, pools and images are not in it,
 * so that a bundler names what such a program can't have.
 */
export * from './channels/index.js';
export {
  type Clock,
  type ClockTimer,
  type ClockTimerOptions,
  type ErrorCode,
  type ErrorOf,
  type Fault,
  isMillraceError,
  MillraceError,
  type MillraceErrorOptions,
  type MillraceErrors,
  SimulatedClock,
  systemClock,
} from './core/index.js';
