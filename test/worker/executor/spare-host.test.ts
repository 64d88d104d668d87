import { expect, test, vi } from 'vitest';
import { operation, spawnWorker, startSpareHost } from '../../../src/worker/index.js';

// On a machine that has other things to do, a process takes seconds to start.
vi.setConfig({ testTimeout: 90_000 });

const operations = { pid: operation<undefined, number>(), die: operation<undefined, void>() };
const module = new URL('../fixtures/pid-model.mjs', import.meta.url);

test('spawnWorker() takes a spare host over, once', async () => {
  const spare = startSpareHost({ module });
  expect(await spare.ready).toBe(true);
  await using worker = spawnWorker({ operations, module, spare });
  expect(spare.isAvailable).toBe(false);
  // Disposing of one that is taken ends nothing.
  spare[Symbol.dispose]();
  expect(await worker.call('pid', undefined)).toBe(spare.pid);
  await using second = spawnWorker({ operations, module, spare });
  expect(await second.call('pid', undefined)).not.toBe(spare.pid);
});

test('spawnWorker() takes over a spare host that is still starting', async () => {
  const spare = startSpareHost({ module });
  await using worker = spawnWorker({ operations, module, spare });
  expect(await worker.call('pid', undefined)).toBe(spare.pid);
});

test('spawnWorker() passes over a spare host that has ended', async () => {
  const spare = startSpareHost();
  expect(await spare.ready).toBe(true);
  process.kill(spare.pid as number, 'SIGKILL');
  await spare.exited;
  expect(spare.isAvailable).toBe(false);
  await using worker = spawnWorker({ operations, module, spare });
  expect(await worker.call('pid', undefined)).not.toBe(spare.pid);
});

test('startSpareHost() is ready though its module fails: the load reports it', async () => {
  const broken = new URL('../fixtures/missing.mjs', import.meta.url);
  const spare = startSpareHost({ module: broken });
  expect(await spare.ready).toBe(true);
  await using worker = spawnWorker({ operations, module: broken, spare });
  await expect(worker.call('pid', undefined)).rejects.toMatchObject({ code: 'ERR_WORKER_LOAD' });
});

test('startSpareHost() and spawnWorker() refuse what can not be', () => {
  expect(() => startSpareHost({ modul: module } as never)).toThrow("Cannot start spare host: unknown option 'modul'");
  expect(() => spawnWorker({ operations, module, spare: {} as never })).toThrow('spare must come from startSpareHost');
  const spare = startSpareHost();
  expect(() => spawnWorker({ operations, module, host: 'thread', spare })).toThrow('spare is a process');
  spare[Symbol.dispose]();
});
