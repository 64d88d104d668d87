import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../../', import.meta.url));
const modules = path.join(root, 'node_modules');

let folder = '';
let project = '';
let bare = '';
let light = '';

/** An empty project with the package in it, unpacked, beside links to the packages it may use. */
async function makeProject(name: string, tarball: string, isWanted: (dependency: string) => boolean): Promise<string> {
  const made = path.join(folder, name);
  await mkdir(path.join(made, 'node_modules'), { recursive: true });
  await writeFile(path.join(made, 'package.json'), JSON.stringify({ name: 'empty', private: true, type: 'module' }));
  await run('tar', ['-xzf', tarball, '-C', made]);
  await rename(path.join(made, 'package'), path.join(made, 'node_modules', 'millrace'));
  const { dependencies, optionalDependencies } = JSON.parse(await readFile(path.join(root, 'package.json'), 'utf8'));
  for (const dependency of Object.keys({ ...dependencies, ...optionalDependencies }).filter(isWanted)) {
    const link = path.join(made, 'node_modules', dependency);
    await mkdir(path.dirname(link), { recursive: true });
    await symlink(path.join(modules, dependency), link, 'junction');
  }
  return made;
}

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'millrace package ü '));
  await run('npm', ['pack', '--ignore-scripts', '--pack-destination', folder], { cwd: root });
  const tarball = (await readdir(folder)).find((name) => name.endsWith('.tgz')) as string;
  project = await makeProject('app', path.join(folder, tarball), () => true);
  const { optionalDependencies } = JSON.parse(await readFile(path.join(root, 'package.json'), 'utf8'));
  light = await makeProject('light', path.join(folder, tarball), (name) => !(name in optionalDependencies));
  bare = await makeProject(
    'no natives',
    path.join(folder, tarball),
    (name) => !/^(onnxruntime-node|sharp)$/.test(name),
  );
}, 60_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

async function evaluate(cwd: string, code: string): Promise<string> {
  const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', code], { cwd });
  return stdout.trim();
}

/** What a user's code says of the types: each entry once, and what is inferred from it. */
const CONSUMER = `
import { select, mpsc, sleep, type CancellationToken } from 'millrace/channels';
import { toNodeReadable } from 'millrace/channels/node';
import { createImageEmbeddingPool } from 'millrace/image-embedding';
import { createPool, type PoolHealth } from 'millrace/pool';
import { operation, spawnWorker } from 'millrace/worker';
import { isMillraceError, MillraceError } from 'millrace';

export async function use(stop: CancellationToken): Promise<number> {
  const [tx, rx] = mpsc.channel<number>(1);
  await tx.send(1);
  // @ts-expect-error: numbers only
  await tx.send('1');
  const event = await select({ rx, stop, idle: sleep(1) });
  if (event.arm === 'rx') return event.value;
  const readable: NodeJS.ReadableStream = toNodeReadable(rx);
  const operations = { upper: operation<string, string>() };
  const worker = spawnWorker({ operations, host: 'inline', model: { upper: (text) => text.toUpperCase() } });
  const answer: string = await worker.call('upper', 'a');
  const pool = createPool();
  const health: PoolHealth = pool.health();
  const images = createImageEmbeddingPool({ workers: 1 });
  const vector: Float32Array = await images.embedImage(answer);
  if (isMillraceError(health, 'ERR_POOL_CLOSED') && health instanceof MillraceError) throw new Error(String(readable));
  return vector.length;
}
`;

async function typeCheck(cwd: string, name: string, compilerOptions: object): Promise<string> {
  const config = path.join(cwd, `tsconfig.${name}.json`);
  await writeFile(path.join(cwd, 'consumer.ts'), CONSUMER);
  const types = path.relative(cwd, path.join(modules, '@types'));
  const options = {
    strict: true,
    noEmit: true,
    target: 'es2022',
    types: ['node'],
    typeRoots: [types],
    ...compilerOptions,
  };
  await writeFile(config, JSON.stringify({ compilerOptions: options, files: ['consumer.ts'] }));
  const tsc = path.join(modules, 'typescript', 'bin', 'tsc');
  return await run(process.execPath, [tsc, '-p', config, '--pretty', 'false'], { cwd }).then(
    ({ stdout }) => stdout,
    (error: { stdout: string; message: string }) => error.stdout || error.message,
  );
}

