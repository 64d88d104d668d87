import { BulkModelMismatchError } from '../errors.js';
import type { JetStream } from '../jetstream.js';
import type { ServiceNames } from './names.js';
import { type RunRecord, type RunRecords, stateOf } from './run-record.js';
import { ACK_WAIT_MS, ensureConsumer, NANOSECONDS_PER_MS } from './streams.js';

/** What results are made with: results of another digest do not go with them. */
export interface BulkIdentity {
  readonly digest: string;
  /** What a reader of the results is told; has to be JSON. */
  readonly value: unknown;
}

/** A run that jobs can be pulled from. */
export interface ActiveRun {
  readonly id: string;
  readonly record: RunRecord;
  readonly ackWaitMs: number;
}

/** Options of {@link ActiveRuns}. */
export interface ActiveRunsOptions {
  /** The ids to work on; all of the service by default. */
  readonly only: readonly string[] | undefined;
  readonly ackWaitMs: number;
  readonly identity: (() => Promise<BulkIdentity>) | undefined;
  /** Called with a run that this worker can't work on. */
  readonly onUnfit: ((run: string, error: BulkModelMismatchError) => void) | undefined;
}

const REFRESH_MS = 5_000;

/** The runs that wait for workers, kept up to date. */
export class ActiveRuns {
  readonly #js: JetStream;
  readonly #names: ServiceNames;
  readonly #records: RunRecords;
  readonly #options: ActiveRunsOptions;
  readonly #changed: () => void;
  readonly #stop: () => void;
  readonly #opened = new Map<string, number>();
  readonly #unfit = new Set<string>();
  #active: readonly ActiveRun[] = [];
  #cancelled = new Set<string>();
  #isStale = true;
  #isFirst = true;

  /** @param onChange Called when a record may have changed. */
  constructor(
    js: JetStream,
    names: ServiceNames,
    records: RunRecords,
    options: ActiveRunsOptions,
    onChange: () => void,
  ) {
    this.#js = js;
    this.#names = names;
    this.#records = records;
    this.#options = options;
    this.#changed = () => {
      this.#isStale = true;
      onChange();
    };
    // A change of a record is a message. It may be lost, so that the records are also read from time to time.
    const subscription = js.nats.listen(names.record('*'), this.#changed);
    const unwatch = js.nats.onReconnect(this.#changed);
    const timer = setInterval(this.#changed, REFRESH_MS);
    this.#stop = () => {
      clearInterval(timer);
      unwatch();
      if (!js.nats.connection.isClosed()) subscription.unsubscribe();
    };
  }

  /** The runs to pull from, as of the last change. @throws BulkModelMismatchError When a run that was named was made with another model. */
  async list(): Promise<readonly ActiveRun[]> {
    while (this.#isStale) {
      // Before the records are read, so that a change in the meantime is seen.
      this.#isStale = false;
      await this.#refresh();
    }
    return this.#active;
  }

  /** Whether jobs of a run are to be dropped. */
  isCancelled(run: string): boolean {
    return this.#cancelled.has(run);
  }

  /** Whether jobs of a run may be begun. */
  isActive(run: string): boolean {
    return this.#active.some(({ id }) => id === run);
  }

  stop(): void {
    this.#stop();
  }

  async #refresh(): Promise<void> {
    const ids = this.#options.only ?? (await this.#records.list());
    const cancelled = new Set<string>();
    const active: ActiveRun[] = [];
    for (const id of ids) {
      // A run that was named has to be there at first, and may be removed later.
      const record =
        this.#isFirst && this.#options.only !== undefined ? await this.#records.get(id) : await this.#records.find(id);
      const state = record === undefined ? 'cancelled' : stateOf(record);
      if (state === 'cancelled') cancelled.add(id);
      if (record === undefined || (state !== 'running' && state !== 'submitting')) continue;
      const ackWaitMs = await this.#open(id);
      if (ackWaitMs !== undefined) active.push({ id, record, ackWaitMs });
    }
    this.#isFirst = false;
    this.#cancelled = cancelled;
    this.#active = active;
  }

  /** Prepares a run, once: its consumer, and the model that its results are made with. @returns Its time of redelivery; undefined if it is not for this worker. */
  async #open(run: string): Promise<number | undefined> {
    const known = this.#opened.get(run);
    if (known !== undefined) return known;
    if (this.#unfit.has(run)) return undefined;
    await ensureConsumer(this.#js, this.#names, run, this.#options.ackWaitMs);
    const misfit = await this.#compareIdentity(run);
    if (misfit !== undefined) {
      if (this.#options.only !== undefined) throw misfit;
      this.#unfit.add(run);
      this.#options.onUnfit?.(run, misfit);
      return undefined;
    }
    const name = this.#names.consumer(run);
    const info = await this.#js.ask<{ config: { ack_wait: number } }>(
      `look at run ${run}`,
      `CONSUMER.INFO.${this.#names.jobs}.${name}`,
    );
    const ackWaitMs = info === undefined ? ACK_WAIT_MS : info.config.ack_wait / NANOSECONDS_PER_MS;
    this.#opened.set(run, ackWaitMs);
    return ackWaitMs;
  }

  async #compareIdentity(run: string): Promise<BulkModelMismatchError | undefined> {
    if (this.#options.identity === undefined) return undefined;
    const identity = await this.#options.identity();
    const record = await this.#records.update(run, (before) =>
      before.identity === undefined ? { ...before, identity } : undefined,
    );
    if (record.identity?.digest === identity.digest) return undefined;
    return new BulkModelMismatchError(
      `Cannot work on run '${run}': its results are made with another model, or with other settings, than this worker has`,
    );
  }
}
