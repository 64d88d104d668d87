import { execFileSync } from 'node:child_process';
import { chmod, copyFile, mkdir, readdir, symlink } from 'node:fs/promises';
import path from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { linux, mountNamespaces, type Need, posix, testNeeding } from '../support/needs.js';
import { OTHER_USER } from '../support/other-user.js';
import { tempFolder } from '../support/temp-folder.js';
import { type Ended, MAIN, PHOTOS, readRecords, runCli, runProgram, startCli } from './cli-process.js';

const cat = path.join(PHOTOS, 'cat-1.jpg');
const at = tempFolder('around');

beforeAll(async () => {
  await chmod(at(), 0o777);
});

/** Another user than root, who can run the command where it lies. */
const otherUser: Need = {
  name: 'a user who is not root and can read the repository',
  isMet: () => {
    if (process.getuid?.() !== 0) return process.platform !== 'win32';
    try {
      execFileSync(process.execPath, [MAIN, '--version'], { uid: OTHER_USER, gid: OTHER_USER, stdio: 'ignore' });
      return true;
    } catch {
      return false;
    }
  },
};

/** A user of whom nothing is written anywhere. */
const NOBODY_KNOWN = 54_321;

/** Runs the command as a user who is not root. */
function runAs(...args: string[]): Promise<Ended> {
  const user = process.getuid?.() === 0 ? { uid: OTHER_USER, gid: OTHER_USER } : {};
  return runProgram([process.execPath, MAIN, ...args], { cwd: at(), ...user });
}

/** Runs a shell script in which `$millrace` is the command. */
function runShell(script: string, wrapper: readonly string[] = []): Promise<Ended> {
  const env = { ...process.env, node: process.execPath, main: MAIN, cat };
  return runProgram([...wrapper, 'sh', '-c', script], { cwd: at(), env });
}

describe('a command whose output is lost', { timeout: 60_000 }, () => {
  for (const args of [
    'models',
    '--help',
    '--version',
    'inspect default',
    'embed "$cat" --out -',
    'embed "$cat" --out /dev/full',
  ]) {
    testNeeding(linux)(`says so and fails where the disk is full: ${args}`, async () => {
      const ended = await runShell(`"$node" "$main" ${args} > /dev/full`);
      expect(ended.stderr).toMatch(/millrace: Cannot write .*: ENOSPC: no space left on device/);
      expect(ended.code).toBe(1);
    });
  }

  testNeeding(posix)('ends quietly when its reader has gone', async () => {
    const gone = await runShell('{ "$node" "$main" models; echo "$?" >&2; } | true');
    expect(gone.stderr).toMatch(/^(0|141)\n$/);
  });

  for (const closed of ['>&-', '2>&-', '>&- 2>&- <&-']) {
    testNeeding(posix)(`works with streams that are closed from the start: ${closed}`, async () => {
      const ended = await runShell(`"$node" "$main" embed "$cat" --out closed.jsonl ${closed}`);
      expect(ended.code).toBe(0);
      expect(await readRecords(at('closed.jsonl'))).toHaveLength(1);
    });
  }
});

describe('a full disk', { timeout: 60_000 }, () => {
  const onSmallDisk = (script: string): Promise<Ended> =>
    runShell(`mount -t tmpfs -o size=64k none /mnt && cd /mnt && ${script}`, ['unshare', '--mount']);

  testNeeding(mountNamespaces)('ends a run with its reason, whole lines and a way to go on', async () => {
    const embed = `"$node" "$main" embed "${PHOTOS}" --workers 1 --out v.jsonl`;
    const ended = await onSmallDisk(
      `head -c 20000 /dev/zero > z; ${embed}; echo "code $?"; tail -c 3 v.jsonl; rm z; ${embed} --resume; echo "code $?"; wc -l < v.jsonl`,
    );
    expect(ended.stderr).toContain('Cannot write v.jsonl: ENOSPC: no space left on device');
    expect(ended.stderr).toMatch(/\d+ images are in v\.jsonl; run the same command with --resume to continue/);
    expect(ended.stdout).toMatch(/code 1\n.*\]\}\ncode 0\n22\n$/s);
  });

  for (const name of ['v.npy', 'v.parquet']) {
    testNeeding(mountNamespaces)(`does not let ${name} be said to be written when it is not`, async () => {
      const ended = await onSmallDisk(`head -c 60000 /dev/zero > z; "$node" "$main" embed "${PHOTOS}" --out ${name}`);
      expect(ended.stderr).toMatch(/millrace: Cannot write .*: ENOSPC: no space left on device/);
      expect(ended.stderr).not.toContain('written to');
      expect(ended.code).toBe(1);
    });
  }

  testNeeding(mountNamespaces)('leaves no half page of the demo', async () => {
    const page = await onSmallDisk(`"$node" "$main" demo "${PHOTOS}" -d out > /dev/null; echo "code $?"; ls out`);
    expect(page.stderr).toMatch(/Cannot write .*index\.html: ENOSPC/);
    expect(page.stdout).toBe('code 1\nembeddings.jsonl\n');
  });
});

