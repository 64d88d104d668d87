/** The SDK and the model of tracing.ts. Both the caller's process and the worker's start an SDK; a real one exports to a collector. */
import { NodeTracerProvider, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-node';
import { traceModel } from 'millrace/otel';

/** Prints each span that ends in this process. */
export function startSdk(where) {
  const exporter = {
    export(spans, done) {
      for (const span of spans) {
        const { traceId, spanId } = span.spanContext();
        const parent = span.parentSpanContext?.spanId ?? 'none';
        console.log(`trace ${traceId}  span ${spanId}  below ${parent.padEnd(16)}  ${where}: ${span.name}`);
      }
      done({ code: 0 });
    },
    shutdown: async () => {},
  };
  new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }).register();
}

export default () => {
  startSdk('worker');
  return traceModel({ shout: (text) => text.toUpperCase() });
};
