import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, readlink, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { FileLock, type LockHolder, withFileLock } from '../../src/image-embedding/file-lock.js';
import { pidNamespaces, testNeeding } from '../support/needs.js';
import { until } from '../support/until.js';

const CHILD = fileURLToPath(new URL('./lock-process.mjs', import.meta.url));

let folder: string;
let file: string;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'millrace-lock-'));
  file = path.join(folder, 'a.lock');
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

function start(rounds: number, die = 0): ChildProcess {
  return spawn(process.execPath, [CHILD, file, `${rounds}`, `${die}`], { stdio: ['ignore', 'pipe', 'inherit'] });
}

/** A process that has the lock and keeps it. */
async function holder(): Promise<ChildProcess> {
  const child = start(0);
  await once(child.stdout as NodeJS.ReadableStream, 'data');
  return child;
}

async function kill(child: ChildProcess): Promise<void> {
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}

async function taken(): Promise<FileLock> {
  const lock = await FileLock.tryTake(file);
  if (!(lock instanceof FileLock)) throw new Error(`process ${lock.pid} has it`);
  return lock;
}

/** What a process that has been killed left in a lock. */
async function leftover(): Promise<string> {
  await kill(await holder());
  return readFile(file, 'utf8');
}

/** What the taker of a lock, or of a guard, makes first when it finds a dead one's text in it. */
const guardOf = (text: string, taken: string = file) => {
  const what = `${path.basename(taken)}\0${text}`;
  return `${file}.${createHash('sha1').update(what).digest('hex').slice(0, 12)}`;
};
const agoSeconds = (seconds: number) => Date.now() / 1_000 - seconds;

describe('FileLock', () => {
  test('.tryTake() answers who has it until it is given back, and nothing is left behind', async () => {
    const lock = await taken();
    expect(await FileLock.tryTake(file)).toMatchObject({ pid: process.pid, host: expect.any(String) });
    await lock.release();
    await (await taken()).release();
    expect(await readdir(folder)).toEqual([]);
  });

  test('.tryTake() takes over at once from a process that was killed', async () => {
    await leftover();
    const lock = await taken();
    expect(await readdir(folder)).toEqual(['a.lock']);
    await lock.release();
    expect(await readdir(folder)).toEqual([]);
  });

  test.runIf(process.platform === 'linux')(
    '.tryTake() leaves it to a process that is paused, however long',
    async () => {
      const child = await holder();
      child.kill('SIGSTOP');
      await utimes(file, 0, 0);
      expect(await FileLock.tryTake(file)).toMatchObject({ pid: child.pid });
      child.kill('SIGCONT');
      await kill(child);
      await (await taken()).release();
    },
  );

  test.runIf(process.platform === 'linux')(
    '.tryTake() is not misled by a process that has the number of a dead one',
    async () => {
      const text = await leftover();
      await writeFile(file, text.replace(/"pid":\d+/, `"pid":${process.pid}`));
      await (await taken()).release();
    },
  );

  test.each([
    '{"pid":1,"host":"elsewhere","machine":"another","start":"1","id":"x"}',
    '',
    '{',
    '"?"',
    'null',
    '{"pid":-1}',
  ])('.tryTake() goes by age where %j is all that is known', async (text) => {
    await writeFile(file, text);
    await utimes(file, agoSeconds(20), agoSeconds(20));
    expect(await FileLock.tryTake(file)).not.toBeInstanceOf(FileLock);
    await utimes(file, agoSeconds(40), agoSeconds(40));
    await (await taken()).release();
    expect(await readdir(folder)).toEqual([]);
  });

  test('.tryTake() takes over from a process that died while it was taking over', async () => {
    const first = await leftover();
    await rm(file);
    const second = await leftover();
    await writeFile(file, first);
    await writeFile(guardOf(first), second);
    await (await taken()).release();
    expect(await readdir(folder)).toEqual([]);
  });

  test('.tryTake() takes over from any number of processes that died while they were taking over', async () => {
    const dead = await leftover();
    let place = file;
    for (let count = 0; count < 60; count += 1) {
      const text = dead.replace(/"id":"[^"]+"/, `"id":"${count}"`);
      await writeFile(place, text);
      place = guardOf(text, place);
    }
    expect(Math.max(...(await readdir(folder)).map((name) => name.length))).toBeLessThan(30);
    await (await taken()).release();
    expect(await readdir(folder)).toEqual([]);
  });

  test('.tryTake() waits for nobody who is taking over, and does not disturb him', async () => {
    const text = await leftover();
    const child = await holder();
    await writeFile(guardOf(text), await readFile(file, 'utf8'));
    await writeFile(file, text);
    expect(await FileLock.tryTake(file)).toMatchObject({ pid: child.pid });
    expect(await readFile(file, 'utf8')).toBe(text);
    await kill(child);
    await (await taken()).release();
  });

  test('.tryTake() gives what was left behind to one of many', async () => {
    const text = await leftover();
    // Each begins a little later than the one before: some find what was left, and go on when another has taken it over.
    const later = async (turns: number) => {
      for (let turn = 0; turn < turns; turn += 1) await new Promise(setImmediate);
      return FileLock.tryTake(file);
    };
    for (let round = 0; round < 60; round += 1) {
      await writeFile(file, text);
      const all = await Promise.all(Array.from({ length: 8 }, (_, index) => later(index * (round % 6))));
      const winners = all.filter((each: FileLock | LockHolder) => each instanceof FileLock);
      expect(winners).toHaveLength(1);
      await winners[0]?.release();
    }
    expect(await readdir(folder)).toEqual([]);
  });

  test('lets one process in at a time, though some are killed inside', async () => {
    const children = Array.from({ length: 6 }, (_, index) => start(15, index % 2));
    const ends = await Promise.all(children.map((child) => once(child, 'exit')));
    expect(ends.map(([code, signal]) => signal ?? code)).toEqual([0, 'SIGKILL', 0, 'SIGKILL', 0, 'SIGKILL']);
    await (await taken()).release();
    expect(await readdir(folder)).toEqual([]);
  }, 30_000);

  test('.release() leaves a lock alone that another has taken over', async () => {
    const lock = await taken();
    await writeFile(file, 'another');
    await lock.release();
    expect(await readFile(file, 'utf8')).toBe('another');
  });
});

