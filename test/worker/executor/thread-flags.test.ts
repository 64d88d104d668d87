import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { flagsForThread, threadEnvironment, threadFlags } from '../../../src/worker/executor/exec-argv.js';
import { spawnTestWorker } from './spawn-test-worker.js';

test('threadFlags() keeps what a thread can have for itself, with its values, and nothing of the process', () => {
  const kept = ['--unhandled-rejections=warn', '-r', './a b.cjs', '--experimental_vm_modules', '--conditions', 'dev'];
  expect(threadFlags(['--title=x', '--expose-gc', ...kept, '--max-old-space-size', '9'])).toEqual(kept);
});

test('flagsForThread() leaves a thread the flags of the process, unless some say what that runs', () => {
  expect(flagsForThread(undefined, ['--frozen-intrinsics', '--title=x'])).toBeUndefined();
  expect(flagsForThread(undefined, ['--input-type=module', '--no-warnings', '--title=x'])).toEqual(['--no-warnings']);
  expect(flagsForThread([], ['--frozen-intrinsics'])).toEqual([]);
  expect(flagsForThread(['--title=x', '--no-warnings'], [])).toEqual(['--no-warnings']);
});

test('spawnWorker() in host thread passes the flags of the process on, and starts where some are about its program', async () => {
  const program = new URL('../../fixtures/worker/frozen-thread.mjs', import.meta.url);
  const run = promisify(execFile);
  const { stdout: frozen } = await run(process.execPath, ['--frozen-intrinsics', fileURLToPath(program)]);
  expect(frozen).toBe('true\n');
  const flags = ['--frozen-intrinsics', '--input-type=module', '--eval', `import '${program}'`];
  const { stdout: started } = await run(process.execPath, flags);
  expect(started).toBe('false\n');
});

test('threadEnvironment() keeps of NODE_OPTIONS what a thread can have for itself', () => {
  expect(threadEnvironment({ A: '1', NODE_OPTIONS: '--openssl-legacy-provider -r "./a b.cjs" --inspect' })).toEqual({
    A: '1',
    NODE_OPTIONS: '-r "./a b.cjs"',
  });
  expect(threadEnvironment({ NODE_OPTIONS: '--title=x' })).toEqual({});
});

test('spawnWorker() in host thread starts with flags of the process among its own, and has those that concern it', async () => {
  await using handle = spawnTestWorker({
    host: 'thread',
    env: { MILLRACE_TEST: 'yes', NODE_OPTIONS: '--openssl-legacy-provider --no-warnings' },
    execArgv: ['--expose-gc', '--title=x', '--experimental-vm-modules'],
  });
  expect(await handle.call('env', 'MILLRACE_TEST')).toMatchObject({
    value: 'yes',
    execArgv: ['--experimental-vm-modules'],
  });
});
