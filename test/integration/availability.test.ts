import { linux, testNeeding } from '../support/needs.js';
import { requireAvailable, runAvailability } from './availability.js';

// A machine that has other things to do takes seconds to start workers: they are not signalled faster than it can start them.
testNeeding(linux)(
  'a pool of three answers 99 % of the good calls of 64 clients while its workers are killed one after another (short)',
  async () => {
    const plan = { seed: 1, seconds: 4, signal: 'SIGKILL', everyMs: 300, everyStarts: 0.6 } as const;
    requireAvailable(await runAvailability({ ...plan, workers: 3, clients: 64 }));
  },
  240_000,
);

testNeeding(linux)(
  'a pool of three answers 99 % of the good calls of 64 clients while its workers are stopped one after another (short)',
  async () => {
    const plan = { seed: 2, seconds: 3, signal: 'SIGSTOP', everyMs: 1_500, everyStarts: 0.6 } as const;
    requireAvailable(await runAvailability({ ...plan, workers: 3, clients: 64 }));
  },
  240_000,
);
