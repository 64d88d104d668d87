/**
 * Checks the package as users get it, on every Node that it supports. Run by `npm run test:nodes [major]…`; it needs the registry, and takes minutes.
 *
 * Packs the tarball and installs it with the README's own line into an empty project, under a path with spaces and letters that are not ASCII. Then, on
 * each Node (they come as packages of the registry): every entry by `import` and `require`, the command, the worker hosts, and the
 * examples, which Node runs unchanged where it strips types. A second project leaves out the optional packages.
 */
import { execFile } from 'node:child_process';
import { copyFile, cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const MAJORS = ['20', '22', '24', '26'];
/** Examples that read what comes in and go on until they are stopped; tests of their own do that. */
const UNENDING = ['http-endpoint', 'keywords', 'photo-service', 'select-shutdown'];
const run = promisify(execFile);
const root = fileURLToPath(new URL('../', import.meta.url));
const majors = process.argv.length > 2 ? process.argv.slice(2) : MAJORS;
const folder = await mkdtemp(path.join(tmpdir(), 'millrace nodes ü 編 '));
const problems: string[] = [];

async function check(what: string, act: () => Promise<unknown>): Promise<void> {
  const start = performance.now();
  const problem = await act().then(
    () => undefined,
    (error: { message: string; stderr?: string; stdout?: string }) => error.stderr || error.stdout || error.message,
  );
  const took = `${((performance.now() - start) / 1000).toFixed(1)} s`;
  process.stdout.write(`${problem === undefined ? 'ok ' : 'NO '} ${what} (${took})\n`);
  if (problem !== undefined) problems.push(`${what}:\n${problem.trim().slice(-2_000)}`);
}

function expect(isTrue: boolean, otherwise: string): void {
  if (!isTrue) throw new Error(otherwise);
}

const npm = (cwd: string, args: readonly string[]) =>
  run('npm', [...args, '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd,
    env: { ...process.env, ONNXRUNTIME_NODE_INSTALL: 'skip' },
    maxBuffer: 2 ** 24,
  });

/** An empty project. */
async function makeProject(name: string): Promise<string> {
  const project = path.join(folder, name);
  await mkdir(project);
  await writeFile(path.join(project, 'package.json'), JSON.stringify({ name: 'empty', private: true, type: 'module' }));
  return project;
}

/** The arguments of an install line in the README, with the tarball for `millrace`. */
function installArguments(readme: string, pattern: RegExp, tarball: string): string[] {
  const [line] = pattern.exec(readme) ?? [];
  if (line === undefined) throw new Error(`the README has no line ${pattern}`);
  return line
    .split(' ')
    .slice(1)
    .map((word) => (word === 'millrace' ? tarball : word));
}

/** The newest Node of a major version, as the registry has it for this machine. */
async function fetchNode(major: string): Promise<string> {
  if (process.versions.node.startsWith(`${major}.`)) return process.execPath;
  const name = `node-${process.platform === 'darwin' ? 'darwin' : 'linux'}-${process.arch}`;
  const project = await makeProject(`node${major}`);
  await npm(project, ['install', '--ignore-scripts', '--no-save', `${name}@^${major}`]);
  return path.join(project, 'node_modules', name, 'bin', 'node');
}

const evaluate = async (node: string, cwd: string, code: string, type: 'module' | 'commonjs' = 'module') =>
  (await run(node, [`--input-type=${type}`, '--eval', code], { cwd })).stdout.trim();

async function checkFull(node: string, label: string, project: string, entries: readonly string[]): Promise<void> {
  const names = JSON.stringify(entries);
  await check(`${label}: imports every entry`, async () => {
    const code = `for (const name of ${names}) console.log(name, Object.keys(await import(name)).length > 3);`;
    expect(!(await evaluate(node, project, code)).includes('false'), 'an entry has no exports');
  });
  await check(`${label}: requires every entry`, async () => {
    const code = `for (const name of ${names}) console.log(name, Object.keys(require(name)).length > 3);`;
    expect(!(await evaluate(node, project, code, 'commonjs')).includes('false'), 'an entry has no exports');
  });
  const main = path.join(project, 'node_modules', 'millrace', 'dist', 'cli', 'main.js');
  await check(`${label}: millrace doctor finds everything`, () => run(node, [main, 'doctor'], { cwd: project }));
  await check(`${label}: a worker in a thread, and one in a process`, async () => {
    await writeFile(
      path.join(project, 'model.js'),
      'export default () => ({ upper: (text) => text.toUpperCase() });\n',
    );
    for (const host of ['thread', 'process']) {
      const code = `import { operation, spawnWorker } from 'millrace/worker';
        const module = new URL(${JSON.stringify('model.js')}, 'file://' + encodeURI(process.cwd()) + '/');
        const worker = spawnWorker({ operations: { upper: operation() }, host: '${host}', module });
        console.log(await worker.call('upper', 'mill'));
        await worker.close();`;
      const answer = await evaluate(node, project, code);
      expect(answer === 'MILL', `the ${host} answers ${answer}`);
    }
  });
  // Without a flag from 22.18 and 24.3 on.
  const [major = 0, minor = 0] = (await evaluate(node, project, 'console.log(process.versions.node)'))
    .split('.')
    .map(Number);
  if (major < 22 || (major === 22 && minor < 18)) return;
  const arguments_: Record<string, string[]> = {
    pipeline: ['pipeline.ts'],
    'image-pool': ['photos/cat-1.jpg'],
    'photo-search': ['photos', 'photos/cat-1.jpg', 'page.html'],
    'dedupe-photos': ['photos'],
  };
  const examples = path.join(project, 'examples');
  await rm(examples, { recursive: true, force: true });
  await cp(path.join(root, 'examples'), examples, { recursive: true });
  for (const file of await readdir(examples)) {
    const name = path.basename(file, '.ts');
    if (!file.endsWith('.ts') || UNENDING.includes(name)) continue;
    const args = [path.join(examples, file), ...(arguments_[name] ?? [])];
    await check(`${label}: examples/${file}, unchanged`, () => run(node, args, { cwd: examples }));
  }
}

async function checkBare(node: string, label: string, project: string): Promise<void> {
  await check(`${label}, without optional packages: channels and workers`, async () => {
    const code = `import { mpsc, select } from 'millrace/channels';
      import { operation, spawnWorker } from 'millrace/worker';
      const [tx, rx] = mpsc.channel(1);
      await tx.send(42);
      const worker = spawnWorker({ operations: { half: operation() }, host: 'inline', model: { half: (n) => n / 2 } });
      console.log(await worker.call('half', (await select({ rx })).value));
      await worker.close();`;
    const answer = await evaluate(node, project, code);
    expect(answer === '21', `the answer is ${answer}`);
  });
  await check(`${label}, without optional packages: the image layer says what to install`, async () => {
    const code = `import { createImageEmbeddingPool } from 'millrace/image-embedding';
      const pool = createImageEmbeddingPool({ workers: { max: 1 } });
      await pool.embedImage('photo.jpg').catch((error) => console.log(error.code, error.message));
      await pool.close();`;
    const answer = await evaluate(node, project, code);
    expect(/_MISSING .*ONNXRUNTIME_NODE_INSTALL=skip npm install/.test(answer), `it says: ${answer}`);
  });
}

try {
  const { name, exports } = JSON.parse(await readFile(path.join(root, 'package.json'), 'utf8')) as {
    name: string;
    exports: object;
  };
  const entries = Object.keys(exports).filter((entry) => !entry.endsWith('.json'));
  const specifiers = entries.map((entry) => path.posix.join(name, entry));
  const readme = await readFile(path.join(root, 'README.md'), 'utf8');
  const { stdout } = await run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', folder], {
    cwd: root,
  });
  const [packed] = JSON.parse(stdout) as { filename: string }[];
  // npm takes a path with spaces for what it is only where it begins with a dot.
  const tarball = './millrace.tgz';
  const full = await makeProject('app');
  const bare = await makeProject('no natives');
  for (const project of [full, bare]) {
    await copyFile(path.join(folder, packed?.filename ?? ''), path.join(project, 'millrace.tgz'));
  }
  await check("the README's install line", () =>
    npm(
      full,
      installArguments(
        readme,
        /(?<=ONNXRUNTIME_NODE_INSTALL=skip )npm install millrace onnxruntime-node .*$/m,
        tarball,
      ),
    ),
  );
  // The peers of the entries that have one: those of remote and otel, which examples use.
  await check('the optional peers', () =>
    npm(full, ['install', '@msgpack/msgpack', '@opentelemetry/api@1.9', '@opentelemetry/sdk-trace-node@2']),
  );
  await check("the README's install line for the channels alone", () =>
    npm(bare, installArguments(readme, /npm install millrace --omit=optional/, tarball)),
  );
  for (const major of majors) {
    const node = await fetchNode(major);
    const label = `Node ${(await run(node, ['--version'])).stdout.trim().slice(1)}`;
    await checkFull(node, label, full, specifiers);
    await checkBare(node, label, bare);
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}
for (const problem of problems) process.stderr.write(`\n${problem}\n`);
if (problems.length > 0) process.exitCode = 1;
