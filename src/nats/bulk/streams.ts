import type { JetStream } from '../jetstream.js';
import type { ServiceNames } from './names.js';

/** Settings of a service's streams. They hold for streams that do not exist yet. */
export interface StreamSettings {
  /** How many servers of a cluster keep each message. */
  readonly replicas: number;
  /** The most bytes that wait as jobs, and again as parts of large ones. */
  readonly maxQueueBytes: number;
  /** How long results are kept, in ms. */
  readonly keepMs: number;
}

/** A server's clock counts nanoseconds. */
export const NANOSECONDS_PER_MS = 1_000_000;

/** Makes the streams of a service that are missing. Others are left as they are: an operator may have given them other limits. */
export async function ensureStreams(js: JetStream, names: ServiceNames, settings: StreamSettings): Promise<void> {
  const { service } = names;
  const one = {
    max_msgs_per_subject: 1,
    discard: 'new',
    storage: 'file',
    num_replicas: settings.replicas,
    allow_direct: true,
  };
  const perSubject = { ...one, discard_new_per_subject: true };
  const max_age = settings.keepMs * NANOSECONDS_PER_MS;
  const at = (kind: string): string => `millrace.${service}.${kind}.>`;
  await Promise.all([
    // The second job of an index is refused until the first one is done: a repeated submit adds nothing.
    ensure(js, names.jobs, {
      ...perSubject,
      subjects: [at('job')],
      retention: 'workqueue',
      max_bytes: settings.maxQueueBytes,
    }),
    // The second result of an index is refused: the first one counts.
    ensure(js, names.results, { ...perSubject, subjects: [at('result')], max_age }),
    ensure(js, names.parts, { ...one, subjects: [at('part')], max_bytes: settings.maxQueueBytes, max_age }),
    // Not in the stream of parts: what has to be noted of a job must not wait for room that the job itself takes.
    ensure(js, names.notes, { ...one, subjects: [at('attempts'), at('dead')], max_age }),
    ensure(js, names.runs, {
      ...one,
      subjects: [names.record('>')],
      allow_rollup_hdrs: true,
      deny_delete: true,
    }),
  ]);
}

async function ensure(js: JetStream, name: string, config: object): Promise<void> {
  if (await js.ask(`look at the stream ${name}`, `STREAM.INFO.${name}`)) return;
  await js.ask(`make the stream ${name}`, `STREAM.CREATE.${name}`, { name, ...config });
}

/** How long the server waits for a sign of life from a job's worker before it delivers the job again, in ms. */
export const ACK_WAIT_MS = 10_000;

/** Makes the consumer of a run's jobs, from which all workers pull. */
export async function ensureConsumer(
  js: JetStream,
  names: ServiceNames,
  run: string,
  ackWaitMs: number,
): Promise<void> {
  const name = names.consumer(run);
  if (await js.ask(`look at run ${run}`, `CONSUMER.INFO.${names.jobs}.${name}`)) return;
  await js.ask(`make the consumer of run ${run}`, `CONSUMER.DURABLE.CREATE.${names.jobs}.${name}`, {
    stream_name: names.jobs,
    config: {
      durable_name: name,
      filter_subject: names.job(run, '*'),
      ack_policy: 'explicit',
      ack_wait: ackWaitMs * NANOSECONDS_PER_MS,
      deliver_policy: 'all',
      max_deliver: -1,
      max_ack_pending: -1,
      max_waiting: 2_048,
    },
  });
}
