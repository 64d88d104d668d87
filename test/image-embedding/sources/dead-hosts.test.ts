/** Hosts and name servers that never answer, beside what is there: a pool with one worker, in a process of its own. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { mountNamespaces, networkNamespaces, program, root, testNeeding } from '../../support/needs.js';

const run = promisify(execFile);
const pool = fileURLToPath(new URL('./dead-hosts-pool.mjs', import.meta.url));
const photo = fileURLToPath(new URL('../../../examples/photos/cat-1.jpg', import.meta.url));
const NAME_SERVER = '127.0.0.53';

/** Dead hosts take 8 s to be given up: what is not held up by them comes in a part of that. */
function expectQuick(stdout: string, names: readonly string[]): void {
  const found = JSON.parse(stdout) as [string, number, number][];
  expect(found.map(([name, length]) => [name, length])).toEqual(names.map((name) => [name, 256]));
  for (const [name, , ms] of found) expect({ name, isQuick: ms < 4_000 }).toEqual({ name, isQuick: true });
}

describe('a pool beside sixty URLs that nobody answers', () => {
  test('embeds paths and the URLs of other hosts, where they are all of one host', async () => {
    const { stdout } = await run(process.execPath, [pool, photo]);
    expectQuick(stdout, ['path', 'address']);
  }, 30_000);

  testNeeding(
    root,
    networkNamespaces,
    mountNamespaces,
    program('ip', '-V'),
  )(
    'embeds paths, addresses and names, where a dead name server is to know theirs',
    async () => {
      const folder = await mkdtemp(path.join(os.tmpdir(), 'millrace-dead-'));
      try {
        await writeFile(path.join(folder, 'resolv.conf'), `nameserver ${NAME_SERVER}\n`);
        await writeFile(path.join(folder, 'hosts'), '127.0.0.1 localhost good.example\n');
        const script = `ip link set lo up && mount --bind ${folder}/resolv.conf /etc/resolv.conf && mount --bind ${folder}/hosts /etc/hosts && exec "$@"`;
        const { stdout } = await run('unshare', [
          ...['--net', '--mount', 'sh', '-c', script, 'sh'],
          ...[process.execPath, pool, photo, NAME_SERVER],
        ]);
        expectQuick(stdout, ['path', 'address', 'name']);
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    },
    30_000,
  );
});
