import { setImmediate as macrotask } from 'node:timers/promises';
import type { Scenarios } from '../../harness/scenario.js';
import { BATCH, sendToThread } from '../port/sending.js';

/** The scenario of a port that is posted to without any backpressure, whoever reads it. */
export function postingTo(kind: string): Scenarios {
  return {
    'port/batches': (n) =>
      sendToThread(kind, n, async (port) => {
        for (let i = 0; i < n; i++) {
          port.postMessage(i);
          if (i % BATCH === BATCH - 1) await macrotask();
        }
      }),
    'port/singles': (n) =>
      sendToThread(kind, n, async (port) => {
        for (let i = 0; i < n; i++) {
          port.postMessage(i);
          await (i % BATCH === BATCH - 1 ? macrotask() : null);
        }
      }),
  };
}

export const scenarios: Scenarios = postingTo('raw');
