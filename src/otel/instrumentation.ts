/**
 * Millrace as an OpenTelemetry instrumentation: listens to `tracing:millrace:call` and makes spans and measurements of it.
 */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import {
  type Attributes,
  type Histogram,
  type MeterProvider,
  metrics,
  type Span,
  SpanKind,
  type Tracer,
  type TracerProvider,
  trace,
} from '@opentelemetry/api';
import { fillOptions, type OptionTable, option, requireBoolean, requireString } from '../core/index.js';
import type { TracedCall } from '../pool/index.js';
import { failSpan, typeOf } from './fail-span.js';
import { SCOPE, VERSION } from './names.js';
import { type ObservedPool, observePools } from './pool-metrics.js';
import { parentOf, traceparentOf } from './traceparent.js';

/** Options of {@link MillraceInstrumentation}. */
export interface MillraceInstrumentationOptions {
  /** Whether it is at work from the start. True by default. */
  readonly enabled?: boolean | undefined;
  /** Spans for the waiting and the runs of a call, below the call's own. True by default. */
  readonly phases?: boolean | undefined;
}

const OPTIONS = {
  enabled: option(requireBoolean, true),
  phases: option(requireBoolean, true),
} satisfies OptionTable<MillraceInstrumentationOptions>;

const CHANNEL = 'tracing:millrace:call';
/** Bounds of durations in seconds: those of OpenTelemetry's HTTP metrics, and one below, for queues. */
const SECONDS = [0.001, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];

interface Instruments {
  readonly duration: Histogram;
  readonly queued: Histogram;
  readonly served: Histogram;
}

/** A call under way. */
interface OpenCall {
  readonly span: Span;
  /** When it began, in ms since 1970. */
  readonly startedAt: number;
}

/**
 * Makes spans and metrics of every call to every pool of the process, and hands the call's `traceparent` to the model, in whatever host it runs.
 *
 * It has the methods that `registerInstrumentations()` and `NodeSDK` expect. Spans: `<model>.<operation>` for the call (kind client where the pool is
 * remote), and below it `millrace.queue`, `millrace.run` and, after a lost worker, `millrace.retry`. A call is a child of the active span, or of the
 * `traceparent` that it was given. Metrics: `millrace.call.duration`, `millrace.queue.duration` and `millrace.run.duration` in seconds, and those of the
 * pools given to {@link observe}. None of them carries inputs or outputs.
 *
 * A call costs what its spans cost: about as much as four spans made by hand.
 *
 * @example
 * ```ts
 * const instrumentation = new MillraceInstrumentation();
 * // registerInstrumentations({ instrumentations: [instrumentation] }), or new NodeSDK({ instrumentations: [instrumentation] })
 * instrumentation.disable();
 * ```
 */
export class MillraceInstrumentation {
  readonly instrumentationName: string = SCOPE;
  readonly instrumentationVersion: string = VERSION;
  #config: { readonly enabled: boolean; readonly phases: boolean };
  #tracer: Tracer = trace.getTracer(SCOPE, VERSION);
  #meterProvider: MeterProvider | undefined;
  #instruments: Instruments | undefined;
  #isEnabled = false;
  #stopObserving: (() => void) | undefined;
  readonly #calls: WeakMap<TracedCall, OpenCall> = new WeakMap();
  readonly #pools: Map<ObservedPool, string> = new Map();