describe('withFileLock()', () => {
  test('waits for the one before, in a folder that it makes, and gives the lock back after a failure', async () => {
    const target = path.join(folder, 'below', 'b');
    const order: string[] = [];
    let open: () => void = () => undefined;
    const opened = new Promise<void>((resolve) => {
      open = resolve;
    });
    let second: Promise<unknown> | undefined;
    const first = withFileLock(target, undefined, async () => {
      second = withFileLock(target, undefined, async () => order.push('second'));
      await opened;
      order.push('first');
      throw new Error('failed');
    });
    setTimeout(open, 20);
    await expect(first).rejects.toThrow('failed');
    await second;
    expect(order).toEqual(['first', 'second']);
    expect(await readdir(path.dirname(target))).toEqual([]);
  });

  test('gives up waiting with its signal', async () => {
    const lock = await taken();
    const controller = new AbortController();
    const waiting = withFileLock(file.replace(/\.lock$/, ''), controller.signal, async () => 'never');
    controller.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow();
    await lock.release();
  });
});

/** Processes of every container can be seen only from there. */
const canSeeAll = await readlink('/proc/self/ns/pid').then(
  (name) => name === 'pid:[4026531836]',
  () => false,
);

testNeeding(pidNamespaces)(
  'FileLock.tryTake() knows of a container on this machine whether it is gone, where all processes can be seen',
  async () => {
    const child = spawn(
      'unshare',
      ['--pid', '--fork', '--kill-child', '--mount-proc', process.execPath, CHILD, file, '0', '0'],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    await once(child.stdout as NodeJS.ReadableStream, 'data');
    const alive = await FileLock.tryTake(file);
    expect(alive).toMatchObject({ pid: expect.any(Number), ...(canSeeAll ? {} : { touchedAt: expect.any(Number) }) });
    if (canSeeAll) {
      // However long it has not been touched.
      await utimes(file, agoSeconds(60), agoSeconds(60));
      expect(await FileLock.tryTake(file)).toMatchObject({ pid: expect.any(Number) });
    }
    await kill(child);
    await until('the end of the container', async () => {
      const found = await FileLock.tryTake(file);
      if (!(found instanceof FileLock)) return canSeeAll ? undefined : found.touchedAt !== undefined;
      expect(canSeeAll).toBe(true);
      await found.release();
      return true;
    });
  },
);
