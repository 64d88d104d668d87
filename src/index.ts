/**
 * Everything in one import. Each layer is also an entry of its own (`millrace/channels`, `millrace/worker`, `millrace/pool`,
 * `millrace/image-embedding`, `millrace/search`): take the lowest that does what you need. None loads onnxruntime-node or sharp before a model or an
 * image is used.
 *
 * @module millrace
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
export * from './image-embedding/index.js';
export * from './pool/index.js';
export * from './search/index.js';
export * from './worker/index.js';
