import { execFile, execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect } from 'vitest';
import { linux, type Need, program, root, testNeeding } from '../../support/needs.js';

const run = promisify(execFile);
const dist = fileURLToPath(new URL('../../../dist/worker/index.js', import.meta.url));
// Root is under no such limit, and another user's processes would count.
const uid = 40_000 + (process.pid % 10_000);
const asUser = ['--reuid', `${uid}`, '--clear-groups'];

const readable: Need = {
  name: 'a build that other users can read',
  isMet() {
    try {
      execFileSync('setpriv', [...asUser, process.execPath, '-e', `fs.accessSync(${JSON.stringify(dist)})`]);
      return true;
    } catch {
      return false;
    }
  },
};

const script = `
  import { operation, spawnWorker } from ${JSON.stringify(dist)};
  const module = 'data:text/javascript,export default () => ({ echo: (input) => input })';
  const worker = spawnWorker({ operations: { echo: operation() }, module, stdio: 'ignore' });
  console.log(await worker.call('echo', 'up').catch((error) => error.message));
  process.exit(0);`;

testNeeding(
  linux,
  root,
  program('setpriv'),
  program('prlimit'),
  readable,
)(
  'a child that can not make its threads ends soon, and says which limit it is',
  async () => {
    const said: string[] = [];
    // From what no child starts with to what one starts with: it aborts, hangs in Node itself, or throws, by what it lacks.
    for (const limit of [14, 17, 20, 22]) {
      const started = [`--nproc=${limit}`, process.execPath, '--input-type=module', '--eval', script];
      // Where not even the parent comes up, there is nothing to say.
      const { stdout } = await run('setpriv', [...asUser, 'prlimit', ...started], { timeout: 30_000 }).catch(() => ({
        stdout: '',
      }));
      if (stdout !== '') said.push(stdout.trim());
    }
    const failed = said.filter((line) => line !== 'up');
    expect(failed.length).toBeGreaterThan(0);
    for (const line of failed) {
      expect(line).toMatch(/^Cannot load model: .*\(Error: it could not make its threads: .*; a worker takes/);
    }
  },
  90_000,
);
