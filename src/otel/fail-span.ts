import { type Span, SpanStatusCode } from '@opentelemetry/api';
import { messageOf } from '../core/index.js';

/** Marks a span as failed, with the error's code or name. */
export function failSpan(span: Span, error: unknown): void {
  const message = messageOf(error);
  span.setStatus({ code: SpanStatusCode.ERROR, message });
  span.setAttribute('error.type', typeOf(error));
  span.recordException({ name: typeOf(error), message });
}

/** What a kind of error is called: its code, or its name. */
export function typeOf(error: unknown): string {
  try {
    const { code, name } = error as { code?: unknown; name?: unknown };
    if (typeof code === 'string' && code !== '') return code;
    if (typeof name === 'string' && name !== '') return name;
  } catch {
    // An error whose getters throw.
  }
  return '_OTHER';
}
