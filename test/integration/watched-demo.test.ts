import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { networkNamespaces, program, testNeeding } from '../support/needs.js';
import { MAIN } from './cli-process.js';

const strace = program('strace', '-f', '-qq', '-o', '/dev/null', 'true');
const PAGE = ['cwd/demo-out/embeddings.jsonl', 'cwd/demo-out/index.html'];

let folder = '';
const at = (...names: string[]): string => path.join(folder, ...names);

beforeEach(async () => {
  folder = await realpath(await mkdtemp(path.join(tmpdir(), 'millrace-watched-')));
  for (const name of ['cwd', 'home', 'tmp']) await mkdir(at(name));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** Runs the demo by a program, in folders of its own: home, temporary files, and where it is run. */
async function runDemo(command: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<string> {
  const [file = '', ...args] = [...command, process.execPath, MAIN, 'demo'];
  const { stdout } = await promisify(execFile)(file, args, {
    cwd: at('cwd'),
    env: { PATH: process.env.PATH ?? '', HOME: at('home'), TMPDIR: at('tmp'), ...env },
    maxBuffer: 1e8,
  });
  return stdout;
}

/** Every file below the three folders. */
async function filesLeft(): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => path.relative(folder, path.join(entry.parentPath, entry.name)))
    .sort();
}

test('millrace demo leaves its two files and nothing else', async () => {
  expect(await runDemo([])).toContain('2 worker processes');
  expect(await filesLeft()).toEqual(PAGE);
}, 60_000);

testNeeding(networkNamespaces)(
  'millrace demo needs no network',
  async () => {
    expect(await runDemo(['unshare', '--net'])).toContain('2 worker processes');
    expect(await filesLeft()).toEqual(PAGE);
  },
  60_000,
);

const WRITES = /^(?:openat|open|creat)\(.*\bO_(?:WRONLY|RDWR|CREAT)\b|^(?:mkdir|rename|link|symlink)/;

testNeeding(strace)(
  'millrace demo and its workers connect to nothing and write nowhere but into its folder',
  async () => {
    const calls =
      'socket,connect,sendto,sendmsg,sendmmsg,open,openat,creat,mkdir,mkdirat,rename,renameat,renameat2,link,linkat,symlink,symlinkat';
    await runDemo(['strace', '-f', '-qq', '-s', '500', '-e', `trace=${calls}`, '-o', at('trace')]);
    const lines = (await readFile(at('trace'), 'utf8')).split('\n').map((line) => line.replace(/^\d+ +/, ''));
    // Both workers were watched.
    expect(lines.filter((line) => line.includes('onnxruntime_binding.node')).length).toBeGreaterThanOrEqual(2);
    expect(lines.filter((line) => /^socket\(AF_INET6?,/.test(line))).toEqual([]);
    // Name servers, the network, and what answers for them on a socket of the system.
    expect(lines.filter((line) => /AF_INET|nscd|resolve/.test(line) && /^(?:connect|send)/.test(line))).toEqual([]);
    const written = lines.filter((line) => WRITES.test(line)).map((line) => /"([^"]*)"/.exec(line)?.[1] ?? line);
    const elsewhere = written.filter((name) => {
      const inside = path.relative(at('cwd', 'demo-out'), path.resolve(at('cwd'), name));
      return inside.startsWith('..') && !/^\/dev\/(?:null|tty)$|^\/proc\/self\/|^\/dev\/shm\//.test(name);
    });
    expect(elsewhere).toEqual([]);
    await rm(at('trace'));
    expect(await filesLeft()).toEqual(PAGE);
  },
  60_000,
);
