/**
 * What the dashboard shows, gathered from the pool and the server.
 *
 * Invariants:
 * - Workers are asked and measured, and states are made, only while there is a viewer; without one a tick reads the pool's counts for the five minutes
 *   of rates, and nothing else.
 * - No input and no vector is kept. A thumbnail is made only with `uiThumbnails`, while there is a viewer, in a process of its own.
 */
import { isMillraceError } from '../../core/index.js';
import type { ModelStats, PoolEvent, WorkerReport } from '../../pool/index.js';
import type { AnsweredItem, EmbeddingService } from '../service.js';
import type { AccessEntry } from '../options.js';
import { RateRing } from './rate-ring.js';
import type { DashboardAnswer, DashboardError, DashboardModel, DashboardState, DashboardWorker } from './state.js';
import { tallyMs, WorkerTallies } from './tallies.js';
import { type Thumbnails, startThumbnails } from './thumbnails.js';
import { Viewers } from './viewers.js';

const TICK_MS = 1_000;
const KEPT = 20;
const LONGEST_MESSAGE = 300;

/** The part of a model's state that is kept between ticks. */
interface ModelRecord {
  readonly rates: RateRing;
  readonly tallies: WorkerTallies;
  readonly waitMs: Record<string, number>;
}

/** Gathers the states of a server and sends them to its viewers. */
export class DashboardRecorder {
  readonly viewers: Viewers = new Viewers();
  readonly #service: EmbeddingService;
  readonly #startedAt = Date.now();
  readonly #models = new Map<string, ModelRecord>();
  /** Which model a worker belongs to. */
  readonly #modelOf = new Map<string, string>();
  readonly #errors: DashboardError[] = [];
  readonly #answers: DashboardAnswer[] = [];
  readonly #timer: NodeJS.Timeout;
  readonly #events: AsyncIterableIterator<PoolEvent>;
  readonly #stopObserving: () => void;
  #thumbnails: Thumbnails | undefined;
  #workers: readonly WorkerReport[] = [];
  #isRefreshing = false;
  #answered = 0;

