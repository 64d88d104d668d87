import { tmpdir } from 'node:os';
import { afterEach, describe, expect, test } from 'vitest';
import { isMillraceError, SimulatedClock } from '../../../src/core/index.js';
import type { WorkerCrashedError, WorkerEvent } from '../../../src/worker/index.js';
import { listProcesses } from '../../integration/processes.js';
import { eventually, isAlive, spawnTestWorker, type TestHandle } from './spawn-test-worker.js';

const open: TestHandle[] = [];

function spawn(options: Parameters<typeof spawnTestWorker>[0]): TestHandle {
  const handle = spawnTestWorker(options);
  open.push(handle);
  return handle;
}

async function crashOf(promise: Promise<unknown>): Promise<WorkerCrashedError> {
  const error = await promise.then(
    () => expect.unreachable(),
    (reason) => reason,
  );
  expect(isMillraceError(error, 'ERR_WORKER_CRASHED')).toBe(true);
  return error;
}

afterEach(async () => {
  for (const handle of open.splice(0)) await handle.destroy();
});

for (const host of ['thread', 'process'] as const) {
  describe(`the life of a worker in host ${host}`, () => {
    test('a call whose worker exits rejects with the exit code and the last lines, and the worker has failed', async () => {
      const handle = spawn({ host });
      const error = await crashOf(handle.call('exit', 3));
      expect(error).toMatchObject({ exitCode: 3, signal: null });
      expect(error.stderr).toContain('about to exit');
      expect(handle.state.borrow()).toMatchObject({ state: 'failed', cause: error });
      await expect(handle.call('echo', 'again')).rejects.toMatchObject({ code: 'ERR_WORKER_CLOSED', cause: error });
    });

    test('a call whose worker throws where nobody catches rejects, and the worker has failed', async () => {
      const handle = spawn({ host });
      const error = await crashOf(handle.call('crashLater', undefined));
      expect(`${error.stderr} ${String(error.cause)}`).toContain('thrown where nobody catches');
      expect(handle.state.current).toBe('failed');
    });

    test('a call whose worker runs out of memory rejects, and the worker has failed', async () => {
      const handle = spawn({ host, heapMb: 64 });
      expect((await crashOf(handle.call('eatMemory', undefined))).message).toContain('ran out of memory');
      expect(handle.state.current).toBe('failed');
    });

    test('calls that wait in the queue of a worker that exits are rejected with the reason, too', async () => {
      const handle = spawn({ host });
      await handle.state.waitFor('ready');
      const crash = crashOf(handle.call('exit', 1));
      const waiting = [1, 2, 3].map((each) => crashOf(handle.call('echo', each)));
      const error = await crash;
      expect(await Promise.all(waiting)).toEqual([error, error, error]);
      expect(handle.stats()).toMatchObject({ accepted: 4, failed: 4, pending: 0, queued: 0 });
    });

    test('a call that hangs past its deadline gets its worker killed', async () => {
      const handle = spawn({ host, stallTimeoutMs: 200 });
      const events = collect(handle);
      await handle.state.waitFor('ready');
      await expect(handle.call('never', undefined, { timeoutMs: 100 })).rejects.toMatchObject({
        code: 'ERR_DEADLINE_EXCEEDED',
      });
      const { cause } = await handle.state.waitFor('failed');
      expect(cause).toMatchObject({ code: 'ERR_WORKER_CRASHED', message: expect.stringContaining('no progress') });
      await handle.close();
      expect((await events).map((event) => event.type)).toContain('stall');
    });

    test('a long call within its deadline is left alone, however short the stall timeout', async () => {
      const handle = spawn({ host, stallTimeoutMs: 100 });
      expect(await handle.call('spin', 700, { timeoutMs: 10_000 })).toBe(700);
    });

    test('a worker that dies while it drains answers what it accepted, and is dead', async () => {
      const handle = spawn({ host });
      await handle.state.waitFor('ready');
      const calls = [crashOf(handle.call('exit', 9)), crashOf(handle.call('echo', 'behind it'))];
      await handle.close({ timeoutMs: 15_000 });
      await Promise.all(calls);
      expect(handle.state.borrow()).toMatchObject({ state: 'dead', cause: { exitCode: 9 } });
    });

    test('WorkerHandle.close() releases the model and leaves nothing', async () => {
      const handle = spawn({ host, options: { disposeMessage: 'disposed' } });
      const pid = await handle.call('pid', undefined);
      await handle.close();
      expect(handle.state.current).toBe('dead');
      if (host === 'process') await eventually(() => !isAlive(pid), 1_000);
    });

    // No timer of a simulated clock ever kills it.
    for (const options of [{ leavesOpen: true }, { isSilent: true }]) {
      test(`WorkerHandle.close() waits for nothing of a model with ${JSON.stringify(options)}`, async () => {
        const handle = spawn({ host, options, clock: new SimulatedClock() });
        await handle.call('echo', 1);
        await handle.close();
        expect(handle.state.borrow()).toMatchObject({ state: 'dead' });
      });
    }

    test('WorkerHandle.ping() tells a long call from a hang: since when it runs', async () => {
      const handle = spawn({ host });
      const { rss } = await handle.ping();
      const call = handle.call('block', 2_500);
      await eventually(() => handle.stats().inFlight === 1, 15_000);
      const health = await handle.ping();
      expect(health).toMatchObject({ state: 'processing', inFlight: 1, rss });
      expect(health.runningMs).toBeGreaterThan(500);
      expect(await call).toBe(2_500);
      expect((await handle.ping()).inFlight).toBe(0);
    });

    test('WorkerHandle.close() tells as the cause of its state what dispose() threw', async () => {
      const handle = spawn({ host, options: { disposeThrows: true } });
      await handle.call('echo', 1);
      await handle.close();
      expect(handle.state.borrow()).toMatchObject({ state: 'dead', cause: { message: 'stuck' } });
    });

    test('WorkerHandle.destroy() ends a worker in the middle of a call', async () => {
      const handle = spawn({ host });
      const pid = await handle.call('pid', undefined);
      const call = handle.call('spin', 60_000);
      call.catch(() => {});
      await eventually(() => handle.stats().inFlight === 1, 15_000);
      await handle.destroy(new Error('enough'));
      await expect(call).rejects.toMatchObject({ code: 'ERR_WORKER_CLOSED', cause: { message: 'enough' } });
      if (host === 'process') await eventually(() => !isAlive(pid), 1_000);
    });
  });
}

