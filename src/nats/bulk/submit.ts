/**
 * Stores the jobs of a run in the order of their list, so that a job's index is its place in it.
 *
 * Invariants:
 * - The run's record says which names may have been stored (`intended`) before the first of them is, and which certainly are (`submitted`) after the
 *   last: a submit that was killed anywhere goes on from `submitted`, and finds out whether the list still begins with the same names.
 * - What lies between the two is stored again and refused by the server where it waits already; where it is done already, the worker that gets it finds
 *   the result.
 */
import { createHash, type Hash } from 'node:crypto';
import { BulkInputChangedError, BulkStateError } from '../errors.js';
import type { JetStream } from '../jetstream.js';
import { writeBody } from './body.js';
import type { ServiceNames } from './names.js';
import { Parts } from './parts.js';
import { storePatiently } from './patient-store.js';
import { type RunRecord, type RunRecords, stateOf } from './run-record.js';

/** One job of a list. */
export interface BulkInput {
  /** What its result is called; need not be unique. */
  readonly name: string;
  /**
   * Reads what the worker gets, when it is this job's turn.
   *
   * @returns The operation and its input. An error that it throws is the job's result.
   */
  read():
    | Promise<{ readonly operation: string; readonly input: unknown }>
    | { readonly operation: string; readonly input: unknown };
}

/** Options of `submit`. */
export interface BulkSubmitOptions {
  /** Stops it; what was stored stays, and the next submit goes on from there. */
  readonly signal?: AbortSignal | undefined;
  /** Called with the number of jobs that are stored. */
  readonly onProgress?: ((submitted: number) => void) | undefined;
  /** Called when the queue is full and the submit waits for workers. */
  readonly onFull?: (() => void) | undefined;
}

/** What a submit did. */
export interface BulkSubmitted {
  /** How many jobs the run has. */
  readonly total: number;
  /** How many of them this call stored. */
  readonly stored: number;
  /** How many could not be read; each has its result already. */
  readonly unreadable: number;
}

/** How many jobs are intended at once. */
const CHUNK = 512;
/** How many jobs and bytes are on their way at once: the client has no backpressure of its own. */
const MAX_UNDER_WAY = 256;
const MAX_BYTES_UNDER_WAY = 16_000_000;

export const NEW_RUN: Omit<RunRecord, 'createdAt'> = {
  version: 1,
  submitted: 0,
  submittedDigest: '',
  intended: 0,
  intendedDigest: '',
  isSubmitted: false,
  isPaused: false,
  isCancelled: false,
  isComplete: false,
};

/** Stores the jobs of a run. */
export class Submission {
  readonly #js: JetStream;
  readonly #names: ServiceNames;
  readonly #records: RunRecords;
  readonly #run: string;
  readonly #options: BulkSubmitOptions;
  readonly #parts: Parts;
  readonly #digest: Hash = createHash('sha256');
  #stored = 0;
  #unreadable = 0;

  constructor(js: JetStream, names: ServiceNames, records: RunRecords, run: string, options: BulkSubmitOptions) {
    this.#js = js;
    this.#names = names;
    this.#records = records;
    this.#run = run;
    this.#options = options;
    this.#parts = new Parts(js, names, (subject, data) => this.#store(subject, data));
  }

