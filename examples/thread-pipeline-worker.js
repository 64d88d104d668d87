/** The thread of thread-pipeline.ts: takes numbers from one channel, and sends their factors into another. */
import { parentPort } from 'node:worker_threads';
import { bridge } from 'millrace/channels/port';

function factorsOf(number) {
  const factors = [];
  let rest = number;
  for (let factor = 2; factor * factor <= rest; factor++) {
    while (rest % factor === 0) {
      factors.push(factor);
      rest /= factor;
    }
  }
  if (rest > 1) factors.push(rest);
  return factors;
}

const over = bridge(parentPort);
const numbers = over.receiver(8, { name: 'numbers' });
const factors = over.sender(8, { name: 'factors' });
for await (const number of numbers) await factors.send({ number, factors: factorsOf(number) });
factors.close();