describe('the life of a worker in host process', () => {
  test('a call whose worker is killed rejects with the signal', async () => {
    const handle = spawn({ host: 'process' });
    const pid = await handle.call('pid', undefined);
    const call = handle.call('block', 60_000);
    await eventually(() => handle.stats().inFlight === 1, 15_000);
    process.kill(pid, 'SIGKILL');
    expect(await crashOf(call)).toMatchObject({ exitCode: null, signal: 'SIGKILL' });
  });

  test('a stopped worker that holds a call is killed, and the call rejected', async () => {
    const handle = spawn({ host: 'process', stallTimeoutMs: 300 });
    const pid = await handle.call('pid', undefined);
    process.kill(pid, 'SIGSTOP');
    expect((await crashOf(handle.call('echo', 'x'))).message).toContain('no sign of life');
    expect(isAlive(pid)).toBe(false);
  });

  test('a process that is stopped as soon as it is ready is killed within seconds', async () => {
    const before = new Set(await childPids());
    const handle = spawn({ host: 'process' });
    const events = collect(handle);
    let pid: number | undefined;
    const ready = handle.state.waitFor('ready');
    while (pid === undefined) pid = (await childPids()).find((each) => !before.has(each));
    await ready;
    process.kill(pid, 'SIGSTOP');
    await crashOf(handle.call('echo', 'x'));
    expect(isAlive(pid)).toBe(false);
    await handle.close();
    const stalls = (await events).filter((event) => event.type === 'stall');
    expect(stalls).toHaveLength(1);
    // Two looks after a second and a half of silence, and what a busy machine adds to that; ten seconds before.
    expect(stalls[0]?.runningMs).toBeLessThan(6_000);
  });

  test('WorkerHandle.isSilent() says that a process is stopped, and it is killed though it holds nothing', async () => {
    const handle = spawn({ host: 'process' });
    const pid = await handle.call('pid', undefined);
    expect(handle.isSilent()).toBe(false);
    process.kill(pid, 'SIGSTOP');
    await eventually(() => handle.isSilent(), 10_000);
    await eventually(() => !isAlive(pid), 20_000);
    await handle.state.waitFor('failed');
    expect(handle.isSilent()).toBe(false);
  });

  test('the consumer of a stream whose worker dies gets what came, then the crash', async () => {
    const handle = spawn({ host: 'process' });
    const chunks: number[] = [];
    await crashOf(
      (async () => {
        for await (const chunk of handle.call('killAfter', 3)) chunks.push(chunk);
      })(),
    );
    expect(chunks).toEqual([0, 1, 2]);
  });

  test('SpawnWorkerOptions.threadPoolSize sizes the pool of a process, unless its environment does', async () => {
    const size = async (options: Parameters<typeof spawnTestWorker>[0]) => {
      const handle = spawnTestWorker({ host: 'process', ...options });
      const { value } = await handle.call('env', 'UV_THREADPOOL_SIZE');
      await handle.close();
      return value;
    };
    expect(await size({ threadPoolSize: 3 })).toBe('3');
    expect(await size({ threadPoolSize: 3, env: { UV_THREADPOOL_SIZE: '9' } })).toBe('9');
  });

  test('env, cwd, execArgv and the memory limit reach the child', async () => {
    const handle = spawn({
      host: 'process',
      env: { ...process.env, MILLRACE_TEST: 'yes', NODE_OPTIONS: '--inspect=0 --no-warnings' },
      cwd: tmpdir(),
      execArgv: ['--expose-gc'],
      heapMb: 99,
    });
    expect(await handle.call('env', 'MILLRACE_TEST')).toMatchObject({
      value: 'yes',
      execArgv: ['--expose-gc', '--max-old-space-size=99'],
    });
    expect((await handle.call('env', 'NODE_OPTIONS')).value).toBe('--no-warnings');
    expect((await handle.call('env', 'MILLRACE_PARENT_PID')).value).toBeUndefined();
  });
});

async function collect(handle: TestHandle): Promise<WorkerEvent[]> {
  const events: WorkerEvent[] = [];
  for await (const event of handle.events()) events.push(event);
  return events;
}

/** The pids of this process's children. */
async function childPids(): Promise<number[]> {
  return (await listProcesses()).filter(({ parent }) => parent === process.pid).map(({ pid }) => pid);
}
