import { execFile } from 'node:child_process';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { SimulatedClock } from '../../src/core/index.js';
import { EventHub } from '../../src/worker/events.js';
import { createWorkerChannels, operation, runWorker, type WorkerEvent } from '../../src/worker/index.js';
import { turn } from '../support/settlement.js';

const operations = { work: operation<number, number>() };

test('WorkerHandle.events() tells what happens from the call on, and ends with the worker', async () => {
  const clock = new SimulatedClock(100);
  const { handle, channels } = createWorkerChannels(operations, { id: 'mill', clock });
  const events = handle.events();
  runWorker({ work: () => Promise.reject(new Error('no')) }, channels);
  await handle.call('work', 1).catch(() => {});
  await handle.close();
  const seen: WorkerEvent[] = [];
  for await (const event of events) seen.push(event);
  expect(seen).toEqual([
    { type: 'state', workerId: 'mill', at: 100, from: 'spawning', to: 'loading' },
    { type: 'state', workerId: 'mill', at: 100, from: 'loading', to: 'ready' },
    { type: 'state', workerId: 'mill', at: 100, from: 'ready', to: 'processing' },
    { type: 'failure', workerId: 'mill', at: 100, operation: 'work', error: new Error('no') },
    { type: 'state', workerId: 'mill', at: 100, from: 'processing', to: 'ready' },
    { type: 'state', workerId: 'mill', at: 100, from: 'ready', to: 'evicting' },
    { type: 'state', workerId: 'mill', at: 100, from: 'evicting', to: 'dead' },
  ]);
});

test('WorkerHandle.events() of a worker that is over ends at once', async () => {
  const { handle } = createWorkerChannels(operations);
  await handle.close();
  expect(await handle.events().next()).toEqual({ done: true, value: undefined });
});

test('WorkerHandle.events() serves several readers, and leaves nothing behind for one that returns', async () => {
  const hub = new EventHub('w', () => 0);
  const [one, two] = [hub.events(), hub.events()];
  hub.emit({ type: 'late', operation: 'a' });
  expect((await one.next()).value).toMatchObject({ operation: 'a' });
  await one.return?.();
  hub.emit({ type: 'late', operation: 'b' });
  expect((await two.next()).value).toMatchObject({ operation: 'a' });
  expect((await two.next()).value).toMatchObject({ operation: 'b' });
  expect(hub.hasAudience('late')).toBe(true);
  await two.return?.();
  await turn();
  expect(hub.hasAudience('late')).toBe(false);
  const unread = hub.events();
  await unread.return?.();
  expect(hub.hasAudience('late')).toBe(false);
});

test('WorkerHandle.events() keeps the last 256 events for a slow reader', async () => {
  const hub = new EventHub('w', () => 0);
  const unread = hub.events();
  const slow = hub.events();
  hub.emit({ type: 'late', operation: 'first' });
  await slow.next();
  for (let n = 0; n < 400; n++) hub.emit({ type: 'late', operation: `${n}` });
  hub.end();
  for (const [reader, count] of [
    [unread, 256],
    [slow, 256],
  ] as const) {
    const seen: string[] = [];
    for await (const event of reader) if (event.type === 'late') seen.push(event.operation);
    expect(seen).toHaveLength(count);
    expect(seen.at(-1)).toBe('399');
  }
});

test('diagnostics_channel millrace:worker:* carries steps, failures and every answered request, without payloads', async () => {
  const seen: [string | symbol, unknown][] = [];
  const listener = (message: unknown, name: string | symbol): void => void seen.push([name, message]);
  const names = ['millrace:worker:state', 'millrace:worker:failure', 'millrace:worker:request'];
  for (const name of names) subscribe(name, listener);
  const { handle, channels } = createWorkerChannels(operations, { id: 'diagnosed', clock: new SimulatedClock() });
  runWorker(
    {
      work: async (n) => {
        if (n === 42) throw new Error('no');
        return n;
      },
    },
    channels,
  );
  await handle.call('work', 41);
  await handle.call('work', 42).catch(() => {});
  await handle.close();
  for (const name of names) unsubscribe(name, listener);
  expect(seen.filter(([name]) => name === 'millrace:worker:request').map(([, message]) => message)).toEqual([
    { workerId: 'diagnosed', operation: 'work', outcome: 'succeeded', ms: 0 },
    { workerId: 'diagnosed', operation: 'work', outcome: 'failed', ms: 0 },
  ]);
  expect(seen.filter(([name]) => name === 'millrace:worker:failure')).toHaveLength(1);
  expect(seen.filter(([name]) => name === 'millrace:worker:state').length).toBeGreaterThanOrEqual(6);
  expect(JSON.stringify(seen)).not.toMatch(/4[12]/);
});

test('NODE_DEBUG=millrace prints the lifecycle to stderr', async () => {
  const script = `
    import { createWorkerChannels, operation, runWorker } from 'millrace/worker';
    const { handle, channels } = createWorkerChannels({ work: operation() }, { id: 'printed' });
    runWorker({ work: async (secret) => secret }, channels);
    await handle.call('work', 'top secret');
    await handle.close();
  `;
  const { stderr } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script], {
    env: { ...process.env, NODE_DEBUG: 'millrace' },
  });
  expect(stderr).toMatch(/MILLRACE \d+: printed: spawning -> loading/);
  expect(stderr).toMatch(/printed: evicting -> dead/);
  expect(stderr).not.toContain('secret');
});

test('NODE_DEBUG=millrace prints each step once, also where the model is elsewhere', async () => {
  const script = `
    import { operation, spawnWorker } from 'millrace/worker';
    const module = 'data:text/javascript,export default () => ({ work: async (n) => n })';
    const handle = spawnWorker({ operations: { work: operation() }, id: 'far', module });
    await handle.call('work', 1);
    await handle.close();
  `;
  const { stderr } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script], {
    env: { ...process.env, NODE_DEBUG: 'millrace' },
  });
  expect(stderr.match(/far: loading -> ready/g)).toHaveLength(1);
});

test('a worker that nobody calls does not hold the process', async () => {
  const script = `
    import { createWorkerChannels, operation, runWorker } from 'millrace/worker';
    const { handle, channels } = createWorkerChannels({ work: operation() });
    runWorker({ work: async (n) => n }, channels);
    console.log(await handle.call('work', 7, { timeoutMs: 600_000 }), handle.state.current);
  `;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script]);
  expect(stdout).toBe('7 ready\n');
});
