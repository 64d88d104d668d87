/**
 * OpenTelemetry for Millrace: a span for each call with its waiting and its runs, the model's own spans below it in other threads, processes and hosts, and
 * metrics by a meter.
 *
 * {@link MillraceInstrumentation} goes where the other instrumentations of a program go; {@link traceModel} wraps a model. The package
 * `@opentelemetry/api` is an optional peer and is all that this loads; exporters and samplers are the program's own.
 *
 * @module millrace/otel
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
export { MillraceInstrumentation, type MillraceInstrumentationOptions } from './instrumentation.js';
export type { ObservedPool } from './pool-metrics.js';
export { traceModel } from './trace-model.js';
