/** The command in containers of several kinds. */
import { chmod, mkdir, readdir } from 'node:fs/promises';
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
import { tempFolder } from '../support/temp-folder.js';
import { MAIN, PHOTOS } from './cli-process.js';
import {
  asAnyUser,
  asPidOne,
  DOCTOR,
  EMBED,
  expectEmbedded,
  killAndResume,
  MemoryGroup,
  memoryGroups,
  readable,
  readOnly,
  runIn,
  withoutHome,
} from './container-kinds.js';

const at = tempFolder('containers');
const DEMO = [process.execPath, MAIN, 'demo'];

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
  await mkdir(at('any'));
  await chmod(at(), 0o755);
  await chmod(at('any'), 0o777);
  const inFolder = ['env', `--chdir=${at('any')}`];
  const { code, stderr } = await runIn(['unshare', '--net'], inFolder, asAnyUser, withoutHome, DEMO);
  expect(code, stderr).toBe(0);
  expect(await readdir(at('any'), { recursive: true })).toHaveLength(3);
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
    // The folder's own mount stays writable when the rest becomes read-only; its files go with the namespace.
    const script =
      'cd "$1" && mount -t tmpfs none . && cd "$1" && mount -o remount,bind,ro / && shift && "$@" && find . -type f';
    const inFolder = ['unshare', '--net', '--mount', 'sh', '-c', script, 'sh', at()];
    const { code, stdout, stderr } = await runIn(inFolder, DEMO);
    expect(code, stderr).toBe(0);
    const files = stdout.split('\n').filter((line) => line.startsWith('./'));
    expect(files.sort()).toEqual(['./demo-out/embeddings.jsonl', './demo-out/index.html']);
  },
);

testNeeding(
  linux,
  root,
  mountNamespaces,
)('millrace demo says that the file system is read-only where its folder cannot be made', async () => {
  const { code, stderr } = await runIn(readOnly, DEMO);
  expect(code).toBe(2);
  expect(stderr).toContain('Cannot make folder demo-out: EROFS: read-only file system');
});

testNeeding(
  linux,
  root,
  pidNamespaces,
)('millrace embed --resume continues in a new container after the first was killed', () => killAndResume(at(), 28_000));

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
