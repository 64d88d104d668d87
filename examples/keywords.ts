/**
 * A model of one's own in a supervised pool: keywords of each line of stdin, in order, as lines of JSON.
 *
 * - Supervision: a worker process that dies is replaced, and the lines it held run again (`idempotent`).
 * - Back-pressure: at most PENDING lines are between stdin and stdout; then stdin is not read.
 * - SIGTERM or SIGINT stops the reading, finishes the lines that were read, and closes the pool.
 *
 *     npm run --silent example examples/keywords.ts < README.md
 *
 * In a project that has millrace: `npx tsx keywords.ts < README.md`, with keyword-model.js beside it.
 */
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { CancellationToken, createSelector, fromAsyncIterable, mpsc, withEnd } from 'millrace/channels';
import { createPool } from 'millrace/pool';
import { operation } from 'millrace/worker';

const PENDING = 16;

const pool = createPool({ name: 'keywords' });
const model = pool.register('keywords', {
  operations: { keywords: operation<string, string[]>({ capacity: PENDING, idempotent: true }) },
  module: new URL('./keyword-model.js', import.meta.url),
  options: { count: 3 },
  maxWorkers: 2,
  timeoutMs: 10_000,
});

async function logEvents(): Promise<void> {
  for await (const event of pool.events()) if ('worker' in event) console.error(`${event.worker}: ${event.type}`);
}

const stop = new CancellationToken();
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => stop.cancel(signal));

/** The result of one line, or why it has none: one bad line does not end the others. */
async function answer(line: string): Promise<object> {
  try {
    return { keywords: await model.call('keywords', line) };
  } catch (error) {
    return { error: (error as Error).message };
  }
}

const logging = logEvents();
// Answers in the order of their lines. A slot is reserved before a line is read, so that stdin waits for stdout.
const [answers, pending] = mpsc.channel<Promise<object>>(PENDING);

async function read(): Promise<void> {
  const lines = fromAsyncIterable(createInterface({ input: process.stdin }));
  const selector = createSelector({ stop, line: withEnd(lines) }, { biased: true });
  for (;;) {
    const permit = await answers.reserve();
    const event = await selector.next();
    if (event.arm !== 'line' || event.value.done) {
      permit.release();
      break; // a signal, or the end of the input
    }
    permit.send(answer(event.value.value));
  }
  lines.close();
  answers.close();
}

const reading = read();
for await (const each of pending) {
  if (!process.stdout.write(`${JSON.stringify(await each)}\n`)) await once(process.stdout, 'drain');
}
await reading;
const { accepted, succeeded, failed } = pool.stats();
await pool.close();
await logging;
console.error(`${accepted} lines, ${succeeded} with keywords, ${failed} without`);
process.stdin.destroy();
