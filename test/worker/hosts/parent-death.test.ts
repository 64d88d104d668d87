import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test } from 'vitest';
import { eventually, isAlive } from './spawn-test-worker.js';

const parents: ChildProcess[] = [];

interface Parent {
  readonly process: ChildProcess;
  readonly workerPid: number;
  readonly lines: string[];
}

async function startParent(state: string): Promise<Parent> {
  const child = spawn(
    process.execPath,
    [fileURLToPath(new URL('../../fixtures/worker/parent.mjs', import.meta.url)), state],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
      // A process group of its own, so that the test can send a signal to all of it, as a terminal does.
      detached: true,
    },
  );
  parents.push(child);
  const lines: string[] = [];
  createInterface({ input: child.stdout as NonNullable<typeof child.stdout> }).on('line', (line) => lines.push(line));
  await eventually(() => lines.length > 0, 10_000);
  return { process: child, workerPid: Number(lines[0]), lines };
}

afterEach(() => {
  for (const parent of parents.splice(0)) parent.kill('SIGKILL');
});

describe('a process worker whose parent is killed', () => {
  for (const [state, where] of [
    ['idle', 'while it is idle'],
    ['never', 'while it awaits something'],
    ['block', 'while it is inside a native call'],
    ['spin', 'while it is inside a JavaScript loop'],
    ['stopped', 'while it is stopped'],
  ] as const) {
    // A machine may be too busy to look in time; it is not three times.
    test(`is gone within a second ${where}`, { retry: 2 }, async () => {
      const parent = await startParent(state);
      await eventually(() => parent.lines.includes('there'), 5_000);
      parent.process.kill('SIGKILL');
      await eventually(() => !isAlive(parent.workerPid), 1_000);
    });
  }
});

test('a process worker ignores the SIGINT and SIGTERM that its whole process group is sent', async () => {
  const parent = await startParent('draining');
  await eventually(() => parent.lines.includes('there'), 5_000);
  process.kill(-(parent.process.pid as number), 'SIGINT');
  process.kill(parent.workerPid, 'SIGTERM');
  await eventually(() => parent.lines.includes('interrupted'), 5_000);
  const before = parent.lines.length;
  await eventually(() => parent.lines.length > before + 4, 5_000);
  expect(isAlive(parent.workerPid)).toBe(true);
  expect(parent.lines.at(-1)).toBe('answer alive');
});

test('an idle process worker does not hold its parent, and ends with it', async () => {
  const parent = await startParent('idle-exit');
  if (parent.process.exitCode === null) await once(parent.process, 'exit');
  expect(parent.process.exitCode).toBe(0);
  await eventually(() => !isAlive(parent.workerPid), 1_000);
});
