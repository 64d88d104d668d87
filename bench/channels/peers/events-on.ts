import { EventEmitter, on } from 'node:events';
import type { Scenarios } from '../../harness/scenario.js';
import { transport } from '../adapter.js';

function open() {
  const emitter = new EventEmitter();
  return { emitter, iterator: on(emitter, 'value', { close: ['end'] } as object) };
}

export const scenarios: Scenarios = transport<ReturnType<typeof open>>({
  open,
  push: ({ emitter }, value) => void emitter.emit('value', value),
  close: ({ emitter }) => void emitter.emit('end'),
  drains: {
    'for-await': async ({ iterator }) => {
      let count = 0;
      let sum = 0;
      for await (const [value] of iterator) {
        count++;
        sum += value as number;
      }
      return { count, sum };
    },
  },
});
