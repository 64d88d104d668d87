import { type Attributes, context, SpanKind, type Tracer, trace } from '@opentelemetry/api';
import type { CallContext } from '../worker/index.js';
import { failSpan } from './fail-span.js';
import { SCOPE, VERSION } from './names.js';
import { contextOf } from './traceparent.js';

const LIFE = new Set<PropertyKey>(['warmup', 'dispose', 'health', 'constructor']);

type Method = (input: unknown, call: CallContext) => unknown;

/**
 * Makes a span of each call into a model, where the model runs: in the caller's process, a thread, a child process, or on another host. Its parent is the
 * span of the call, and it is active while the model works, so that spans which the model makes are below it.
 *
 * The thread or process needs an OpenTelemetry SDK of its own: the model's module starts it, and its `dispose()` flushes it.
 *
 * @param model The model. It is not changed.
 * @param attributes Attributes for each of its spans.
 * @returns A model with the same methods.
 * @example
 * ```ts
 * const upper = traceModel({ upper: (text: string) => text.toUpperCase() });
 * upper.upper('a'); // => 'A'
 * ```
 */
export function traceModel<Model extends object>(model: Model, attributes: Attributes = {}): Model {
  const tracer = trace.getTracer(SCOPE, VERSION);
  const wrapped = new Map<PropertyKey, Method>();
  return new Proxy(model, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== 'function') return value;
      let method = wrapped.get(name);
      if (method === undefined) {
        const own = value as Method;
        method = LIFE.has(name) ? own.bind(target) : traced(tracer, String(name), own.bind(target), attributes);
        wrapped.set(name, method);
      }
      return method;
    },
  });
}

function traced(tracer: Tracer, operation: string, method: Method, attributes: Attributes): Method {
  return (input, call) => {
    const parent = contextOf(call?.traceparent);
    const all = { 'millrace.operation': operation, ...attributes };
    const span = tracer.startSpan(operation, { kind: SpanKind.INTERNAL, attributes: all }, parent);
    const inSpan = trace.setSpan(parent, span);
    try {
      const result = context.with(inSpan, () => method(input, call));
      if (isAsyncIterable(result)) {
        return passOn(context.bind(inSpan, result[Symbol.asyncIterator]()), inSpan, span);
      }
      if (!isThenable(result)) {
        span.end();
        return result;
      }
      return Promise.resolve(result).then(
        (value) => {
          span.end();
          return value;
        },
        (error) => {
          failSpan(span, error);
          span.end();
          throw error;
        },
      );
    } catch (error) {
      failSpan(span, error);
      span.end();
      throw error;
    }
  };
}

/** The chunks of a stream: each is made with the span active, which ends with the last of them, or when the reader leaves. */
async function* passOn(
  chunks: AsyncIterator<unknown>,
  inSpan: ReturnType<typeof context.active>,
  span: ReturnType<Tracer['startSpan']>,
): AsyncGenerator<unknown, void, void> {
  let isOver = false;
  try {
    for (;;) {
      const next = await context.with(inSpan, () => chunks.next());
      if (next.done === true) {
        isOver = true;
        return;
      }
      yield next.value;
    }
  } catch (error) {
    isOver = true;
    failSpan(span, error);
    throw error;
  } finally {
    if (!isOver) await context.with(inSpan, () => chunks.return?.());
    span.end();
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === 'function';
}

function isAsyncIterable(value: unknown): value is AsyncIterable<unknown> {
  return (
    typeof (value as { [Symbol.asyncIterator]?: unknown } | null | undefined)?.[Symbol.asyncIterator] === 'function'
  );
}
