import {
  type Check,
  faultOf,
  fillOptions,
  type OptionTable,
  option,
  positiveIntegerUpTo,
  required,
  requireFunction,
} from '../../core/index.js';
import { BulkStateError } from '../errors.js';
import { JetStream } from '../jetstream.js';
import { Nats } from '../nats.js';
import { type BulkWorked, BulkWorker, type BulkWorkOptions, type RunBulkJob } from './bulk-worker.js';
import { nameCheck, ServiceNames } from './names.js';
import { type BulkResult, readResults } from './results.js';
import { retryDead } from './retry-dead.js';
import { type RunRecord, RunRecords, stateOf } from './run-record.js';
import { type BulkStatus, statusOfRun } from './status.js';
import { ACK_WAIT_MS, ensureConsumer, ensureStreams } from './streams.js';
import { type BulkInput, type BulkSubmitOptions, type BulkSubmitted, NEW_RUN, Submission } from './submit.js';

/** Options of {@link openBulk}. */
export interface BulkOptions {
  /** A connection of `connectNats()`. */
  readonly nats: Nats;
  /** The service that the runs belong to: workers of one service take jobs of all its runs. */
  readonly service: string;
  /** How many servers of a cluster keep each message; 1 by default. Of streams that do not exist yet. */
  readonly replicas?: number | undefined;
  /** The most bytes that wait as jobs, and again as parts of large ones; 1 GiB by default. Of streams that do not exist yet. */
  readonly maxQueueBytes?: number | undefined;
  /** How long results are kept, in days; 7 by default. Of streams that do not exist yet. */
  readonly keepDays?: number | undefined;
  /** How long a request waits for a server that does not answer, in ms; 15,000 by default. `submit` and `work` wait for as long as it takes. */
  readonly patienceMs?: number | undefined;
}

const natsCheck: Check<Nats> = (action, name, value) => {
  if (value instanceof Nats) return value;
  throw faultOf(action, name, 'a connection of connectNats()', value);
};

const BULK_OPTIONS = {
  nats: required(natsCheck),
  service: required(nameCheck),
  replicas: option(positiveIntegerUpTo(5), 1),
  maxQueueBytes: option(positiveIntegerUpTo(2 ** 50), 2 ** 30),
  keepDays: option(positiveIntegerUpTo(3_650), 7),
  patienceMs: option(positiveIntegerUpTo(3_600_000), 15_000),
} satisfies OptionTable<BulkOptions>;

const DAY_MS = 86_400_000;

/** The bulk runs of a service. Made by {@link openBulk}. */
export class Bulk {
  readonly #js: JetStream;
  readonly #names: ServiceNames;
  readonly #records: RunRecords;

  /** @internal */
  constructor(js: JetStream, names: ServiceNames) {
    this.#js = js;
    this.#names = names;
    this.#records = new RunRecords(js, names);
  }

  /** The ids of all runs, in order of name. */
  async runs(): Promise<string[]> {
    return await this.#records.list();
  }

