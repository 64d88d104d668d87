import { test } from 'vitest';
import { runLiveness } from './liveness.js';

test('while a request waits a worker is there, is coming or is due, over 20,000 orders of events', async () => {
  await runLiveness(20_000);
}, 600_000);
