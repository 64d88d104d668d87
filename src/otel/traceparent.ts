/** W3C `traceparent` headers, from and to the contexts of OpenTelemetry. */
import {
  type Context,
  context,
  isSpanContextValid,
  type SpanContext,
  type TraceFlags,
  trace,
} from '@opentelemetry/api';

const HEADER = /^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?$/;

/** What a `traceparent` names; undefined where it is none, or is of an unknown kind. */
export function spanContextOf(traceparent: string | undefined): SpanContext | undefined {
  const [, traceId, spanId, flags] = HEADER.exec(traceparent ?? '') ?? [];
  if (traceId === undefined || spanId === undefined || flags === undefined || traceparent?.startsWith('ff')) return;
  const traceFlags: TraceFlags = Number.parseInt(flags, 16) & 1;
  const found: SpanContext = { traceId, spanId, traceFlags, isRemote: true };
  return isSpanContextValid(found) ? found : undefined;
}

/** The `traceparent` of a span; undefined for one that records nowhere and names no trace. */
export function traceparentOf(span: SpanContext): string | undefined {
  if (!isSpanContextValid(span)) return undefined;
  return `00-${span.traceId}-${span.spanId}-0${span.traceFlags & 1}`;
}

/** The context whose span is the one that a `traceparent` names, or the active one where there is none. */
export function contextOf(traceparent: string | undefined): Context {
  const named = spanContextOf(traceparent);
  return named === undefined ? context.active() : trace.setSpanContext(context.active(), named);
}

/**
 * The context whose span is the parent of a call. The active span is nearer than a `traceparent` of its own trace, which is most often the header of the
 * request that the active span is for.
 */
export function parentOf(traceparent: string | undefined): Context {
  const named = spanContextOf(traceparent);
  const active = context.active();
  if (named === undefined || trace.getSpanContext(active)?.traceId === named.traceId) return active;
  return trace.setSpanContext(active, named);
}
