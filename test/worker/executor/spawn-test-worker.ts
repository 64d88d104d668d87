import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import {
  type InputOf,
  operation,
  type CommonWorkerOptions,
  type SpawnWorkerOptions,
  spawnWorker,
  type WorkerHandle,
  type WorkerHost,
} from '../../../src/worker/index.js';

/** What `test/fixtures/worker/model.mjs` can do. */
export const testOperations = {
  echo: operation<unknown, unknown>({ capacity: 512, idempotent: true }),
  context: operation<undefined, Record<string, unknown>>(),
  pid: operation<undefined, number>({ idempotent: true }),
  env: operation<string, { value: string | undefined; cwd: string; execArgv: string[] }>(),
  calls: operation<undefined, number>(),
  fail: operation<string, never>(),
  uncloneable: operation<undefined, unknown>(),
  exit: operation<number, never>(),
  exitOnce: operation<string, string>({ idempotent: true }),
  crashLater: operation<undefined, never>(),
  eatMemory: operation<undefined, never>(),
  sleep: operation<number, number>({ capacity: 512 }),
  never: operation<undefined, never>(),
  print: operation<number, number>(),
  spin: operation<number, number>(),
  block: operation<number, number>(),
  fill: operation<number, Float32Array>({ idempotent: true }),
  length: operation<Float32Array, number>(),
  count: operation.stream<number, number>({ chunkCapacity: 4, idempotent: true }),
  breakAfter: operation.stream<number, number>(),
  killAfter: operation.stream<number, number>({ idempotent: true }),
};

export type TestOperations = typeof testOperations;
export type TestHandle = WorkerHandle<TestOperations>;
export type EchoInput = InputOf<TestOperations['echo']>;

export const testModel: URL = new URL('../../fixtures/worker/model.mjs', import.meta.url);

/** Whatever a worker takes, with or without a source of its own. */
export type TestWorkerOptions = Partial<Omit<CommonWorkerOptions<TestOperations>, 'operations'>> & {
  readonly host?: WorkerHost;
  readonly module?: URL | string | undefined;
  readonly model?: unknown;
  readonly load?: unknown;
};

/** A worker on the test model; what it prints is dropped. */
export function spawnTestWorker(options: TestWorkerOptions): TestHandle {
  return spawnWorker({
    operations: testOperations,
    module: testModel,
    stdio: 'ignore',
    ...options,
  } as SpawnWorkerOptions<TestOperations>);
}

/** Whether a process lives; one that is dead and waits for its parent to notice does not. */
export function isAlive(pid: number): boolean {
  const state = process.platform === 'linux' ? stateFromProc(pid) : stateFromPs(pid);
  return state !== '' && !state.startsWith('Z');
}

// Small systems have no ps.
function stateFromProc(pid: number): string {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return text.slice(text.lastIndexOf(')') + 2);
  } catch {
    return '';
  }
}

function stateFromPs(pid: number): string {
  return spawnSync('ps', ['-o', 'stat=', '-p', String(pid)], { encoding: 'utf8' }).stdout.trim();
}

const LOOK_MS = 5;

/** Waits until something holds, looking every few milliseconds, for real processes know no simulated time. */
export async function eventually(check: () => boolean, withinMs: number): Promise<number> {
  const start = performance.now();
  while (!check()) {
    if (performance.now() - start > withinMs) throw new Error(`It did not happen within ${withinMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
  return performance.now() - start;
}

/**
 * The same in time as this process was given it: a look that comes late counts for as long as it was meant to take, because a machine that is
 * too busy to wake this process for a timer is too busy for those that are watched, and what is asked is what they do with their time.
 */
export async function eventuallyInTurns(check: () => boolean, withinMs: number): Promise<void> {
  for (let turn = 0; !check(); turn++) {
    if (turn * LOOK_MS > withinMs) throw new Error(`It did not happen within ${withinMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}
