import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Scenarios } from '../../harness/scenario.js';
import { modelUrl, scenariosOf } from '../adapter.js';

export const scenarios: Scenarios = scenariosOf(async () => {
  const child = fork(fileURLToPath(modelUrl('raw-fork.mjs')), [], { serialization: 'advanced', execArgv: [] });
  const waiting = new Map<number, (value: never) => void>();
  let ids = 0;
  child.on('message', (message) => {
    const { id, value } = message as unknown as { id: number; value: never };
    const resolve = waiting.get(id);
    waiting.delete(id);
    resolve?.(value);
  });
  const ask = <T>(value: unknown): Promise<T> =>
    new Promise((resolve) => {
      const id = ++ids;
      waiting.set(id, resolve);
      child.send({ id, value } as never);
    });
  return { increment: (value) => ask(value), copy: (array) => ask(array) };
}, 'copy');
