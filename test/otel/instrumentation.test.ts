import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { context, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { registerInstrumentations } from '@opentelemetry/instrumentation';
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import {
  InMemorySpanExporter,
  NodeTracerProvider,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-node';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { MillraceInstrumentation, traceModel } from '../../src/otel/index.js';
import { createPool } from '../../src/pool/index.js';
import { createRemotePool, SimulatedBus, servePool } from '../../src/remote/index.js';
import { operation } from '../../src/worker/index.js';
import { tempFolder } from '../support/temp-folder.js';

const exporter = new InMemorySpanExporter();
const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
const module = new URL('./fixtures/traced-model.mjs', import.meta.url);
const at = tempFolder('otel');
const operations = {
  upper: operation<string, string>({ idempotent: true }),
  later: operation<string, string>(),
  letters: operation.stream<string, string>(),
  fail: operation<string, string>(),
};
const tracer = trace.getTracer('app');
let instrumentation: MillraceInstrumentation;
beforeAll(() => provider.register());
afterAll(() => provider.shutdown());
beforeEach(() => {
  instrumentation = new MillraceInstrumentation();
});
afterEach(() => {
  instrumentation.disable();
  exporter.reset();
});

/** A span of this or another process. */
interface Line {
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parent: string | undefined;
  readonly pid?: number;
}
function lineOf(span: ReadableSpan): Line {
  const { traceId, spanId } = span.spanContext();
  return { name: span.name, traceId, spanId, parent: span.parentSpanContext?.spanId };
}
const linesIn = async (file: string): Promise<Line[]> =>
  (await readFile(file, 'utf8'))
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Line);

/** The spans as a tree of names, children in the order of their names. */
function treeOf(spans: readonly Line[], parent?: string): string[] {
  return spans
    .filter((span) => span.parent === parent)
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((span) => [span.name, ...treeOf(spans, span.spanId).map((name) => `  ${name}`)]);
}
const named = (name: string): ReadableSpan =>
  exporter.getFinishedSpans().find((span) => span.name === name) as ReadableSpan;

describe('one trace', () => {
  test.each(['inline', 'thread', 'process'] as const)(
    'has the call, its phases and the spans of the model: %s',
    async (host) => {
      const file = at(`${host}.jsonl`);
      await using pool = createPool({ name: 'p' });
      // An inline model has the SDK of its process.
      const load = () =>
        traceModel({
          upper: (text: string) =>
            tracer.startActiveSpan('shout', (span) => {
              span.end();
              return text.toUpperCase();
            }),
        });
      const { upper } = operations;
      const model =
        host === 'inline'
          ? pool.register('text', { operations: { upper }, load })
          : pool.register('text', { operations: { upper }, host, module, options: { file } });
      await tracer.startActiveSpan('request', async (span) => {
        expect(await model.call('upper', 'a')).toBe('A');
        span.end();
      });
      await pool.close();
      const own = exporter.getFinishedSpans().map(lineOf);
      const theirs = host === 'inline' ? [] : await linesIn(file);
      const spans = [...own, ...theirs];
      expect(treeOf(spans)).toEqual([
        'request',
        '  text.upper',
        '    millrace.queue',
        '    millrace.run',
        '    upper',
        '      shout',
      ]);
      expect(new Set(spans.map(({ traceId }) => traceId)).size).toBe(1);
      if (host === 'process') expect(theirs.every(({ pid }) => pid !== process.pid)).toBe(true);
      const call = named('text.upper');
      expect(call.attributes).toMatchObject({
        'millrace.pool': 'p',
        'millrace.model': 'text',
        'millrace.operation': 'upper',
        'millrace.priority': 'normal',
        'millrace.host': host,
        'millrace.outcome': 'succeeded',
        'millrace.attempts': 1,
        'millrace.worker': named('millrace.run').attributes['millrace.worker'],
      });
      expect(call.kind).toBe(SpanKind.INTERNAL);
      expect(call.status.code).toBe(SpanStatusCode.UNSET);
    },
  );

  test('crosses to another host, and to the process that works there', async () => {
    const file = at('hosts.jsonl');
    const network = new SimulatedBus();
    await using there = createPool({ name: 'there' });
    const { upper } = operations;
    there.register('text', { operations: { upper }, host: 'process', module, options: { file } });
    const served = await servePool(there, { bus: network.connect(), service: 's', operations: ['upper'] });
    await using here = createRemotePool({ bus: network.connect() });
    const model = here.connect('s', { operations: { upper } });
    await tracer.startActiveSpan('request', async (span) => {
      expect(await model.call('upper', 'b', { timeoutMs: 20_000 })).toBe('B');
      span.end();
    });
    await here.close();
    await served.close();
    await there.close();
    const spans = [...exporter.getFinishedSpans().map(lineOf), ...(await linesIn(file))];
    expect(treeOf(spans)).toEqual([
      'request',
      '  s.upper',
      '    millrace.queue',
      '    millrace.run',
      '    text.upper',
      '      millrace.queue',
      '      millrace.run',
      '      upper',
      '        shout',
    ]);
    expect(named('s.upper').kind).toBe(SpanKind.CLIENT);
  });

  test('keeps the spans that a model makes later, and in a stream, below its own', async () => {
    const file = at('later.jsonl');
    await using pool = createPool();
    const model = pool.register('text', { operations, host: 'process', module, options: { file } });
    expect(await model.call('later', 'x')).toBe('x');
    for await (const letter of model.call('letters', 'abc')) expect('abc').toContain(letter);
    for await (const _ of model.call('letters', 'z'.repeat(1_000))) break;
    await expect(model.call('fail', '')).rejects.toThrow('no');
    await pool.close();
    const lines = await linesIn(file);
    const idOf = (name: string, at = 0): string => lines.filter((line) => line.name === name)[at]?.spanId ?? '';
    const parentOf = (name: string): string | undefined => lines.find((line) => line.name === name)?.parent;
    // Both the model's method and the span that it makes are called so.
    expect(lines.filter(({ name }) => name === 'later')[0]?.parent).toBe(idOf('later', 1));
    for (const letter of 'abc') expect(parentOf(letter)).toBe(idOf('letters'));
    expect(lines.filter(({ name }) => name === 'letters')).toHaveLength(2);
    expect(lines.find(({ name }) => name === 'fail')).toMatchObject({ status: SpanStatusCode.ERROR });
  });
});

describe('MillraceInstrumentation', () => {
  const load = () => ({
    upper: async (text: string, { traceparent }: { traceparent: string | undefined }) => {
      await new Promise((resolve) => setTimeout(resolve, 5));
      return `${text} ${traceparent}`;
    },
  });
  const { upper } = operations;

  test('makes a call the child of its traceparent, and of the active span where that is of the same trace', async () => {
    await using pool = createPool();
    const model = pool.register('m', { operations: { upper }, load });
    const [traceId, spanId] = ['0af7651916cd43dd8448eb211c80319c', 'b7ad6b7169203331'];
    const traceparent = `00-${traceId}-${spanId}-01`;
    const answer = await model.call('upper', 'a', { traceparent });
    const first = lineOf(named('m.upper'));
    expect(first).toMatchObject({ traceId, parent: spanId });
    expect(answer).toBe(`a 00-${traceId}-${first.spanId}-01`);
    exporter.reset();
    const remote = trace.setSpanContext(context.active(), { traceId, spanId, traceFlags: 1, isRemote: true });
    const server = tracer.startSpan('server', {}, remote);
    await context.with(trace.setSpan(remote, server), () => model.call('upper', 'b', { traceparent }));
    expect(lineOf(named('m.upper'))).toMatchObject({ traceId, parent: server.spanContext().spanId });
    exporter.reset();
    for (const odd of ['nonsense', `ff-${traceId}-${spanId}-01`, `00-${'0'.repeat(32)}-${spanId}-01`, '00-é-\u0000']) {
      await model.call('upper', 'c', { traceparent: odd });
      expect(lineOf(named('m.upper')).parent).toBe(undefined);
      exporter.reset();
    }
  });

  test('tells errors by their code, and no error of a caller that left', async () => {
    await using pool = createPool();
    const model = pool.register('m', { operations: { upper }, load, maxWorkers: 1, concurrency: 1, queueLimit: 1 });
    await model.call('upper', '');
    exporter.reset();
    const leaver = new AbortController();
    const left = model.call('upper', 'a', { signal: leaver.signal });
    const late = model.call('upper', 'b', { timeoutMs: 1 });
    await expect(model.tryCall('upper', 'c')).rejects.toThrow();
    leaver.abort();
    await expect(left).rejects.toThrow();
    await expect(late).rejects.toThrow();
    const ends = exporter
      .getFinishedSpans()
      .filter(({ name }) => name === 'm.upper')
      .map(({ attributes, status, events }) => [
        attributes['millrace.outcome'],
        attributes['error.type'],
        status.code,
        events.map(({ name }) => name).join(),
      ]);
    expect(ends.sort()).toEqual([
      ['cancelled', 'AbortError', SpanStatusCode.UNSET, ''],
      ['expired', 'ERR_DEADLINE_EXCEEDED', SpanStatusCode.ERROR, 'exception'],
      ['refused', 'ERR_POOL_OVERLOADED', SpanStatusCode.ERROR, 'exception'],
    ]);
  });

  test('tells a lost worker as a run that failed, and the next as a retry', async () => {
    await using pool = createPool();
    const once = new URL('../pool/fixtures/dies-once-model.mjs', import.meta.url);
    const key = operation<string, string>({ idempotent: true });
    const model = pool.register('m', { operations: { key }, host: 'process', module: once, maxWorkers: 1 });
    await model.call('key', `otel-${process.pid}-${Date.now()}`);
    const phases = exporter.getFinishedSpans().filter(({ name }) => name.startsWith('millrace.'));
    expect(phases.map(({ name, attributes }) => [name, attributes['error.type']])).toEqual([
      ['millrace.queue', undefined],
      ['millrace.run', 'ERR_WORKER_CRASHED'],
      ['millrace.queue', undefined],
      ['millrace.retry', undefined],
    ]);
    const [began] = named('m.key').startTime;
    expect(Math.abs(began - Date.now() / 1000)).toBeLessThan(60);
    expect(named('m.key').attributes['millrace.attempts']).toBe(2);
  });

  test('measures calls, and reads the pools that it is given', async () => {
    const metrics = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
    const reader = new PeriodicExportingMetricReader({ exporter: metrics, exportIntervalMillis: 1_000_000 });
    const meterProvider = new MeterProvider({ readers: [reader] });
    instrumentation.disable();
    instrumentation = new MillraceInstrumentation({ enabled: false });
    const unregister = registerInstrumentations({
      instrumentations: [instrumentation],
      meterProvider,
      tracerProvider: provider,
    });
    await using pool = createPool();
    const stop = instrumentation.observe(pool, 'shop');
    const model = pool.register('m', { operations: { upper }, load });
    await Promise.all([model.call('upper', 'a'), model.call('upper', 'b')]);
    await reader.forceFlush();
    const found = metrics.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics.flatMap((scope) => scope.metrics));
    const points = (name: string) => found.find(({ descriptor }) => descriptor.name === name)?.dataPoints ?? [];
    for (const name of ['millrace.call.duration', 'millrace.queue.duration', 'millrace.run.duration']) {
      expect(points(name)).toMatchObject([{ value: { count: 2 }, attributes: { 'millrace.outcome': 'succeeded' } }]);
    }
    const ofModel = { 'millrace.pool': 'shop', 'millrace.model': 'm' };
    expect(points('millrace.pool.calls')).toContainEqual(
      expect.objectContaining({
        value: 2,
        attributes: { ...ofModel, 'millrace.operation': 'upper', 'millrace.outcome': 'succeeded' },
      }),
    );
    expect(points('millrace.pool.worker.starts')).toMatchObject([{ value: 1, attributes: ofModel }]);
    expect(points('millrace.pool.breaker').map(({ value }) => value)).toEqual([1, 0, 0]);
    expect(points('millrace.pool.memory.limit')[0]?.value).toBeGreaterThan(1e6);
    stop();
    await meterProvider.shutdown();
    unregister();
    exporter.reset();
    await model.call('upper', 'unseen');
    expect(exporter.getFinishedSpans()).toEqual([]);
  });

  test('without phases has the span of the call alone; refuses unknown options', async () => {
    instrumentation.setConfig({ phases: false });
    await using pool = createPool();
    const model = pool.register('m', { operations: { upper }, load });
    await model.call('upper', 'a');
    expect(exporter.getFinishedSpans().map(({ name }) => name)).toEqual(['m.upper']);
    expect(() => new MillraceInstrumentation({ phase: true } as never)).toThrow("unknown option 'phase'");
  });

  test('has the version of the package', async () => {
    const text = await readFile(path.join(import.meta.dirname, '../../package.json'), 'utf8');
    expect(instrumentation.instrumentationVersion).toBe((JSON.parse(text) as { version: string }).version);
  });
});
