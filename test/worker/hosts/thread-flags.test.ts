import { expect, test } from 'vitest';
import { threadEnvironment, threadFlags } from '../../../src/worker/hosts/thread-flags.js';
import { spawnTestWorker } from './spawn-test-worker.js';

test('threadFlags() keeps what a thread can have for itself, with its values, and nothing of the process', () => {
  const kept = ['--unhandled-rejections=warn', '-r', './a b.cjs', '--experimental_vm_modules', '--conditions', 'dev'];
  expect(threadFlags(['--title=x', '--expose-gc', ...kept, '--max-old-space-size', '9'])).toEqual(kept);
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
