/** What a run does outside of what it was asked for: files, and attempts to reach a network. */
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../../', import.meta.url));
export const photo: string = path.join(root, 'examples', 'photos', 'cat-1.jpg');
export const oneImage: string = fileURLToPath(new URL('./one-image.mjs', import.meta.url));

/** Variables that move the caches or, as a CI system's own do, keep the runtime from sending telemetry. */
const withheld: ReadonlySet<string> = new Set([
  ...['HF_HOME', 'HF_HUB_CACHE', 'XDG_CACHE_HOME', 'ORT_DISABLE_TELEMETRY'],
  ...['CI', 'TF_BUILD', 'GITHUB_ACTIONS', 'GITLAB_CI', 'CIRCLECI', 'TRAVIS', 'JENKINS_URL', 'CODEBUILD_BUILD_ID'],
  ...['BUILDKITE', 'TEAMCITY_VERSION', 'APPVEYOR', 'BITBUCKET_BUILD_NUMBER'],
]);

export interface OutsideEffects {
  /** Files that are there afterwards, by their path below the run's folder, which is its home and working directory. */
  readonly files: readonly string[];
  /** Lines of strace: sockets of the Internet families; empty unless asked for. */
  readonly sockets: readonly string[];
}

/** Runs a script of Node's with an empty folder as its home and working directory, and looks at what it left. */
export async function outsideEffects(
  args: readonly string[],
  { env = {}, isTraced = false }: { env?: Record<string, string>; isTraced?: boolean } = {},
): Promise<OutsideEffects> {
  const home = await mkdtemp(path.join(os.tmpdir(), 'millrace-home-'));
  const log = `${home}.strace`;
  try {
    const own = Object.fromEntries(Object.entries(process.env).filter(([name]) => !withheld.has(name)));
    const traced = ['-f', '-qq', '-s', '4096', '-o', log, '-e', 'trace=socket', process.execPath];
    const [program, ...rest] = [...(isTraced ? ['strace', ...traced] : [process.execPath]), ...args] as [string];
    await run(program, rest, { cwd: home, env: { ...own, HOME: home, TMPDIR: home, ...env }, maxBuffer: 1e8 });
    const entries = await readdir(home, { recursive: true, withFileTypes: true });
    const files = entries
      .filter((entry) => !entry.isDirectory())
      .map((entry) => path.relative(home, path.join(entry.parentPath, entry.name)))
      .sort();
    const lines = isTraced ? (await readFile(log, 'utf8')).split('\n') : [];
    return { files, sockets: lines.filter((line) => /socket\((AF_INET|AF_INET6),/.test(line)) };
  } finally {
    await rm(home, { recursive: true, force: true });
    await rm(log, { force: true });
  }
}
