import { spawn } from 'node:child_process';
import { expect } from 'vitest';
import { isStarved } from '../../../src/worker/executor/process-state.js';
import { linux, testNeeding } from '../../support/needs.js';
import { until } from '../../support/until.js';

testNeeding(linux)(
  'isStarved() tells a process that was stopped from one that runs, and from one that is gone',
  async () => {
    const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' });
    const pid = child.pid as number;
    const exited = new Promise((resolve) => child.once('exit', resolve));
    try {
      expect(await isStarved(pid)).toBe(true);
      child.kill('SIGSTOP');
      await until('stopped', async () => (await isStarved(pid)) === false || undefined);
      child.kill('SIGCONT');
      await until('running', async () => (await isStarved(pid)) || undefined);
    } finally {
      child.kill('SIGKILL');
    }
    await exited;
    expect(await isStarved(pid)).toBeUndefined();
  },
);