  constructor(service: EmbeddingService) {
    this.#service = service;
    this.#events = service.pool.events();
    void this.#follow();
    this.#stopObserving = service.observe({
      onItem: (answered) => this.#noteItem(answered),
      onRequest: (entry) => this.#noteRequest(entry),
    });
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
    this.#timer.unref();
    this.#noteRates();
  }

  /** A stream of states for one viewer, as server-sent events: the first one at once, then one a second. */
  watch(): ReadableStream<Uint8Array> {
    const stream = this.viewers.add();
    void this.#refresh();
    return stream;
  }

  /** Ends the streams, and what makes thumbnails. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#stopObserving();
    this.viewers.close();
    await Promise.all([this.#events.return?.(), this.#stopThumbnails()]);
  }

  #tick(): void {
    this.#noteRates();
    if (this.viewers.size > 0) void this.#refresh();
    else void this.#stopThumbnails();
  }

  async #stopThumbnails(): Promise<void> {
    const thumbnails = this.#thumbnails;
    this.#thumbnails = undefined;
    await thumbnails?.close();
  }

  #noteRates(): void {
    const now = performance.now();
    for (const [key, stats] of Object.entries(this.#service.pool.stats().models)) {
      this.#modelOfKey(key).rates.note(answersOf(stats), now);
    }
  }

  /** Asks the workers, and sends what there is to all viewers. A worker that is slow to answer holds up the next tick and no request. */
  async #refresh(): Promise<void> {
    if (this.#isRefreshing) return;
    this.#isRefreshing = true;
    try {
      this.#noteWorkers(await this.#service.pool.workers());
      this.viewers.send(this.#state());
    } finally {
      this.#isRefreshing = false;
    }
  }

  #noteWorkers(reports: readonly WorkerReport[]): void {
    this.#workers = reports;
    this.#modelOf.clear();
    for (const { worker, model } of reports) this.#modelOf.set(worker, model);
    for (const [key, { tallies }] of this.#models) {
      const own = reports.filter(({ model }) => model === key);
      tallies.note(new Map(own.map(({ worker, health }) => [worker, health])));
    }
  }

  // --- what happens

  async #follow(): Promise<void> {
    for await (const event of this.#events) {
      if (event.type === 'start') this.#modelOf.set(event.worker, event.model);
      if (event.type === 'crash' || event.type === 'load-failure')
        this.#noteError(codeOf(event.error), textOf(event.error));
      // The rows of a worker's end and of its successor need not wait for the tick.
      if (this.viewers.size > 0 && event.type !== 'register') void this.#refresh();
    }
  }

  #noteItem({ model, item, result, error }: AnsweredItem): void {
    const { info } = result ?? {};
    if (info !== undefined) {
      const key = this.#modelOf.get(info.worker);
      if (key !== undefined) tallyMs(this.#modelOfKey(key).waitMs, info.queuedMs);
    }
    this.#answered += 1;
    const id = this.#answered;
    const answer: DashboardAnswer = {
      id,
      at: Date.now(),
      model,
      kind: item.kind === 'text' ? 'text' : 'picture',
      isOk: error === undefined,
      waitMs: info?.queuedMs,
      serviceMs: info?.serviceMs,
      thumbnail: undefined,
    };
    this.#answers.unshift(answer);
    this.#answers.length = Math.min(this.#answers.length, KEPT);
    if (item.kind === 'bytes' && answer.isOk) this.#addThumbnail(id, item.bytes);
  }

  #addThumbnail(id: number, bytes: Uint8Array): void {
    if (!this.#service.settings.uiThumbnails || this.viewers.size === 0) return;
    this.#thumbnails ??= startThumbnails();
    void this.#thumbnails.make(bytes).then((thumbnail) => {
      const index = this.#answers.findIndex((each) => each.id === id);
      const answer = this.#answers[index];
      if (answer !== undefined) this.#answers[index] = { ...answer, thumbnail };
    });
  }

  #noteRequest({ status, code, message }: AccessEntry): void {
    // What a client gave up is no error.
    if (status < 400 || status === 499) return;
    this.#noteError(code ?? String(status), message ?? '');
  }

  #noteError(code: string, message: string): void {
    const text = message.slice(0, LONGEST_MESSAGE);
    const index = this.#errors.findIndex((each) => each.code === code && each.message === text);
    const count = 1 + (index < 0 ? 0 : (this.#errors.splice(index, 1)[0]?.count ?? 0));
    this.#errors.unshift({ at: Date.now(), code, message: text, count });
    this.#errors.length = Math.min(this.#errors.length, KEPT);
  }

  // --- the state

  #state(): DashboardState {
    const { pool, admission, bodies, catalog, settings, isClosing } = this.#service;
    const { status, models, memory } = pool.health();
    const stats = pool.stats().models;
    return {
      at: Date.now(),
      version: settings.version,
      startedAt: this.#startedAt,
      status: isClosing ? 'closing' : status,
      hasKeys: settings.apiKeys.length > 0,
      hasThumbnails: settings.uiThumbnails,
      memory: { heldMb: megabytes(memory.heldBytes), limitMb: megabytes(memory.limitBytes) },
      server: {
        underWay: admission.underWay,
        limit: admission.limit,
        refused: admission.counts().refused,
        bodyMb: megabytes(bodies.used),
        bodyLimitMb: megabytes(bodies.limit),
      },
      served: catalog.models.map(({ name }) => name),
      models: Object.entries(models).map(([key, health]): DashboardModel => {
        const { rates, tallies, waitMs } = this.#modelOfKey(key);
        const { succeeded = 0, failed = 0, expired = 0, cancelled = 0, refused = 0 } = stats[key] ?? {};
        return {
          key,
          status: health.status,
          breaker: health.breaker,
          queued: health.queued,
          waiting: health.waiting,
          inFlight: health.inFlight,
          memoryMb: megabytes(health.memoryBytes),
          ...{ succeeded, failed, expired, cancelled, refused },
          p50Ms: health.latency.p50Ms,
          p99Ms: health.latency.p99Ms,
          rates: rates.rates,
          waitMs,
          decodeMs: tallies.sum('decodeMs'),
          runMs: tallies.sum('runMs'),
          batchSizes: tallies.sum('batchSizes'),
        };
      }),
      workers: this.#workers.map(workerRow),
      errors: this.#errors,
      answers: this.#answers,
    };
  }

  #modelOfKey(key: string): ModelRecord {
    let found = this.#models.get(key);
    if (found === undefined) {
      found = { rates: new RateRing(), tallies: new WorkerTallies(), waitMs: {} };
      this.#models.set(key, found);
    }
    return found;
  }
}

/** Pictures and texts that were answered: a question for the model's description is none. */
function answersOf({ operations }: ModelStats): number {
  let answers = 0;
  for (const [name, { succeeded }] of Object.entries(operations)) if (name !== 'describe') answers += succeeded;
  return answers;
}

function workerRow({ health: _, lastError, memoryMb, ...row }: WorkerReport): DashboardWorker {
  return {
    ...row,
    memoryMb: memoryMb === undefined ? undefined : Math.round(memoryMb),
    lastError:
      lastError === undefined ? undefined : `${codeOf(lastError)}: ${textOf(lastError)}`.slice(0, LONGEST_MESSAGE),
  };
}

function megabytes(bytes: number): number {
  return Math.round(bytes / 1e5) / 10;
}

function codeOf(error: unknown): string {
  return isMillraceError(error) ? error.code : 'ERR_UNKNOWN';
}

/** The first line of an error's message: what follows is the end of a worker's output. */
function textOf(error: unknown): string {
  return error instanceof Error ? (error.message.split('\n', 1)[0] as string) : 'unknown';
}