  /** @param options See {@link MillraceInstrumentationOptions}; unknown keys are refused. */
  constructor(options: MillraceInstrumentationOptions = {}) {
    this.#config = fillOptions('Cannot create instrumentation', options, OPTIONS);
    if (this.#config.enabled) this.enable();
  }

  /** Begins to listen. Calls that are under way are left out. */
  enable(): void {
    if (this.#isEnabled) return;
    this.#isEnabled = true;
    subscribe(`${CHANNEL}:start`, this.#onStart);
    subscribe(`${CHANNEL}:asyncEnd`, this.#onEnd);
    this.#observePools();
  }

  /** Listens no more. Spans of calls under way end when they are answered only if it is enabled again by then. */
  disable(): void {
    if (!this.#isEnabled) return;
    this.#isEnabled = false;
    unsubscribe(`${CHANNEL}:start`, this.#onStart);
    unsubscribe(`${CHANNEL}:asyncEnd`, this.#onEnd);
    this.#stopObserving?.();
    this.#stopObserving = undefined;
  }

  /** Where its spans go; the global provider by default. */
  setTracerProvider(provider: TracerProvider): void {
    this.#tracer = provider.getTracer(SCOPE, VERSION);
  }

  /** Where its metrics go; the global provider by default, as it is when the first of them is measured. */
  setMeterProvider(provider: MeterProvider): void {
    this.#meterProvider = provider;
    this.#instruments = undefined;
    if (!this.#isEnabled) return;
    this.#stopObserving?.();
    this.#stopObserving = undefined;
    this.#observePools();
  }

  getConfig(): { readonly enabled: boolean; readonly phases: boolean } {
    return this.#config;
  }

  /** Replaces the options; what is left out is as by default. `enabled` counts at its making only: see {@link enable}. */
  setConfig(options: MillraceInstrumentationOptions): void {
    this.#config = fillOptions('Cannot configure instrumentation', options, OPTIONS);
  }

  /**
   * Reads a pool's counts whenever the meter collects: calls by outcome, queue, workers, memory, breaker. It keeps the pool: end it when the pool is closed.
   *
   * @param pool A pool of any kind.
   * @param name Its name in the attributes.
   * @returns Ends it.
   * @example
   * ```ts
   * const pool = createPool({ name: 'text' });
   * const instrumentation = new MillraceInstrumentation();
   * const stop = instrumentation.observe(pool, 'text');
   * stop();
   * instrumentation.disable();
   * await pool.close();
   * ```
   */
  observe(pool: ObservedPool, name: string): () => void {
    requireString('Cannot observe pool', 'name', name);
    this.#pools.set(pool, name);
    if (this.#isEnabled) this.#observePools();
    return () => {
      this.#pools.delete(pool);
      if (this.#pools.size > 0) return;
      this.#stopObserving?.();
      this.#stopObserving = undefined;
    };
  }

  #observePools(): void {
    if (this.#pools.size === 0 || this.#stopObserving !== undefined) return;
    this.#stopObserving = observePools(this.#meter, this.#pools);
  }

  get #meter(): ReturnType<MeterProvider['getMeter']> {
    return (this.#meterProvider ?? metrics).getMeter(SCOPE, VERSION);
  }

  readonly #onStart = (message: unknown): void => {
    const call = message as TracedCall;
    const span = this.#tracer.startSpan(
      `${call.model}.${call.operation}`,
      { kind: call.host === 'remote' ? SpanKind.CLIENT : SpanKind.INTERNAL, attributes: attributesOf(call) },
      parentOf(call.traceparent),
    );
    call.traceparent = traceparentOf(span.spanContext()) ?? call.traceparent;
    this.#calls.set(call, { span, startedAt: Date.now() });
  };

  readonly #onEnd = (message: unknown): void => {
    const call = message as TracedCall;
    this.#measure(call);
    const open = this.#calls.get(call);
    if (open === undefined) return;
    this.#calls.delete(call);
    const { span, startedAt } = open;
    if (this.#config.phases && span.isRecording()) this.#tellPhases(call, open);
    span.setAttributes({
      'millrace.outcome': call.outcome ?? 'refused',
      'millrace.attempts': call.attempts,
      'millrace.coalesced': call.coalesced,
      ...(call.worker === undefined ? {} : { 'millrace.worker': call.worker }),
    });
    // One that was given up by its caller has not failed.
    if (call.outcome === 'cancelled') span.setAttribute('error.type', typeOf(call.error));
    else if (call.outcome !== 'succeeded') failSpan(span, call.error);
    span.end(startedAt + (call.queuedMs ?? 0) + (call.servedMs ?? 0));
  };

  // The spans below that of a call are made at its end, with the times that the pool has kept.
  #tellPhases(call: TracedCall, { span, startedAt }: OpenCall): void {
    const inCall = trace.setSpan(parentOf(undefined), span);
    const tell = (name: string, fromMs: number, toMs: number, attributes: Attributes, error?: unknown): void => {
      const phase = this.#tracer.startSpan(name, { startTime: startedAt + fromMs, attributes }, inCall);
      if (error !== undefined) failSpan(phase, error);
      phase.end(startedAt + toMs);
    };
    let fromMs = 0;
    for (const [index, { worker, startedMs, endedMs = startedMs, error }] of call.runs.entries()) {
      tell('millrace.queue', fromMs, startedMs, {});
      tell(index === 0 ? 'millrace.run' : 'millrace.retry', startedMs, endedMs, { 'millrace.worker': worker }, error);
      fromMs = endedMs;
    }
    if (call.runs.length === 0) tell('millrace.queue', 0, call.queuedMs ?? 0, {});
  }

  #measure(call: TracedCall): void {
    const { duration, queued, served } = this.#histograms();
    const attributes: Attributes = { ...attributesOf(call), 'millrace.outcome': call.outcome ?? 'refused' };
    if (call.outcome !== 'succeeded') attributes['error.type'] = typeOf(call.error);
    const { queuedMs = 0, servedMs } = call;
    duration.record((queuedMs + (servedMs ?? 0)) / 1000, attributes);
    queued.record(queuedMs / 1000, attributes);
    if (servedMs !== undefined) served.record(servedMs / 1000, attributes);
  }

  #histograms(): Instruments {
    if (this.#instruments === undefined) {
      const meter = this.#meter;
      const histogram = (name: string, description: string): Histogram =>
        meter.createHistogram(name, { unit: 's', description, advice: { explicitBucketBoundaries: SECONDS } });
      this.#instruments = {
        duration: histogram('millrace.call.duration', 'From the call to its answer.'),
        queued: histogram('millrace.queue.duration', 'From the call to the worker that answered.'),
        served: histogram('millrace.run.duration', 'From that worker to the answer.'),
      };
    }
    return this.#instruments;
  }
}

function attributesOf({ pool, model, operation, priority, host }: TracedCall): Attributes {
  return {
    'millrace.pool': pool,
    'millrace.model': model,
    'millrace.operation': operation,
    'millrace.priority': priority,
    'millrace.host': host,
  };
}
