import { spawnSync } from 'node:child_process';
import { expect } from 'vitest';
import { seeded } from '../../seeded.js';
import { isLive } from '../../../src/worker/internal.js';
import { eventually, spawnTestWorker, type TestHandle } from './spawn-test-worker.js';

/** How much chaos there is to be. */
export interface ChaosPlan {
  readonly seed: number;
  readonly workers: number;
  readonly clients: number;
  readonly calls: number;
  /** After how many answers a signal is sent to a worker, again and again. By count, so that a slow machine is not shot faster than it can load. */
  readonly callsPerSignal: number;
  /** Told every thousand answers. */
  readonly onProgress?: (settled: number) => void;
}

/** The pids of this process's worker children. */
export function workerPids(): number[] {
  const { stdout } = spawnSync('pgrep', ['-P', String(process.pid), '-f', 'process-child'], { encoding: 'utf8' });
  return stdout.split('\n').filter(Boolean).map(Number);
}

interface Tally {
  made: number;
  settled: number;
  readonly outcomes: Map<string, number>;
}

/** One call of a random kind. */
async function callOnce(handle: TestHandle, next: () => number): Promise<void> {
  const kind = next();
  const pause = Math.floor(next() * 20);
  if (kind < 0.5) {
    const value = { pause, bytes: new Uint8Array(pause) };
    expect(await handle.call('echo', value)).toEqual(value);
  } else if (kind < 0.7) await handle.call('sleep', pause, { timeoutMs: 5_000 });
  else if (kind < 0.78) await handle.call('sleep', 500, { timeoutMs: 1 + pause });
  else if (kind < 0.86) await handle.call('sleep', 500, { signal: AbortSignal.timeout(1 + pause) });
  else if (kind < 0.92) await handle.call('fail', 'error');
  else if (kind < 0.93) await handle.call('exit', 1);
  else if (kind < 0.96) await handle.call('spin', pause);
  else {
    let expected = 0;
    for await (const chunk of handle.call('count', pause)) {
      expect(chunk).toBe(expected++);
      if (next() < 0.02) return;
    }
    expect(expected).toBe(pause);
  }
}

function spawn(): TestHandle {
  return spawnTestWorker({ host: 'process', concurrency: 4, stallTimeoutMs: 500 });
}

/** The worker of a place, once it is ready; one that has ended is replaced. */
async function readyWorker(workers: TestHandle[], ended: TestHandle[], index: number): Promise<TestHandle> {
  for (;;) {
    const handle = workers[index] as TestHandle;
    if (isLive(handle.state.current)) {
      const isReady = await handle.state.waitFor(['ready', 'processing', 'idle']).then(
        () => true,
        () => false,
      );
      if (isReady) return handle;
    } else if (workers[index] === handle) {
      ended.push(handle);
      workers[index] = spawn();
    }
  }
}

async function runClient(
  workers: TestHandle[],
  ended: TestHandle[],
  plan: ChaosPlan,
  next: () => number,
  tally: Tally,
  strike: () => void,
): Promise<void> {
  while (tally.made < plan.calls) {
    tally.made++;
    const handle = await readyWorker(workers, ended, Math.floor(next() * workers.length));
    let outcome = 'value';
    try {
      await callOnce(handle, next);
    } catch (error) {
      const { code, name, message } = error as { code?: unknown; name: string; message: string };
      if (name === 'AssertionError') throw error;
      outcome = typeof code === 'string' ? code : `${name}: ${message}`;
    }
    if (++tally.settled % plan.callsPerSignal === 0) strike();
    if (tally.settled % 1_000 === 0) plan.onProgress?.(tally.settled);
    tally.outcomes.set(outcome, (tally.outcomes.get(outcome) ?? 0) + 1);
  }
}

/** Runs clients against workers that are killed, stopped and made to exit, and checks that nothing is lost, doubled or left. */
export async function runChaos(plan: ChaosPlan): Promise<ReadonlyMap<string, number>> {
  const next = seeded(plan.seed);
  const unhandled: unknown[] = [];
  const onUnhandled = (reason: unknown): void => void unhandled.push(reason);
  process.on('unhandledRejection', onUnhandled);
  const listenersBefore = countListeners();
  const timersBefore = countTimers();

  const workers = Array.from({ length: plan.workers }, spawn);
  const ended: TestHandle[] = [];
  const strike = (): void => {
    const pids = workerPids();
    const victim = pids[Math.floor(next() * pids.length)];
    if (victim === undefined) return;
    try {
      process.kill(victim, next() < 0.7 ? 'SIGKILL' : 'SIGSTOP');
    } catch {
      // It was faster.
    }
  };

  const tally: Tally = { made: 0, settled: 0, outcomes: new Map() };
  await Promise.all(Array.from({ length: plan.clients }, () => runClient(workers, ended, plan, next, tally, strike)));

  expect(tally.settled).toBe(tally.made);
  const handles = [...ended, ...workers];
  for (const handle of handles) {
    const { accepted, succeeded, failed, expired, cancelled, pending, waiting } = handle.stats();
    expect(succeeded + failed + expired + cancelled).toBe(accepted);
    expect([pending, waiting]).toEqual([0, 0]);
  }
  await Promise.all(handles.map((handle) => handle.close()));
  await eventually(() => workerPids().length === 0, 15_000);
  await new Promise((resolve) => setImmediate(resolve));
  expect(unhandled).toEqual([]);
  process.off('unhandledRejection', onUnhandled);
  expect(countListeners()).toBe(listenersBefore - 1);
  expect(countTimers()).toBeLessThanOrEqual(timersBefore);
  return tally.outcomes;
}

function countListeners(): number {
  return process.eventNames().reduce((sum, name) => sum + process.listenerCount(name as string), 0);
}

function countTimers(): number {
  return process.getActiveResourcesInfo().filter((each) => each === 'Timeout' || each.includes('Process')).length;
}