  async submit(inputs: Iterable<BulkInput> | AsyncIterable<BulkInput>): Promise<BulkSubmitted> {
    const before = await this.#records.get(this.#run);
    let index = 0;
    let chunk: BulkInput[] = [];
    for await (const input of inputs) {
      this.#options.signal?.throwIfAborted();
      this.#digest.update(`${input.name}\0`);
      index += 1;
      if (index > before.submitted) chunk.push(input);
      this.#compare(before, index);
      // A chunk ends where an earlier one was intended to, so that the record's digest is compared before it is replaced.
      if (chunk.length >= CHUNK || index === before.intended) {
        await this.#storeChunk(index - chunk.length, chunk, before);
        chunk = [];
      }
    }
    if (index < before.intended) {
      throw this.#changed(
        `it has ${before.intended} inputs${before.isSubmitted ? '' : ' or more'}, this list has ${index}`,
      );
    }
    if (before.isSubmitted && index > before.intended) {
      throw this.#changed(`it has ${before.intended} inputs, this list has ${index}`);
    }
    if (chunk.length > 0) await this.#storeChunk(index - chunk.length, chunk, before);
    await this.#records.update(this.#run, (record) =>
      record.isSubmitted ? undefined : { ...record, isSubmitted: true },
    );
    return { total: index, stored: this.#stored, unreadable: this.#unreadable };
  }

  #compare(before: RunRecord, index: number): void {
    if (index === before.submitted || index === before.intended) {
      const expected = index === before.submitted ? before.submittedDigest : before.intendedDigest;
      if (this.#digestNow() !== expected)
        throw this.#changed(`one of the first ${index} inputs has another name or place`);
    }
  }

  #digestNow(): string {
    return this.#digest.copy().digest('hex');
  }

  #changed(how: string): BulkInputChangedError {
    return new BulkInputChangedError(`Cannot submit run '${this.#run}' again: ${how}; use another id`);
  }

  async #storeChunk(first: number, chunk: readonly BulkInput[], before: RunRecord): Promise<void> {
    const end = first + chunk.length;
    if (chunk.length === 0) return;
    if (before.isSubmitted) throw this.#changed(`it has ${before.intended} inputs, this list has more`);
    const digest = this.#digestNow();
    this.#requireOpen(
      await this.#records.update(this.#run, (record) => {
        if (record.intended >= end) return undefined;
        return { ...record, intended: end, intendedDigest: digest };
      }),
    );
    await this.#storeAll(first, chunk);
    this.#requireOpen(
      await this.#records.update(this.#run, (record) => {
        if (record.submitted >= end) return undefined;
        return { ...record, submitted: end, submittedDigest: digest };
      }),
    );
    this.#options.onProgress?.(end);
  }

  #requireOpen(record: RunRecord): void {
    if (stateOf(record) !== 'cancelled') return;
    throw new BulkStateError(`Cannot submit run '${this.#run}': it is cancelled; use another id`);
  }

  async #storeAll(first: number, chunk: readonly BulkInput[]): Promise<void> {
    let next = 0;
    let bytesUnderWay = 0;
    let room: (() => void) | undefined;
    const work = async (): Promise<void> => {
      while (next < chunk.length) {
        while (bytesUnderWay > MAX_BYTES_UNDER_WAY) {
          await new Promise<void>((resolve) => {
            const others = room;
            room = () => {
              others?.();
              resolve();
            };
          });
        }
        if (next >= chunk.length) return;
        const place = next++;
        let size = 0;
        await this.#storeOne(first + place, chunk[place] as BulkInput, (bytes) => {
          size = bytes;
          bytesUnderWay += bytes;
        });
        bytesUnderWay -= size;
        room?.();
        room = undefined;
      }
    };
    await Promise.all(Array.from({ length: Math.min(MAX_UNDER_WAY, chunk.length) }, work));
  }

  async #storeOne(index: number, input: BulkInput, onSize: (bytes: number) => void): Promise<void> {
    this.#options.signal?.throwIfAborted();
    let job: { readonly operation: string; readonly input: unknown };
    try {
      job = await input.read();
    } catch (error) {
      await this.#storeUnreadable(index, input.name, error);
      return;
    }
    if (job.input instanceof Uint8Array) onSize(job.input.length);
    const head = { name: input.name, operation: job.operation };
    const message = await this.#parts.write(this.#run, index, head, job.input);
    if (await this.#store(this.#names.job(this.#run, index), message)) this.#stored += 1;
  }

  async #storeUnreadable(index: number, name: string, thrown: unknown): Promise<void> {
    const { code, message } = thrown as { code?: unknown; message?: unknown };
    const error = {
      code: typeof code === 'string' ? code : 'ERR_UNKNOWN',
      message: typeof message === 'string' ? message : String(thrown),
    };
    this.#unreadable += 1;
    const body = writeBody({ name, outcome: 'failed', error }, undefined);
    await this.#store(this.#names.result(this.#run, index), body, { 'Millrace-Outcome': 'failed' });
  }

  async #store(subject: string, data: Uint8Array, headers?: Readonly<Record<string, string>>): Promise<boolean> {
    const { signal, onFull } = this.#options;
    return await storePatiently(this.#js, subject, data, {
      signal,
      onFull,
      ...(headers === undefined ? {} : { headers }),
    });
  }
}
