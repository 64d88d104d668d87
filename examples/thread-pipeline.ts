/**
 * A pipeline across a worker thread: numbers go out and factors come back by two bounded channels over one port.
 *
 * Both channels keep back-pressure across the threads: at most 8 numbers are sent and not received. `select` takes what comes first: a result, Ctrl-C,
 * or a second without a result.
 *
 *     npm run example examples/thread-pipeline.ts 1000000007 600851475143
 *
 * In a project that has millrace: `npx tsx thread-pipeline.ts`, with thread-pipeline-worker.js beside it.
 */
import { Worker } from 'node:worker_threads';
import { CancellationToken, createSelector, sleep, withEnd } from 'millrace/channels';
import { bridge } from 'millrace/channels/port';

const wanted = process.argv.slice(2).map(Number);
const input = wanted.length > 0 ? wanted : Array.from({ length: 100 }, (_, n) => 1_000_000_000 + n);

const stop = new CancellationToken();
process.once('SIGINT', () => stop.cancel('SIGINT'));

const thread = new Worker(new URL('./thread-pipeline-worker.js', import.meta.url));
const over = bridge(thread);
const numbers = over.sender<number>(8, { name: 'numbers' });
const results = over.receiver<{ number: number; factors: number[] }>(8, { name: 'factors' });

async function produce(): Promise<void> {
  try {
    for (const number of input) await numbers.send(number); // waits while 8 are under way
    numbers.close(); // the thread ends its own channel after the last number
  } catch (error) {
    if (!stop.isCancelled) throw error; // after Ctrl-C the last send has no receiver
  }
}

const producing = produce();
let count = 0;
const idle = sleep(1_000);
const selector = createSelector({ stop, result: withEnd(results), idle }, { biased: true });
for (let isOver = false; !isOver; ) {
  const event = await selector.next();
  switch (event.arm) {
    case 'result': {
      if (event.value.done) {
        isOver = true;
        break;
      }
      const { number, factors } = event.value.value;
      console.log(`${number} = ${factors.join(' x ')}`);
      count++;
      idle.reset(1_000);
      break;
    }
    case 'idle':
      console.error('no result for a second');
      idle.reset(1_000);
      break;
    default: // Ctrl-C
      isOver = true;
  }
}
idle[Symbol.dispose]();
over.close();
await thread.terminate();
await producing;
console.log(`${count} of ${input.length} numbers`);
