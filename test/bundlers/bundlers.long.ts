/**
 * Applications as bundlers and Plug'n'Play make them, by the settings of docs/bundlers.md. Each fixture has a lock file of its own and is installed from the
 * registry into a folder of its own, beside the packed tarball.
 */
import { execFile, spawn } from 'node:child_process';
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect } from 'vitest';
import { type Need, program, testNeeding } from '../support/needs.js';

const run = promisify(execFile);
const fixtures = fileURLToPath(new URL('.', import.meta.url));
const root = fileURLToPath(new URL('../../', import.meta.url));
const picture = path.join(root, 'examples', 'photos', 'cat-1.jpg');
const env = {
  ...process.env,
  PICTURE: picture,
  ONNXRUNTIME_NODE_INSTALL: 'skip',
  NEXT_TELEMETRY_DISABLED: '1',
  YARN_ENABLE_TELEMETRY: '0',
};
const registry: Need = program('npm', 'ping', '--silent');
const RAN = ['thread', 'process', 'embedded 256'];

let folder: string;
let tarball: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'millrace-bundlers-'));
  await run('npm', ['pack', '--ignore-scripts', '--pack-destination', folder], { cwd: root });
  tarball = path.join(folder, (await readdir(folder)).find((name) => name.endsWith('.tgz')) as string);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** A copy of a fixture, with its packages; and millrace, unless it is installed otherwise. */
async function install(name: string, withMillrace = true): Promise<string> {
  const project = path.join(folder, name);
  await cp(path.join(fixtures, name), project, { recursive: true });
  const quiet = ['--no-audit', '--no-fund', '--loglevel=error'];
  await run('npm', ['ci', ...quiet], { cwd: project, env });
  if (withMillrace) {
    const packages = [tarball, 'onnxruntime-node', 'sharp'];
    await run('npm', ['install', '--no-save', ...quiet, ...packages], { cwd: project, env });
  }
  return project;
}

async function lines(command: string, args: readonly string[], cwd: string): Promise<string[]> {
  const { stdout } = await run(command, args, { cwd, env, maxBuffer: 2 ** 24 });
  return stdout.trim().split('\n');
}

for (const name of ['webpack', 'esbuild']) {
  testNeeding(registry)(`${name} bundles an application that runs by the documented settings`, async () => {
    const project = await install(name);
    // Bundled it finds the files that workers start from in the package beside it; webpack's output does not run there.
    for (const how of name === 'webpack' ? ['external'] : ['external', 'bundled']) {
      await run(process.execPath, ['build.mjs', how], { cwd: project, env });
      expect(await lines(process.execPath, ['dist/app.mjs'], project), how).toEqual(RAN);
    }
  });
}

testNeeding(registry)('next build makes a route handler that embeds, with serverExternalPackages', async () => {
  const project = await install('next');
  const next = path.join(project, 'node_modules', 'next', 'dist', 'bin', 'next');
  await run(process.execPath, [next, 'build'], { cwd: project, env, maxBuffer: 2 ** 24 });
  const server = spawn(process.execPath, [next, 'start', '--hostname', '127.0.0.1', '--port', '0'], {
    cwd: project,
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    const url = await new Promise<string>((resolve, reject) => {
      let said = '';
      server.stdout.on('data', (text) => {
        said += text;
        const found = /http:\/\/127\.0\.0\.1:\d+/.exec(said)?.[0];
        if (found !== undefined) resolve(found);
      });
      server.once('exit', (code) => reject(new Error(`next start ended with ${code}: ${said}`)));
    });
    const response = await fetch(`${url}/api/embed`, { method: 'POST', body: await readFile(picture) });
    expect(await response.json()).toEqual({ dimension: 256 });
  } finally {
    server.kill('SIGTERM');
    await new Promise((resolve) => server.once('close', resolve));
  }
});

testNeeding(registry)("Yarn's Plug'n'Play runs workers and the command", async () => {
  const project = await install('yarn-pnp', false);
  const yarn = path.join(project, 'node_modules', '@yarnpkg', 'cli-dist', 'bin', 'yarn.js');
  const app = path.join(folder, 'pnp');
  await cp(path.join(fixtures, 'yarn-pnp', 'app.mjs'), path.join(app, 'app.mjs'));
  await writeFile(path.join(app, 'package.json'), JSON.stringify({ name: 'app', private: true, type: 'module' }));
  await writeFile(path.join(app, 'yarn.lock'), '');
  const settings = ['nodeLinker: pnp', 'enableScripts: false', 'enableGlobalCache: false', 'enableTelemetry: false'];
  await writeFile(path.join(app, '.yarnrc.yml'), `${settings.join('\n')}\n`);
  await run(process.execPath, [yarn, 'add', `millrace@file:${tarball}`, 'onnxruntime-node', 'sharp'], {
    cwd: app,
    env,
    maxBuffer: 2 ** 24,
  });
  expect(await lines(process.execPath, [yarn, 'node', 'app.mjs'], app)).toEqual(RAN);
  const doctor = await lines(process.execPath, [yarn, 'millrace', 'doctor'], app);
  expect(doctor.filter((line) => line.startsWith('NO'))).toEqual([]);
});
