/**
 * Pulls jobs, runs them and stores their results.
 *
 * Invariants:
 * - It never holds more jobs than it has places, counting those that it has asked for.
 * - A job is acknowledged only after its result is stored. The results refuse a second one of the same index, so a job that ran twice has one result.
 * - A job that was begun three times without an end is not begun again. The first time counts as begun by being delivered again; the others are noted
 *   before they begin. The third one runs alone, so that a job that ends its worker is not mixed up with those beside it.
 */
import { describeThrown } from '../../core/index.js';
import { BulkPoisonError, BulkStateError } from '../errors.js';
import type { JetStream } from '../jetstream.js';
import type { NatsMessageLike } from '../nats-connection.js';
import { type ActiveRun, ActiveRuns, type BulkIdentity } from './active-runs.js';
import { type BodyHead, writeBody } from './body.js';
import { markComplete } from './completion.js';
import { HeldJob } from './held-job.js';
import type { ServiceNames } from './names.js';
import { Parts } from './parts.js';
import { storePatiently } from './patient-store.js';
import { Pull } from './pull.js';
import { RunGate } from './run-gate.js';
import type { RunRecords } from './run-record.js';
import { ACK_WAIT_MS } from './streams.js';

/** A job, as a worker gets it. */
export interface BulkJob {
  readonly run: string;
  readonly index: number;
  readonly name: string;
  readonly operation: string;
  readonly input: unknown;
  /** Aborts when the run is cancelled. */
  readonly signal: AbortSignal;
}

/** Runs a job. What it resolves with is stored; bytes and float32 vectors as they are, any other value as JSON. */
export type RunBulkJob = (job: BulkJob) => Promise<unknown>;

/** How a job ended. */
export type BulkOutcome = 'ok' | 'failed' | 'dead';

/** Options of `work`. */
export interface BulkWorkOptions {
  /** The ids to work on; all runs of the service by default. */
  readonly runs?: readonly string[] | undefined;
  /** How many jobs are held at once; a function is asked each time. 4 by default. */
  readonly places?: number | (() => number) | undefined;
  /** Ends it: jobs that run are finished, others are given back. */
  readonly signal?: AbortSignal | undefined;
  /** Whether it ends when no run waits for workers. */
  readonly untilDone?: boolean | undefined;
  /** What its results are made with. A run that was begun with another digest is refused. */
  readonly identity?: (() => Promise<BulkIdentity>) | undefined;
  /** Whether a failure would befall every other job too: then the job is given back, and `work` rejects with it. */
  readonly isFatal?: ((error: unknown) => boolean) | undefined;
  /** How long the server waits for a sign of life before it delivers a job again, in ms; of runs that this worker is the first to see. 10,000 by default. */
  readonly ackWaitMs?: number | undefined;
  /** How long a job that failed by the model's fault waits for its second attempt, in ms; 1,000 by default. */
  readonly retryMs?: number | undefined;
  /** Called for each result that this worker stored. */
  readonly onResult?:
    | ((result: {
        readonly run: string;
        readonly name: string;
        readonly outcome: BulkOutcome;
        readonly error?: unknown;
      }) => void)
    | undefined;
  /** Called once for each run that is made with another model. */
  readonly onUnfit?: ((run: string, error: Error) => void) | undefined;
}

/** What a worker did. */
export interface BulkWorked {
  readonly ok: number;
  readonly failed: number;
  readonly dead: number;
  /** Jobs whose result was there already. */
  readonly repeated: number;
}

const MAX_ATTEMPTS = 3;
const PULL_MS = 5_000;
const IDLE_MS = 250;
const COMPLETE_CHECK_MS = 500;
/** How long a job of a paused run stays away, in ms; it is not pulled meanwhile. */
const PAUSED_MS = 1_000;

export class BulkWorker {
  readonly #js: JetStream;
  readonly #names: ServiceNames;
  readonly #records: RunRecords;
  readonly #work: RunBulkJob;
  readonly #options: BulkWorkOptions;
  readonly #parts: Parts;
  readonly #runs: ActiveRuns;
  readonly #gate = new RunGate();
  readonly #held = new Set<HeldJob>();
  readonly #pulls = new Set<Pull>();
  readonly #counts = { ok: 0, failed: 0, dead: 0, repeated: 0 };
  readonly #checkedAt = new Map<string, number>();
  #isStopping = false;
  #failure: { readonly error: unknown } | undefined;
  #wake: (() => void) | undefined;
  #isWoken = false;

  constructor(js: JetStream, names: ServiceNames, records: RunRecords, work: RunBulkJob, options: BulkWorkOptions) {
    this.#js = js;
    this.#names = names;
    this.#records = records;
    this.#work = work;
    this.#options = options;
    this.#parts = new Parts(js, names, (subject, data) => storePatiently(js, subject, data));
    const { runs, ackWaitMs = ACK_WAIT_MS, identity, onUnfit } = options;
    this.#runs = new ActiveRuns(js, names, records, { only: runs, ackWaitMs, identity, onUnfit }, () => this.#notify());
  }

