/** The kinds of containers in one go. What this system does not let be tried is skipped by name. */
import { spawn } from 'node:child_process';
import { chmod, mkdtemp, readdir, readFile, rm, utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, vi } from 'vitest';
import {
  linux,
  mountNamespaces,
  networkNamespaces,
  pidNamespaces,
  program,
  root,
  testNeeding,
} from '../support/needs.js';
import { PHOTOS, until } from './cli-process.js';
import {
  asAnyUser,
  asPidOne,
  DOCTOR,
  EMBED,
  expectEmbedded,
  MAIN,
  MemoryGroup,
  memoryGroups,
  readable,
  readOnly,
  runIn,
  withoutHome,
} from './container-kinds.js';

// Several starts of the command in one case, on a machine that may be busy.
vi.setConfig({ testTimeout: 60_000 });

testNeeding(linux, pidNamespaces)('millrace embed works as the first process of a container', async () => {
  expectEmbedded(await runIn(asPidOne, EMBED));
});

testNeeding(
  linux,
  root,
  program('setpriv'),
  readable,
)('millrace embed and doctor work without a home, as a user that has no name', async () => {
  expectEmbedded(await runIn(asAnyUser, withoutHome, EMBED));
  const { stdout } = await runIn(asAnyUser, withoutHome, DOCTOR);
  expect(stdout).toContain('a picture became 256 numbers');
});

testNeeding(
  linux,
  root,
  networkNamespaces,
  program('setpriv'),
  readable,
)('millrace demo works without a home, as any user, with the network cut', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'millrace-demo-'));
  try {
    await chmod(folder, 0o777);
    const inFolder = ['env', `--chdir=${folder}`];
    const demo = [process.execPath, MAIN, 'demo'];
    const { code, stderr } = await runIn(['unshare', '--net'], inFolder, asAnyUser, withoutHome, demo);
    expect(code, stderr).toBe(0);
    expect(await readdir(folder, { recursive: true })).toHaveLength(3);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

testNeeding(
  linux,
  root,
  mountNamespaces,
)('millrace embed works on a read-only file system', async () => {
  const ended = await runIn(readOnly, EMBED);
  expectEmbedded(ended);
  const { stdout } = await runIn(readOnly, DOCTOR);
  expect(stdout).toContain('a picture became 256 numbers');
});

testNeeding(
  linux,
  root,
  networkNamespaces,
  mountNamespaces,
)(
  'millrace demo works on a read-only file system, home and caches among it, where only its folder can be written',
  async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'millrace-demo-'));
    try {
      // The folder's own mount stays writable when all else becomes read-only; what is in it is gone with the namespace.
      const script =
        'cd "$1" && mount -t tmpfs none . && cd "$1" && mount -o remount,bind,ro / && shift && "$@" && find . -type f';
      const inFolder = ['unshare', '--net', '--mount', 'sh', '-c', script, 'sh', folder];
      const { code, stdout, stderr } = await runIn(inFolder, [process.execPath, MAIN, 'demo']);
      expect(code, stderr).toBe(0);
      const files = stdout.split('\n').filter((line) => line.startsWith('./'));
      expect(files.sort()).toEqual(['./demo-out/embeddings.jsonl', './demo-out/index.html']);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
);

testNeeding(
  linux,
  root,
  mountNamespaces,
)('millrace demo says that the file system is read-only where its folder cannot be made', async () => {
  const { code, stderr } = await runIn(readOnly, [process.execPath, MAIN, 'demo']);
  expect(code).toBe(2);
  expect(stderr).toContain('Cannot make folder demo-out: EROFS: read-only file system');
});

// The lock of the killed run is another container's: half a minute without a sign of life, most of which is over here. The long form waits for it.
testNeeding(
  linux,
  root,
  pidNamespaces,
)('millrace embed --resume goes on in a container that was killed and started again', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'millrace-killed-'));
  try {
    const out = path.join(folder, 'killed.jsonl');
    const embed = [process.execPath, MAIN, 'embed', PHOTOS, '--out', out, '--workers', '1', '--resume'];
    const [command, ...args] = [...asPidOne, ...embed] as [string, ...string[]];
    const first = spawn(command, args, { stdio: 'ignore' });
    await until(
      'a first record',
      async () => (await readFile(out, 'utf8').catch(() => '')).includes('\n') || undefined,
    );
    const closed = new Promise((resolve) => first.once('close', resolve));
    first.kill('SIGKILL');
    await closed;
    const before = new Date(Date.now() - 28_000);
    await utimes(`${out}.lock`, before, before).catch(() => {});
    const second = await runIn(asPidOne, embed);
    expect(second.code, second.stderr).toBe(0);
    const lines = (await readFile(out, 'utf8')).trim().split('\n');
    const paths = lines.map((line) => (JSON.parse(line) as { path: string }).path);
    expect(new Set(paths).size).toBe(paths.length);
    expect(paths.length).toBeGreaterThanOrEqual(20);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

testNeeding(
  linux,
  root,
  memoryGroups,
)('millrace embed and doctor work in 300 MB of memory', async () => {
  const group = MemoryGroup.make() as MemoryGroup;
  try {
    // Of the workers that are wanted by default one is started.
    const all = await runIn(group.starting, [process.execPath, MAIN, 'embed', PHOTOS, '--out', '-']);
    expect(all.code, all.stderr).toBe(0);
    const { code, stdout } = await runIn(group.starting, DOCTOR);
    expect(stdout).toMatch(/^ok {2}memory +[\d.]+ GB, limited to 300 MB by the control group\n +→ .*--workers 1$/m);
    expect(code).toBe(0);
    expect(group.failures).toBe(0);
  } finally {
    group.remove();
  }
});

testNeeding(
  linux,
  root,
  pidNamespaces,
  mountNamespaces,
  program('setpriv'),
  readable,
  memoryGroups,
)('millrace embed works where all of it comes together', async () => {
  const group = MemoryGroup.make() as MemoryGroup;
  try {
    expectEmbedded(await runIn(group.starting, asPidOne, readOnly, asAnyUser, withoutHome, EMBED));
  } finally {
    group.remove();
  }
});