describe('another user', { timeout: 60_000 }, () => {
  testNeeding(otherUser)('gets an error record for each folder that he may not read, and exit code 1', async () => {
    for (const inner of ['a', 'locked', 'z']) {
      await mkdir(at('lib', inner), { recursive: true });
      await copyFile(cat, at('lib', inner, 'x.jpg'));
    }
    await chmod(at('lib', 'locked'), 0);
    try {
      const ended = await runAs('embed', 'lib', '--out', 'v.jsonl');
      expect(ended.code).toBe(1);
      expect(ended.stderr).toContain(
        'lib/locked: ERR_IMAGE_READ: Cannot read folder "lib/locked": permission denied (EACCES)',
      );
      const records = await readRecords(at('v.jsonl'));
      expect(records.map(({ path: name }) => name)).toEqual(['lib/locked', 'lib/a/x.jpg', 'lib/z/x.jpg']);
      const retried = await runAs(
        'embed',
        'lib',
        '--out',
        'v.jsonl',
        '--resume',
        '--retry-errors',
        '--exclude',
        'locked',
      );
      expect(retried.code).toBe(0);
      const refused = await runAs('embed', 'lib/locked', '--out', 'w.jsonl');
      expect(refused).toMatchObject({
        code: 2,
        stderr: 'millrace: Cannot read folder "lib/locked": permission denied (EACCES)\n',
      });
    } finally {
      await chmod(at('lib', 'locked'), 0o755);
    }
  });
});

describe('without a home', { timeout: 60_000 }, () => {
  /** Runs the command as a user whom the system does not know. */
  function runHomeless(...args: string[]): Promise<Ended> {
    const user = process.getuid?.() === 0 ? { uid: NOBODY_KNOWN, gid: NOBODY_KNOWN } : {};
    const env = { PATH: process.env.PATH ?? '' };
    return runProgram([process.execPath, MAIN, ...args], { cwd: at(), env, ...user });
  }

  testNeeding(otherUser)('embeds', async () => {
    expect(await runHomeless('embed', cat, '--out', 'homeless.jsonl')).toMatchObject({ code: 0 });
    expect(await readRecords(at('homeless.jsonl'))).toHaveLength(1);
  });

  testNeeding(otherUser)('shows the demo', async () => {
    const ended = await runHomeless('demo', '-d', 'homeless');
    expect(ended).toMatchObject({ code: 0, stdout: expect.stringContaining('2 worker processes') });
    expect((await readdir(at('homeless'))).sort()).toEqual(['embeddings.jsonl', 'index.html']);
  });

  testNeeding(otherUser)('lists and describes models', async () => {
    expect(await runHomeless('models')).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('mobilenet-v1-0.25'),
    });
    expect(await runHomeless('inspect', 'default')).toMatchObject({ code: 0 });
  });
});

describe('a folder for temporary files that is not there, and one for caches that can not be written', {
  timeout: 60_000,
}, () => {
  test('are no reason not to embed', async () => {
    const env = { TMPDIR: at('nowhere'), XDG_CACHE_HOME: at('nowhere', 'cache'), HF_HOME: '/dev/null/hub' };
    const ended = await runCli(['embed', cat, '--out', at('no-tmp.jsonl')], { env });
    expect(ended).toMatchObject({ code: 0, stderr: expect.not.stringMatching(/nowhere|hub/) });
  });
});

