import { BulkFormatError, BulkRunNotFoundError } from '../errors.js';
import type { JetStream } from '../jetstream.js';
import type { ServiceNames } from './names.js';

/** The state of a run, beside its jobs and results. */
export interface RunRecord {
  readonly version: 1;
  readonly createdAt: string;
  /** How many jobs are certainly stored, and a digest of their names in order. */
  readonly submitted: number;
  readonly submittedDigest: string;
  /** How many may have been stored, written before they are. */
  readonly intended: number;
  readonly intendedDigest: string;
  readonly isSubmitted: boolean;
  readonly isPaused: boolean;
  readonly isCancelled: boolean;
  readonly isComplete: boolean;
  /** What the results are made with, set by the first worker: a digest to compare, and what a reader of the results wants to know. */
  readonly identity?: { readonly digest: string; readonly value: unknown } | undefined;
}

/** The state of a run, in a word. */
export type RunState = 'submitting' | 'running' | 'paused' | 'cancelled' | 'complete';

/** The state that a record says. */
export function stateOf({ isCancelled, isComplete, isPaused, isSubmitted }: RunRecord): RunState {
  if (isCancelled) return 'cancelled';
  if (isComplete) return 'complete';
  if (isPaused) return 'paused';
  return isSubmitted ? 'running' : 'submitting';
}

/** Reads and changes the records of runs. */
export class RunRecords {
  readonly #js: JetStream;
  readonly #names: ServiceNames;

  constructor(js: JetStream, names: ServiceNames) {
    this.#js = js;
    this.#names = names;
  }

  /** A run's record; undefined if there is none. */
  async find(run: string): Promise<RunRecord | undefined> {
    return (await this.#read(run))?.record;
  }

  /** A run's record. @throws BulkRunNotFoundError When there is none. */
  async get(run: string): Promise<RunRecord> {
    const record = await this.find(run);
    if (record === undefined) throw this.#notFound(run);
    return record;
  }

  /** The ids of all runs, in order of name. */
  async list(): Promise<string[]> {
    const subjects = await this.#js.subjects(this.#names.runs, this.#names.record('*'));
    return subjects.map((subject) => subject.slice(subject.lastIndexOf('.') + 1)).sort();
  }

  /** Makes a record, unless there is one. @returns The one there is then. */
  async create(run: string, record: RunRecord): Promise<RunRecord> {
    for (;;) {
      const found = await this.find(run);
      if (found !== undefined) return found;
      if (await this.#js.replace(this.#names.record(run), encode(record), 0)) return record;
    }
  }

  /**
   * Changes a record, safely beside other processes that do so.
   *
   * @param change Called with the record as it is; undefined leaves it so. May be called more than once.
   * @throws BulkRunNotFoundError When there is none.
   */
  async update(run: string, change: (record: RunRecord) => RunRecord | undefined): Promise<RunRecord> {
    for (;;) {
      const found = await this.#read(run);
      if (found === undefined) throw this.#notFound(run);
      const next = change(found.record);
      if (next === undefined) return found.record;
      if (await this.#js.replace(this.#names.record(run), encode(next), found.sequence)) return next;
    }
  }

  /** Deletes a record. */
  async remove(run: string): Promise<void> {
    await this.#js.purge(this.#names.runs, this.#names.record(run));
  }

  async #read(run: string): Promise<{ readonly record: RunRecord; readonly sequence: number } | undefined> {
    const stored = await this.#js.last(this.#names.runs, this.#names.record(run));
    if (stored === undefined || stored.data.length === 0) return undefined;
    return { record: decode(run, stored.data), sequence: stored.sequence };
  }

  #notFound(run: string): BulkRunNotFoundError {
    return new BulkRunNotFoundError(
      `Cannot find bulk run '${run}': the service ${this.#names.service} has none of that id`,
    );
  }
}

function encode(record: RunRecord): Uint8Array {
  return Buffer.from(JSON.stringify(record));
}

function decode(run: string, data: Uint8Array): RunRecord {
  const record = JSON.parse(Buffer.from(data).toString()) as RunRecord;
  if (record.version === 1) return record;
  throw new BulkFormatError(`Cannot read bulk run '${run}': expected version 1, found ${String(record.version)}`);
}
