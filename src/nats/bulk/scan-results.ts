import type { JetStream } from '../jetstream.js';
import type { BulkOutcome } from './bulk-worker.js';
import { indexOf, type ServiceNames } from './names.js';
import { Pull } from './pull.js';
import { NANOSECONDS_PER_MS } from './streams.js';

const BATCH = 1_000;
const PULL_MS = 5_000;

/** The outcome of each index of a run that has a result. Reads the headers of all results, some 100,000 in a second. */
export async function scanResults(js: JetStream, names: ServiceNames, run: string): Promise<Map<number, BulkOutcome>> {
  for (;;) {
    const outcomes = await scanOnce(js, names, run);
    if (outcomes !== undefined) return outcomes;
  }
}

/** Undefined where the consumer was lost on the way, as when the server was restarted. */
async function scanOnce(
  js: JetStream,
  names: ServiceNames,
  run: string,
): Promise<Map<number, BulkOutcome> | undefined> {
  const action = `read the results of run ${run}`;
  const consumer = await js.ask<{ name: string; num_pending: number }>(action, `CONSUMER.CREATE.${names.results}`, {
    stream_name: names.results,
    config: {
      filter_subject: names.result(run, '*'),
      deliver_policy: 'all',
      ack_policy: 'none',
      headers_only: true,
      mem_storage: true,
      inactive_threshold: 30_000 * NANOSECONDS_PER_MS,
    },
  });
  const outcomes = new Map<number, BulkOutcome>();
  if (consumer === undefined) return outcomes;
  const { name, num_pending: expected } = consumer;
  for (let left = expected; left > 0; ) {
    const pull = new Pull(js, {
      stream: names.results,
      consumer: name,
      batch: Math.min(BATCH, left),
      waitMs: PULL_MS,
      onMessage: ({ subject, headers }) => {
        const outcome = headers?.get('Millrace-Outcome');
        outcomes.set(indexOf(subject), outcome === 'failed' || outcome === 'dead' ? outcome : 'ok');
      },
    });
    const { received, isGone } = await pull.done;
    left -= received;
    // Messages of a pull that broke off may be lost.
    if (isGone || (left > 0 && received < Math.min(BATCH, left + received))) return undefined;
  }
  await js.ask(action, `CONSUMER.DELETE.${names.results}.${name}`);
  return outcomes;
}
