import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
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

describe('the packed tarball', () => {
  test('gives every entry to an empty project', async () => {
    const { exports } = JSON.parse(await readFile(path.join(root, 'package.json'), 'utf8')) as { exports: object };
    const entries = Object.keys(exports)
      .filter((entry) => !entry.endsWith('.json'))
      .map((entry) => path.posix.join('millrace', entry));
    expect(entries).toContain('millrace/channels');
    const code = `for (const entry of ${JSON.stringify(entries)}) console.log(entry, Object.keys(await import(entry)).length > 3);`;
    expect(await evaluate(project, code)).toBe(entries.map((entry) => `${entry} true`).join('\n'));
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
    expect(failed?.stderr).toContain('npm install --ignore-scripts onnxruntime-node sharp');
    expect(failed?.code).toBe(2);
  });
});
