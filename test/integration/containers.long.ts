import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect } from 'vitest';
import { linux, pidNamespaces, root, testNeeding } from '../support/needs.js';
import { PHOTOS, until } from './cli-process.js';
import { asPidOne, MAIN, runIn } from './container-kinds.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'millrace-container-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

// The lock of the killed run is another container's, and counts as stale after half a minute.
testNeeding(linux, root, pidNamespaces)(
  'millrace embed --resume goes on in a container that was killed and started again',
  async () => {
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
    const startedAt = performance.now();
    const second = await runIn(asPidOne, embed);
    expect(second.code, second.stderr).toBe(0);
    expect(performance.now() - startedAt).toBeLessThan(60_000);
    const paths = (await readFile(out, 'utf8'))
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { path?: string }).path)
      .filter((each) => each !== undefined);
    expect(new Set(paths).size).toBe(paths.length);
    expect(paths.length).toBeGreaterThanOrEqual(20);
  },
  90_000,
);