testNeeding(posix)(
  'a glob opens few of many folders at once',
  async () => {
    await mkdir(at('wide'));
    await Promise.all(Array.from({ length: 1_000 }, (_, index) => mkdir(at('wide', `${index}`))));
    await copyFile(cat, at('wide', '7', 'x.jpg'));
    const ended = await runShell(`ulimit -n 200; "$node" "$main" embed "wide/**/*.jpg" --out wide.jsonl --workers 1`);
    expect(ended).toMatchObject({ code: 0, stderr: expect.not.stringContaining('EMFILE') });
    expect(await readRecords(at('wide.jsonl'))).toHaveLength(1);
  },
  60_000,
);

describe('a working folder that was deleted', { timeout: 60_000 }, () => {
  const inGone = (script: string): Promise<Ended> => runShell(`mkdir gone && cd gone && rmdir ../gone && ${script}`);

  testNeeding(linux)('does not matter where paths are absolute', async () => {
    const ended = await inGone(`"$node" "$main" embed "$cat" --out "${at('gone.jsonl')}" --workers 1`);
    expect(ended).toMatchObject({ code: 0, stderr: expect.not.stringContaining('watchdog') });
    expect(await readRecords(at('gone.jsonl'))).toHaveLength(1);
  });

  testNeeding(linux)('is named where they are not', async () => {
    expect(await inGone('"$node" "$main" embed "$cat" --out gone.jsonl')).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^millrace: .*the folder that the command was started in no longer exists\n$/),
    });
  });
});

testNeeding(linux)(
  'names that are not UTF-8 are embedded also where a shell has put them among the arguments',
  async () => {
    await mkdir(at('shell'));
    for (const name of ['caf\xe9.jpg', 'caf\xe8.jpg', 'a\xff.jpg']) {
      await copyFile(cat, Buffer.concat([Buffer.from(`${at('shell')}/`), Buffer.from(name, 'latin1')]) as never);
    }
    const ended = await runShell('"$node" "$main" embed shell/*.jpg --out shell.jsonl --workers 1');
    expect(ended).toMatchObject({ code: 0 });
    expect((await readRecords(at('shell.jsonl'))).map(({ path: name }) => path.basename(name)).sort()).toEqual([
      'a%FF.jpg',
      'caf%E8.jpg',
      'caf%E9.jpg',
    ]);
  },
  60_000,
);

describe('an output', { timeout: 60_000 }, () => {
  test('through a link is written where the link leads', async () => {
    await mkdir(at('deep'));
    await symlink(path.join('deep', 'real.jsonl'), at('link.jsonl'));
    const embed = (...more: string[]) => runCli(['embed', cat, '--out', 'link.jsonl', ...more], { cwd: at() });
    expect(await embed()).toMatchObject({ code: 0 });
    expect(await readRecords(at('deep', 'real.jsonl'))).toHaveLength(1);
    expect((await embed('--resume')).stderr).toContain('nothing to do');
    expect((await readdir(at('deep'))).sort()).toEqual(['real.jsonl']);
  });

  test('of two runs that start at once is one of theirs, whole', async () => {
    const runs = await Promise.all(
      [1, 2, 3].map(() => runCli(['embed', cat, '--out', at('race.jsonl'), '--workers', '1'])),
    );
    const codes = runs.map(({ code }) => code).sort();
    expect(codes[0]).toBe(0);
    // One that comes after another has ended may write it again.
    expect(codes.every((code) => code === 0 || code === 2)).toBe(true);
    expect(await readRecords(at('race.jsonl'))).toMatchObject([{ path: cat, embedding: { length: 256 } }]);
    expect((await readdir(at())).filter((name) => name.startsWith('race.jsonl.'))).toEqual([]);
  });

  test('holds the records of a long list that names few things many times', async () => {
    const run = startCli(['embed', '-', '--out', at('long.jsonl')], { isStdinOpen: true });
    const line = `${cat}\n`.repeat(20_000);
    run.child.stdin?.end(`${line}/nowhere/${'x'.repeat(5_000)}.jpg\n${line}`);
    const ended = await run.ended;
    expect(ended.stderr).toContain('note: 39999 named more than once, taken once');
    expect(ended.code).toBe(1);
    expect(await readRecords(at('long.jsonl'))).toMatchObject([
      { path: cat },
      { error: { code: 'ERR_IMAGE_NOT_FOUND' } },
    ]);
  });
});