describe.concurrent('the packed tarball', { timeout: 90_000 }, () => {
  // The declarations themselves are checked, too: skipLibCheck is off.
  test.each([
    ['nodenext', { module: 'nodenext', exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true }],
    ['bundler', { module: 'esnext', moduleResolution: 'bundler' }],
  ])('has types that hold in a strict project: %s', async (name, compilerOptions) => {
    expect(await typeCheck(project, name, compilerOptions)).toBe('');
  });

  test('gives every entry to require() as well', async () => {
    const code = `const { mpsc } = require('millrace/channels');
      const all = require('millrace');
      console.log(typeof mpsc.channel, all.mpsc === mpsc, typeof all.createPool, typeof require('millrace/image-embedding').similarity);`;
    const { stdout } = await run(process.execPath, ['--input-type=commonjs', '--eval', code], { cwd: project });
    expect(stdout.trim()).toBe('function true function function');
  });

  test('gives every entry to an empty project', async () => {
    const { exports } = JSON.parse(await readFile(path.join(root, 'package.json'), 'utf8')) as { exports: object };
    const entries = Object.keys(exports)
      .filter((entry) => !entry.endsWith('.json') && entry !== './otel')
      .map((entry) => path.posix.join('millrace', entry));
    expect(entries).toContain('millrace/channels');
    const code = `for (const entry of ${JSON.stringify(entries)}) console.log(entry, Object.keys(await import(entry)).length > 3);`;
    expect(await evaluate(project, code)).toBe(entries.map((entry) => `${entry} true`).join('\n'));
    // It is nothing without its peer, which whoever imports it has.
    const lacking = "await import('millrace/otel').catch(({ message }) => console.log(message))";
    expect(await evaluate(project, lacking)).toContain("Cannot find package '@opentelemetry/api'");
  });

  test('loads neither native package until a model or an image is used', async () => {
    expect(await evaluate(bare, "console.log(typeof (await import('millrace')).createImageEmbeddingPool)")).toBe(
      'function',
    );
    const code = `const { mpsc, select } = await import('millrace/channels');
      const [tx, rx] = mpsc.channel(1);
      await tx.send(42);
      console.log((await select({ message: rx })).value);`;
    expect(await evaluate(bare, code)).toBe('42');
  });

  test('embeds from inside node_modules, with the model it carries', async () => {
    const photo = path.join(root, 'examples', 'photos', 'cat-1.jpg');
    const main = path.join(project, 'node_modules', 'millrace', 'dist', 'cli', 'main.js');
    await run(process.execPath, [main, 'embed', photo, '--out', 'vectors.jsonl'], { cwd: project });
    const [line = ''] = (await readFile(path.join(project, 'vectors.jsonl'), 'utf8')).split('\n');
    expect(JSON.parse(line)).toMatchObject({ path: photo, dim: 256 });
  });

  test('says what to install where the native packages are missing', async () => {
    const photo = path.join(root, 'examples', 'photos', 'cat-1.jpg');
    const main = path.join(bare, 'node_modules', 'millrace', 'dist', 'cli', 'main.js');
    const failed = await run(process.execPath, [main, 'embed', photo, '--out', 'vectors.jsonl'], { cwd: bare }).then(
      () => undefined,
      (error: { code: number; stderr: string }) => error,
    );
    expect(failed?.stderr).toContain('ONNXRUNTIME_NODE_INSTALL=skip npm install onnxruntime-node sharp');
    expect(failed?.code).toBe(2);
  });

  test('has maps of its code and its declarations, and the sources that they name', async () => {
    const root = path.join(project, 'node_modules', 'millrace');
    const names = (await readdir(root, { recursive: true })).map((name) => name.split(path.sep).join('/'));
    const present = new Set(names);
    const maps = names.filter((name) => name.endsWith('.map'));
    expect(maps.filter((name) => name.endsWith('.d.ts.map')).length).toBeGreaterThan(150);
    for (const map of maps) {
      const { sources } = JSON.parse(await readFile(path.join(root, map), 'utf8')) as { sources: string[] };
      for (const source of map === 'dist/channels.js.map' ? [] : sources) {
        expect(present).toContain(path.posix.join(path.posix.dirname(map), source));
      }
      expect(present).toContain(map.replace(/\.map$/, ''));
    }
    const code =
      "import { mpsc } from 'millrace'; try { mpsc.channel(0); } catch (error) { console.log(error.stack); }";
    const { stdout } = await run(process.execPath, ['--enable-source-maps', '--input-type=module', '--eval', code], {
      cwd: project,
    });
    expect(stdout).toMatch(/millrace\/src\/channels\/mpsc\/bounded\.ts:\d+/);
  });

  test('holds every file that its README and its guides link to, and says where it is at home', async () => {
    const root = path.join(project, 'node_modules', 'millrace');
    const names = (await readdir(root, { recursive: true })).map((name) => name.split(path.sep).join('/'));
    const broken: string[] = [];
    for (const page of names.filter((name) => name.endsWith('.md'))) {
      const text = await readFile(path.join(root, page), 'utf8');
      for (const [, link = ''] of text.matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)) {
        if (/^(?:https?|mailto):/.test(link)) continue;
        const target = path.posix.join(path.posix.dirname(page), link).replace(/\/$/, '');
        if (!names.includes(target)) broken.push(`${page}: ${link}`);
      }
    }
    expect(broken).toEqual([]);
    const { repository, homepage, bugs } = JSON.parse(await readFile(path.join(root, 'package.json'), 'utf8'));
    for (const url of [repository.url, homepage, bugs.url]) expect(url).toMatch(/^(?:git\+)?https:\/\//);
  });

  test('has a doctor that says what is missing, and what to do', async () => {
    const main = path.join(bare, 'node_modules', 'millrace', 'dist', 'cli', 'main.js');
    const file = path.join(bare, 'package.json');
    const env = { ...process.env, HF_HOME: file, HF_HUB_CACHE: undefined };
    const failed = await run(process.execPath, [main, 'doctor'], { cwd: bare, env }).then(
      () => undefined,
      (error: { code: number; stdout: string }) => error,
    );
    expect(failed?.code).toBe(1);
    const install = '→ ONNXRUNTIME_NODE_INSTALL=skip npm install onnxruntime-node sharp';
    expect(failed?.stdout.split('\n').map((line) => line.trim().replace(/\s+/g, ' '))).toEqual([
      expect.stringMatching(/^ok Node /),
      'NO onnxruntime-node not installed',
      install,
      'NO sharp not installed',
      install,
      expect.stringMatching(/^ok cores /),
      expect.stringMatching(/^ok memory /),
      `NO model cache ${path.join(file, 'hub')} can't be written`,
      '→ make it writable, or set HF_HOME to a folder that is; the built-in model needs none',
      'NO self-test not run without onnxruntime-node and sharp',
      install,
      '',
    ]);
  });

  test('needs two packages for channels, workers and pools, and says which one a command lacks', async () => {
    const { dependencies } = JSON.parse(await readFile(path.join(root, 'package.json'), 'utf8'));
    expect(Object.keys(dependencies)).toEqual(['@repeaterjs/repeater', 'p-queue']);
    const code = "await Promise.all(['millrace', 'millrace/channels', 'millrace/pool'].map((n) => import(n)))";
    expect(await evaluate(light, `${code}; console.log('all')`)).toBe('all');
    const main = path.join(light, 'node_modules', 'millrace', 'dist', 'cli', 'main.js');
    const refuse = (...args: string[]) =>
      run(process.execPath, [main, ...args], { cwd: light }).then(
        () => undefined,
        (error: { code: number; stderr: string }) => [error.code, error.stderr],
      );
    const said = (name: string) =>
      `millrace: Cannot run the command: the optional package ${name} is not installed, install it with npm install ${name}\n`;
    expect(await refuse('--help')).toEqual([1, said('commander')]);
    await symlink(path.join(modules, 'commander'), path.join(light, 'node_modules', 'commander'), 'junction');
    expect(await refuse('embed', '*.jpg', '--out', 'v.jsonl')).toEqual([
      1,
      expect.stringMatching(/^millrace: Cannot run the command: the optional package (picomatch|tinyglobby) is not/),
    ]);
    const download = `import { createImageEmbeddingPool } from 'millrace/image-embedding';
      const hub = { cacheDir: 'none', endpoint: 'http://127.0.0.1:1', retries: 0 };
      const pool = createImageEmbeddingPool({ model: 'millrace/none', hub, host: 'thread' });
      let error = await pool.embedImage('none.jpg').catch((error) => error);
      while (error.cause?.code?.startsWith('ERR_MODEL')) error = error.cause;
      console.log(error.code, error.message);
      await pool.close();`;
    // A download needs no package.
    expect(await evaluate(light, download)).toMatch(/^ERR_MODEL_DOWNLOAD .*the hub could not be reached/);
  });

  test('has a doctor that says why an installed package does not load', async () => {
    const broken = path.join(folder, 'broken');
    await cp(path.join(bare, 'node_modules'), path.join(broken, 'node_modules'), {
      recursive: true,
      verbatimSymlinks: true,
    });
    for (const name of ['onnxruntime-node', 'sharp']) {
      const place = path.join(broken, 'node_modules', name);
      await mkdir(place, { recursive: true });
      await writeFile(path.join(place, 'package.json'), JSON.stringify({ name, version: '0.0.1', main: 'index.js' }));
      await writeFile(path.join(place, 'index.js'), "throw new Error('built for another machine');\n");
    }
    const main = path.join(broken, 'node_modules', 'millrace', 'dist', 'cli', 'main.js');
    const failed = await run(process.execPath, [main, 'doctor'], { cwd: broken }).then(
      () => undefined,
      (error: { stdout: string }) => error,
    );
    expect(failed?.stdout).toMatch(/^NO {2}self-test +ERR_MODEL_RUNTIME_MISSING: .*built for another machine/m);
  });
});