  /**
   * Stores the jobs of a run. Killed anywhere and called again with the same list, it goes on where it was.
   *
   * **Cancel safety:** cancel safe: what is stored stays, and the next call goes on from there.
   *
   * @param run Its id: letters, digits, `-` and `_`.
   * @param inputs Its jobs in their order, which is that of the results.
   * @returns How many it has.
   * @throws BulkInputChangedError When the run was submitted with other names, or in another order.
   * @throws BulkStateError When it is cancelled.
   */
  async submit(
    run: string,
    inputs: Iterable<BulkInput> | AsyncIterable<BulkInput>,
    options: BulkSubmitOptions = {},
  ): Promise<BulkSubmitted> {
    nameCheck('Cannot submit a run', 'id', run);
    const js = this.#lasting(options.signal);
    const records = new RunRecords(js, this.#names);
    await records.create(run, { ...NEW_RUN, createdAt: new Date().toISOString() });
    await ensureConsumer(js, this.#names, run, ACK_WAIT_MS);
    return await new Submission(js, this.#names, records, run, options).submit(inputs);
  }

  /**
   * Takes jobs and runs them, until its signal aborts.
   *
   * An error whose `fault` is `'caller'` is the job's result at once. After any other one the job is tried again, three times in all; then it is
   * dead, with the error as its result.
   *
   * **Cancel safety:** cancel safe: jobs that run are finished first, others are given back.
   *
   * @param run Runs one job.
   * @param options See {@link BulkWorkOptions}.
   * @returns What it did.
   * @throws BulkModelMismatchError When a run that it was told to work on is made with another model.
   */
  async work(run: RunBulkJob, options: BulkWorkOptions = {}): Promise<BulkWorked> {
    requireFunction('Cannot work', 'run', run);
    const js = this.#lasting();
    return await new BulkWorker(js, this.#names, new RunRecords(js, this.#names), run, options).run();
  }

  /**
   * Counts a run, and removes jobs that a killed server left in the queue although they have results.
   *
   * **Cancel safety:** takes no signal.
   *
   * @throws BulkRunNotFoundError When there is no such run.
   */
  async status(run: string): Promise<BulkStatus> {
    return await statusOfRun(this.#js, this.#names, this.#records, this.#require('look at', run));
  }

  /**
   * The results of a run so far, in order of index, any number of times.
   *
   * @throws BulkRunNotFoundError When there is no such run.
   */
  async *results(run: string): AsyncGenerator<BulkResult, void, void> {
    const { intended } = await this.#records.get(this.#require('read the results of', run));
    yield* readResults(this.#js, this.#names, run, intended);
  }

  /** Lets workers take no more jobs of a run. Those that they hold are finished. @throws BulkStateError When it is over. */
  async pause(run: string): Promise<void> {
    await this.#change('pause', run, (record) => ({ ...record, isPaused: true }));
  }

  /** Ends a pause. @throws BulkStateError When the run is over. */
  async resume(run: string): Promise<void> {
    await this.#change('resume', run, (record) => ({ ...record, isPaused: false }));
  }

  /** Ends a run: waiting jobs are dropped, running ones aborted, results stay. @throws BulkStateError When it is complete. */
  async cancel(run: string): Promise<void> {
    await this.#records.update(this.#require('cancel', run), (record) => {
      if (record.isComplete) throw new BulkStateError(`Cannot cancel run '${run}': it is complete`);
      return record.isCancelled ? undefined : { ...record, isCancelled: true };
    });
    await this.#dropQueue(run);
  }

  /**
   * Queues the dead jobs of a run again. Killed and called again it does the rest.
   *
   * @returns How many.
   * @throws BulkStateError When the run is cancelled.
   */
  async retryDead(run: string): Promise<number> {
    const record = await this.#records.get(this.#require('retry', run));
    if (record.isCancelled) throw new BulkStateError(`Cannot retry run '${run}': it is cancelled`);
    return await retryDead(this.#js, this.#names, this.#records, run);
  }

  /** Deletes a run with its jobs and results. Killed and called again it does the rest. @throws BulkRunNotFoundError When there is no such run. */
  async remove(run: string): Promise<void> {
    // Workers see that it is cancelled, and store nothing more.
    await this.#records.update(this.#require('remove', run), (record) =>
      record.isCancelled ? undefined : { ...record, isCancelled: true },
    );
    await this.#dropQueue(run);
    await this.#js.ask(`remove run ${run}`, `CONSUMER.DELETE.${this.#names.jobs}.${this.#names.consumer(run)}`);
    await this.#js.purge(this.#names.results, this.#names.result(run, '*'));
    await this.#js.purge(this.#names.notes, this.#names.dead(run, '*'));
    await this.#js.purge(this.#names.notes, this.#names.attempts(run, '*'));
    // Last, so that a call that was killed can be made again.
    await this.#records.remove(run);
  }

  async #dropQueue(run: string): Promise<void> {
    await this.#js.purge(this.#names.jobs, this.#names.job(run, '*'));
    await this.#js.purge(this.#names.parts, this.#names.partsOf(run));
  }

  async #change(verb: string, run: string, change: (record: RunRecord) => RunRecord): Promise<void> {
    await this.#records.update(this.#require(verb, run), (record) => {
      const state = stateOf(record);
      if (state === 'complete' || state === 'cancelled') {
        throw new BulkStateError(`Cannot ${verb} run '${run}': it is ${state}`);
      }
      return change(record);
    });
  }

  #require(verb: string, run: string): string {
    return nameCheck(`Cannot ${verb} a run`, 'id', run);
  }

  #lasting(signal?: AbortSignal): JetStream {
    return this.#js.withPatience({ patienceMs: Number.POSITIVE_INFINITY, signal });
  }
}

/**
 * Opens the bulk runs of a service: jobs that wait on a NATS server with JetStream until workers have done them, whatever dies meanwhile. Makes the
 * service's streams where they are missing.
 *
 * **Cancel safety:** takes no signal.
 *
 * @param options See {@link BulkOptions}; unknown keys are refused.
 * @throws TypeError, RangeError When an option is of the wrong type, out of range or unknown.
 * @throws NatsServerError When the server has no JetStream.
 * @throws NatsConnectionError When it does not answer.
 */
export async function openBulk(options: BulkOptions): Promise<Bulk> {
  const { nats, service, replicas, maxQueueBytes, keepDays, patienceMs } = fillOptions(
    'Cannot open bulk runs',
    options,
    BULK_OPTIONS,
  );
  nats.requireJetStream();
  const js = new JetStream(nats, { patienceMs });
  const names = new ServiceNames(service);
  await ensureStreams(js, names, { replicas, maxQueueBytes, keepMs: keepDays * DAY_MS });
  return new Bulk(js, names);
}
