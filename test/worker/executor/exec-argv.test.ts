import { describe, expect, test } from 'vitest';
import { childEnvironment, filterExecArgv, filterNodeOptions } from '../../../src/worker/executor/exec-argv.js';

describe('filterExecArgv()', () => {
  test('keeps loaders, conditions and V8 flags, with their values', () => {
    const argv = ['--import', 'tsx', '--conditions=dev', '--expose-gc', '-r', './a.cjs', '--max-old-space-size=99'];
    expect(filterExecArgv(argv)).toEqual(argv);
  });

  test('drops inspector flags, so that no two processes ask for one port', () => {
    expect(filterExecArgv(['--inspect', '--inspect-brk=0.0.0.0:9229', '--inspect-port', '9230', '--import=x'])).toEqual(
      ['--import=x'],
    );
  });

  test('knows flags that are written with underscores', () => {
    expect(filterExecArgv(['--inspect_brk=0', '--inspect_port', '1', '--max_old_space_size=9'])).toEqual([
      '--max_old_space_size=9',
    ]);
  });

  test('drops what says what the parent itself runs, with its values', () => {
    expect(filterExecArgv(['-e', 'code()', '--test', '--watch', '--input-type=module', '--no-warnings'])).toEqual([
      '--no-warnings',
    ]);
  });
});

describe('filterNodeOptions()', () => {
  test('keeps quoted words whole', () => {
    expect(filterNodeOptions('--inspect=9229 --require "./my \\"odd\\" folder/a.cjs" --inspect-port 1')).toBe(
      '--require "./my \\"odd\\" folder/a.cjs"',
    );
  });

  test('is undefined when nothing is left', () => {
    expect(filterNodeOptions('--inspect')).toBeUndefined();
    expect(filterNodeOptions(undefined)).toBeUndefined();
  });
});

describe('childEnvironment()', () => {
  test('takes the environment that was given, with NODE_OPTIONS filtered and no trace of a cluster or a watcher', () => {
    const env = childEnvironment({
      A: '1',
      NODE_OPTIONS: '--inspect --no-warnings',
      NODE_UNIQUE_ID: '7',
      WATCH_REPORT_DEPENDENCIES: '1',
    });
    expect(env).toEqual({ A: '1', NODE_OPTIONS: '--no-warnings' });
  });
});