  /** Works until it is stopped, or there is nothing more to do. */
  async run(): Promise<BulkWorked> {
    const { signal } = this.#options;
    const onAbort = (): void => {
      this.#isStopping = true;
      this.#notify();
    };
    if (signal?.aborted) onAbort();
    signal?.addEventListener('abort', onAbort);
    let beat: NodeJS.Timeout | undefined;
    try {
      let turn = 0;
      let inVain = 0;
      while (!this.#isEnding) {
        const runs = await this.#runs.list();
        this.#dropCancelled();
        beat ??= this.#beginBeats(runs);
        if (runs.length === 0) {
          if (this.#options.untilDone && this.#held.size === 0) break;
          await this.#pause();
          continue;
        }
        const room = this.#room();
        // Few large requests instead of many small ones, but no idle place for long.
        if (room < Math.max(1, Math.floor(this.#places() / 4))) {
          await this.#pause();
          continue;
        }
        const run = runs[turn++ % runs.length] as ActiveRun;
        if (runs.length === 1) {
          void this.#pull(run, room, PULL_MS);
          continue;
        }
        const { received } = await this.#pull(run, room, 0);
        inVain = received > 0 ? 0 : inVain + 1;
        if (inVain === 0) continue;
        if (inVain % runs.length === 0) await this.#pause(IDLE_MS);
      }
      await this.#finish();
    } finally {
      clearInterval(beat);
      signal?.removeEventListener('abort', onAbort);
      this.#runs.stop();
    }
    if (this.#failure !== undefined) throw this.#failure.error;
    return { ...this.#counts };
  }

  #places(): number {
    const { places = 4 } = this.#options;
    return typeof places === 'function' ? places() : places;
  }

  #room(): number {
    let open = 0;
    for (const pull of this.#pulls) open += pull.open;
    return this.#places() - this.#held.size - open;
  }

  async #pull(run: ActiveRun, batch: number, waitMs: number): Promise<{ readonly received: number }> {
    const pull = new Pull(this.#js, {
      stream: this.#names.jobs,
      consumer: this.#names.consumer(run.id),
      batch,
      waitMs,
      onMessage: (message) => this.#take(message),
    });
    this.#pulls.add(pull);
    const pulled = await pull.done;
    this.#pulls.delete(pull);
    // Nothing is waiting: it may be because all are done.
    if (pulled.received === 0 && !this.#isEnding)
      await this.#complete({ run: run.id }).catch((error: unknown) => this.#fatal(error));
    this.#notify();
    return pulled;
  }

  #take(message: NatsMessageLike): void {
    const job = new HeldJob(this.#js.nats, message);
    this.#held.add(job);
    void this.#process(job)
      .catch((error: unknown) => this.#fatal(error))
      .finally(() => {
        this.#held.delete(job);
        this.#notify();
      });
  }

  async #process(job: HeldJob): Promise<void> {
    const { run, index } = job;
    if ((await this.#js.last(this.#names.results, this.#names.result(run, index))) !== undefined) {
      this.#counts.repeated += 1;
      job.acknowledge();
      await this.#complete(job);
      return;
    }
    const attempts = job.deliveries > 1 ? await this.#attemptsOf(job) : 0;
    let read: ReadJob;
    try {
      read = { ...(await this.#parts.read(run, index, job.data)), attempts };
    } catch (error) {
      if ((error as { code?: unknown }).code !== 'ERR_BULK_FORMAT') throw error;
      await this.#store(job, { head: { name: `job ${index}` }, hasParts: false, attempts }, 'failed', error);
      return;
    }
    if (attempts >= MAX_ATTEMPTS) {
      const why = `it was begun ${attempts} times, and each time its worker ended, or lost the server, before the job did`;
      await this.#store(job, read, 'dead', new BulkPoisonError(`Cannot run ${read.head.name}: ${why}`));
      return;
    }
    await this.#gate.enter(attempts >= MAX_ATTEMPTS - 1);
    try {
      // It may have waited behind one that ran alone.
      if (this.#isEnding || !this.#runs.isActive(run)) await this.#decline(job, attempts);
      else await this.#begin(job, read);
    } finally {
      this.#gate.leave();
    }
  }

  async #begin(job: HeldJob, read: ReadJob): Promise<void> {
    const { run, index, abort } = job;
    const { head, value, attempts } = read;
    if (job.deliveries > 1) await this.#noteAttempts(job, attempts + 1);
    let output: unknown;
    try {
      const { name, operation = '' } = head;
      output = await this.#work({ run, index, name, operation, input: value, signal: abort.signal });
    } catch (error) {
      await this.#fail(job, read, error);
      return;
    }
    await this.#store(job, read, 'ok', undefined, output);
  }

  async #fail(job: HeldJob, read: ReadJob, error: unknown): Promise<void> {
    const attempts = read.attempts + 1;
    if (this.#runs.isCancelled(job.run)) job.acknowledge();
    else if (this.#options.isFatal?.(error)) {
      this.#failure ??= { error };
      // This attempt says nothing of the job.
      await this.#noteAttempts(job, read.attempts);
      job.giveBack();
    } else if (isCallersFault(error)) await this.#store(job, read, 'failed', error);
    else if (attempts >= MAX_ATTEMPTS) await this.#store(job, read, 'dead', error);
    else {
      await this.#noteAttempts(job, attempts);
      job.giveBack((this.#options.retryMs ?? 1_000) * attempts);
    }
  }

  /** Stores a result, and then, once it is certainly stored, acknowledges its job. */
  async #store(
    job: HeldJob,
    read: Omit<ReadJob, 'value'>,
    outcome: BulkOutcome,
    error: unknown,
    output?: unknown,
  ): Promise<void> {
    const { run, index } = job;
    const { name } = read.head;
    // Kept before the result says that the job is dead, so that each dead one can be tried again.
    if (outcome === 'dead') await storePatiently(this.#js, this.#names.dead(run, index), job.data);
    const head: BodyHead = { name, outcome, ...(outcome === 'ok' ? {} : { error: describe(error) }) };
    const headers = outcome === 'ok' ? {} : { headers: { 'Millrace-Outcome': outcome } };
    const isFirst = await storePatiently(this.#js, this.#names.result(run, index), writeBody(head, output), headers);
    if (isFirst) {
      this.#counts[outcome] += 1;
      this.#options.onResult?.({ run, name, outcome, ...(outcome === 'ok' ? {} : { error }) });
    } else this.#counts.repeated += 1;
    // Two jobs never share a part, and a dead one keeps its own.
    if (read.hasParts && outcome !== 'dead') await this.#js.purge(this.#names.parts, this.#names.partsOf(run, index));
    job.acknowledge();
    if (job.behind === 0) await this.#complete(job);
  }

  /** A job that is not begun: its run was paused or cancelled, or this worker ends. */
  async #decline(job: HeldJob, attempts: number): Promise<void> {
    if (this.#runs.isCancelled(job.run)) {
      job.acknowledge();
      return;
    }
    // To be delivered and not begun is no attempt.
    await this.#noteAttempts(job, attempts);
    job.giveBack(this.#isEnding ? 0 : PAUSED_MS);
  }

  async #attemptsOf({ run, index }: HeldJob): Promise<number> {
    const note = await this.#js.last(this.#names.notes, this.#names.attempts(run, index));
    return note === undefined ? 1 : Number(Buffer.from(note.data).toString());
  }

  async #noteAttempts({ run, index }: HeldJob, attempts: number): Promise<void> {
    await storePatiently(this.#js, this.#names.attempts(run, index), Buffer.from(String(attempts)));
  }

  #fatal(error: unknown): void {
    this.#failure ??= { error };
  }

  get #isEnding(): boolean {
    return this.#isStopping || this.#failure !== undefined;
  }

  /** Marks a run as complete when each of its jobs has a result. */
  async #complete({ run }: { readonly run: string }): Promise<void> {
    const now = performance.now();
    if (now - (this.#checkedAt.get(run) ?? Number.NEGATIVE_INFINITY) < COMPLETE_CHECK_MS) return;
    this.#checkedAt.set(run, now);
    await markComplete(this.#js, this.#names, this.#records, run);
  }

  #dropCancelled(): void {
    for (const job of this.#held) {
      if (this.#runs.isCancelled(job.run)) job.abort.abort(new BulkStateError(`Run '${job.run}' is cancelled`));
    }
  }

  /** Tells the server three times within its patience that the jobs which are held are being worked on. */
  #beginBeats(runs: readonly ActiveRun[]): NodeJS.Timeout | undefined {
    if (runs.length === 0) return undefined;
    const shortest = Math.min(...runs.map(({ ackWaitMs }) => ackWaitMs));
    return setInterval(() => {
      for (const job of this.#held) job.keep();
    }, shortest / 3);
  }

  async #finish(): Promise<void> {
    await Promise.all([...this.#pulls].map((pull) => pull.stop()));
    while (this.#held.size > 0) await this.#pause();
    // Acknowledgements are on their way.
    if (this.#js.nats.isConnected) await this.#js.nats.connection.flush().catch(() => {});
  }

  #notify(): void {
    this.#isWoken = true;
    this.#wake?.();
  }

  /** Waits for something to change, at most for a time. */
  async #pause(ms?: number): Promise<void> {
    if (!this.#isWoken) {
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        if (ms !== undefined) timer = setTimeout(resolve, ms);
      });
      clearTimeout(timer);
      this.#wake = undefined;
    }
    this.#isWoken = false;
  }
}

interface ReadJob {
  readonly head: BodyHead;
  readonly value: unknown;
  readonly hasParts: boolean;
  /** How often it was begun before. */
  readonly attempts: number;
}

function isCallersFault(error: unknown): boolean {
  return (error as { fault?: unknown } | null)?.fault === 'caller';
}

function describe(error: unknown): { readonly code: string; readonly message: string } {
  const { code = 'ERR_UNKNOWN', message } = describeThrown(error);
  return { code, message };
}
