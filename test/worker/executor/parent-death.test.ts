import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { getPriority } from 'node:os';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test } from 'vitest';
import { eventually, eventuallyInTurns, isAlive } from './spawn-test-worker.js';

const parents: ChildProcess[] = [];

interface Parent {
  readonly process: ChildProcess;
  readonly workerPid: number;
  readonly lines: string[];
}

const SCRIPT = '/usr/bin/script';

async function startParent(state: string, hasTerminal: boolean = false): Promise<Parent> {
  const fixture = fileURLToPath(new URL('../../fixtures/worker/parent.mjs', import.meta.url));
  const child = spawn(
    hasTerminal ? SCRIPT : process.execPath,
    // Its terminal is none of its standard streams: Ctrl-C reaches it all the same.
    hasTerminal
      ? ['-qfec', `exec '${process.execPath}' '${fixture}' ${state} < /dev/null >&3 2>&3`, '/dev/null']
      : [fixture, state],
    {
      stdio: ['ignore', hasTerminal ? 'ignore' : 'pipe', 'inherit', 'pipe'],
      // A process group of its own, so that the test can send a signal to all of it, as a terminal does.
      detached: true,
    },
  );
  parents.push(child);
  const lines: string[] = [];
  createInterface({ input: child.stdio[hasTerminal ? 3 : 1] as Readable }).on('line', (line) =>
    lines.push(line.trim()),
  );
  await eventually(() => lines.length > 0, 40_000);
  return { process: child, workerPid: Number(lines[0]), lines };
}

afterEach(() => {
  for (const parent of parents.splice(0)) parent.kill('SIGKILL');
});

describe('a process worker whose parent is killed', { timeout: 60_000 }, () => {
  for (const [state, where] of [
    ['idle', 'while it is idle'],
    ['never', 'while it awaits something'],
    ['block', 'while it is inside a native call'],
    ['spin', 'while it is inside a JavaScript loop'],
    ['stopped', 'while it is stopped'],
  ] as const) {
    test(`is gone within a second ${where}`, async () => {
      const parent = await startParent(state);
      await eventually(() => parent.lines.includes('there'), 15_000);
      const death = once(parent.process, 'exit');
      parent.process.kill('SIGKILL');
      // The second is counted from when the parent is dead, not from the wish that it were.
      await death;
      await eventuallyInTurns(() => !isAlive(parent.workerPid), 1_000);
    });
  }
});

test('a process worker ignores the SIGINT and SIGTERM that its whole process group is sent', {
  timeout: 60_000,
}, async () => {
  const parent = await startParent('draining');
  await eventually(() => parent.lines.includes('there'), 15_000);
  process.kill(-(parent.process.pid as number), 'SIGINT');
  process.kill(parent.workerPid, 'SIGINT');
  process.kill(parent.workerPid, 'SIGTERM');
  await eventually(() => parent.lines.includes('interrupted'), 15_000);
  const before = parent.lines.length;
  await eventually(() => parent.lines.length > before + 4, 15_000);
  expect(isAlive(parent.workerPid)).toBe(true);
  expect(parent.lines.at(-1)).toBe('answer alive');
});

// With the options that Linux's `script` has.
test.runIf(process.platform === 'linux' && existsSync(SCRIPT))(
  'a process worker that is still starting is not ended by the SIGINT that a terminal sends',
  {
    timeout: 60_000,
  },
  async () => {
    const parent = await startParent('starting', true);
    await eventually(() => parent.lines.includes('there'), 15_000);
    // Its pid, then its state.
    expect(parent.lines).toEqual([String(parent.workerPid), 'ready', 'there']);
  },
);

test('a process worker is nicer than its parent', { timeout: 60_000 }, async () => {
  const parent = await startParent('idle');
  const own = getPriority(parent.process.pid as number);
  expect(getPriority(parent.workerPid)).toBe(Math.min(19, own + 5));
});

test('an idle process worker does not hold its parent, and ends with it', { timeout: 60_000 }, async () => {
  const parent = await startParent('idle-exit');
  if (parent.process.exitCode === null) await once(parent.process, 'exit');
  expect(parent.process.exitCode).toBe(0);
  await eventuallyInTurns(() => !isAlive(parent.workerPid), 1_000);
});
