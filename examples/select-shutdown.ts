/**
 * A loop over `select`: lines from standard input are written in batches. A batch is written when it is full, when its oldest line has waited for
 * 200 ms, when the input ends, or when the process is asked to stop. Lines that were read are then still written. A second Ctrl-C quits at once.
 *
 *     (echo one; sleep 9; seq 2 300) | npm run --silent example examples/select-shutdown.ts
 *
 * In a project that has millrace: `... | npx tsx select-shutdown.ts`.
 */
import { createInterface } from 'node:readline';
import { CancellationToken, createSelector, fromAsyncIterable, sleep, withEnd } from 'millrace/channels';

const BATCH_LINES = 100;
const BATCH_MS = 200;

const shutdown = new CancellationToken();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => shutdown.cancel(signal));

/** Writes a batch to a database, a queue or a file. Here it is printed. */
async function write(batch: readonly string[], why: string): Promise<void> {
  console.log(`${batch.length} lines (${why})`);
}

const input = createInterface({ input: process.stdin });
const lines = fromAsyncIterable(input, { capacity: BATCH_LINES });
const flush = sleep(Number.POSITIVE_INFINITY);
// Biased: the first ready arm wins, so a stream of lines can't delay the shutdown or the timer.
const selector = createSelector({ shutdown, flush, line: withEnd(lines) }, { biased: true });

let batch: string[] = [];
async function writeBatch(why: string): Promise<void> {
  flush.reset(Number.POSITIVE_INFINITY);
  if (batch.length === 0) return;
  const full = batch;
  batch = [];
  await write(full, why);
}

async function run(): Promise<void> {
  for (;;) {
    const event = await selector.next();
    switch (event.arm) {
      case 'line':
        if (event.value.done) return writeBatch('end of input');
        if (batch.length === 0) flush.reset(BATCH_MS);
        batch.push(event.value.value);
        if (batch.length >= BATCH_LINES) await writeBatch('full');
        break;
      case 'flush':
        await writeBatch('timer');
        break;
      case 'shutdown': {
        // Nothing more is read. The channel ends after the lines that were read.
        input.close();
        for await (const line of lines) batch.push(line);
        return writeBatch(`stopped by ${String(event.value)}`);
      }
      case null: // no arm is left that could win; a timer always can
        return;
    }
  }
}

try {
  await run();
} catch (error) {
  console.error(`Cannot go on: ${(error as Error).message}`);
  process.exitCode = 1;
} finally {
  // A terminal, or a pipe that stays open, would keep the process alive.
  process.stdin.destroy();
}
