/** The kinds of containers in one go. What this system does not let be tried is skipped by name. */
import { chmod, mkdtemp, readdir, rm } from 'node:fs/promises';
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
import { PHOTOS } from './cli-process.js';
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
