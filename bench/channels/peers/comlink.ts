import { wrap } from 'comlink';
import nodeEndpoint from 'comlink/dist/esm/node-adapter.mjs';
import type { Scenarios } from '../../harness/scenario.js';
import { BATCH, sendToThread } from '../port/sending.js';

export const scenarios: Scenarios = {
  'port/batches': (n) =>
    sendToThread('comlink', n, async (port) => {
      const api = wrap<{ take(value: number): void }>(nodeEndpoint(port));
      for (let from = 0; from < n; from += BATCH) {
        const calls: Promise<void>[] = [];
        for (let i = from; i < Math.min(n, from + BATCH); i++) calls.push(api.take(i));
        await Promise.all(calls);
      }
    }),
};
