/**
 * The base of every layer: errors with codes, argument checks, option tables, the clock, and access to the host. Imports nothing.
 */
export { type AbortListener, addAbortListener, removeAbortListener } from './abort-hub.js';
export {
  type Clock,
  type ClockTimer,
  type ClockTimerOptions,
  requireClock,
  SimulatedClock,
  systemClock,
} from './clock.js';
export {
  describeThrown,
  isDomException,
  isError,
  messageOf,
  textOf,
  type ThrownDescription,
} from './describe-thrown.js';
export {
  type ErrorCode,
  type ErrorOf,
  type Fault,
  hide,
  isMillraceError,
  MillraceError,
  type MillraceErrorOptions,
  type MillraceErrors,
} from './errors.js';
export { type Linked, LinkedList } from './linked-list.js';
export { monotonicNow, scheduleMacrotask } from './host.js';
export {
  type Check,
  fillOptions,
  group,
  instanceOf,
  millisecondsOrInfinity,
  nonNegativeIntegerUpTo,
  numberFrom,
  oneOf,
  type OptionRow,
  type OptionTable,
  option,
  positiveIntegerUpTo,
  required,
  type Settings,
  workingSignal,
} from './options.js';
export {
  describeReceived,
  definedOf,
  type Filled,
  type Given,
  faultOf,
  isSignal,
  requireBoolean,
  requireDuration,
  requireFunction,
  requireInstance,
  requireLimit,
  requireMilliseconds,
  requireNonNegativeInteger,
  requireNumber,
  requireOneOf,
  requireOptions,
  requirePositiveInteger,
  requireSignal,
  requireString,
  requireWorkingSignal,
} from './validate.js';
