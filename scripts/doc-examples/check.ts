/** Type checks and runs example modules, and tells what is wrong with which line of which document. */
import { execFile, fork } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { transform } from 'esbuild';
import type { Example } from './extract.js';
import { type ImportTable, toModule } from './transform.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const assertions = new URL('./assert.mjs', import.meta.url).href;
const runner = fileURLToPath(new URL('./runner.mjs', import.meta.url));

export interface CheckOptions {
  /** The names an example of this file may use without importing them, by the module they come from (relative to the root). */
  readonly importsFor: (file: string) => ImportTable;
  readonly types?: boolean;
  /** How long one example may run, in ms. 60,000 by default: some start processes, on machines that do other things. */
  readonly timeLimitMs?: number;
}

/** Failures as `file:line: message`, none when every example holds. */
export async function checkExamples(examples: readonly Example[], options: CheckOptions): Promise<string[]> {
  await mkdir(path.join(root, '.examples'), { recursive: true });
  // Inside the package, so that an example may import it by its name.
  const folder = await mkdtemp(path.join(root, '.examples', 'run-'));
  try {
    const failures: string[] = [];
    const modules: string[] = [];
    await writeFile(path.join(folder, 'assert.mjs'), `export * from ${JSON.stringify(assertions)};\n`);
    await writeFile(path.join(folder, 'assert.d.mts'), ASSERT_TYPES);
    for (const [index, example] of examples.entries()) {
      const imports = new Map(
        [...options.importsFor(example.file)].map(([name, from]) => [name, relativeImport(folder, from)]),
      );
      const text = toModule(example, imports);
      await writeFile(path.join(folder, `${index}.ts`), text);
      try {
        const { code } = await transform(text, { loader: 'ts', format: 'esm', target: 'es2022' });
        await writeFile(path.join(folder, `${index}.mjs`), code);
        if (example.run) modules.push(path.join(folder, `${index}.mjs`));
      } catch (error) {
        failures.push(`${example.file}:${example.line}: does not parse: ${(error as Error).message}`);
      }
    }
    if (options.types !== false) failures.push(...(await typeCheck(folder, examples)));
    failures.push(...(await runAll(modules, examples, options.timeLimitMs ?? 60_000)));
    return failures;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const ASSERT_TYPES = `
export declare function __equal(actual: unknown, expected: unknown, where: string): void;
export declare function __throws(run: () => unknown, name: string, where: string): Promise<void>;
`;

function relativeImport(folder: string, target: string): string {
  return path.relative(folder, path.join(root, target)).split(path.sep).join('/');
}

async function typeCheck(folder: string, examples: readonly Example[]): Promise<string[]> {
  const config = {
    extends: '../../tsconfig.base.json',
    compilerOptions: { noEmit: true, noUnusedLocals: false, noUnusedParameters: false, verbatimModuleSyntax: false },
    include: ['*.ts'],
  };
  await writeFile(path.join(folder, 'tsconfig.json'), JSON.stringify(config));
  const tsc = path.join(path.dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin', 'tsc');
  const output = await promisify(execFile)(process.execPath, [tsc, '-p', folder, '--pretty', 'false'], { cwd: folder })
    .then(() => '')
    .catch((error: { stdout?: string; stderr?: string; message: string }) => error.stdout || error.message);
  const failures: string[] = [];
  for (const line of output.split('\n')) {
    const match = /(\d+)\.ts\((\d+),\d+\): (.*)$/.exec(line);
    const example = match === null ? undefined : examples[Number(match[1])];
    if (match !== null && example !== undefined) {
      failures.push(`${example.file}:${example.line + Number(match[2]) - 2}: ${match[3]}`);
    } else if (line.trim() !== '' && failures.length === 0) failures.push(`types of the examples: ${line}`);
  }
  return failures;
}

/** Runs modules one after another in a child, and goes on in a new child after one that hangs or ends the process. */
async function runAll(
  modules: readonly string[],
  examples: readonly Example[],
  timeLimitMs: number,
): Promise<string[]> {
  const failures: string[] = [];
  const exampleOf = (module: string): Example => examples[Number(path.basename(module, '.mjs'))] as Example;
  let next = 0;
  while (next < modules.length) {
    await new Promise<void>((resolve) => {
      const child = fork(runner, [String(timeLimitMs), ...modules.slice(next)], {
        execArgv: [],
        stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      });
      let stderr = '';
      let hung = false;
      const hang = (): void => {
        hung = true;
        child.kill('SIGKILL');
      };
      // The child has its own limit for a promise that never settles; this one is for a loop that never yields.
      let watchdog = setTimeout(hang, timeLimitMs + 5_000);
      child.stdout?.resume();
      child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
        stderr = (stderr + chunk).slice(-4_000);
      });
      child.on('message', (message: { failure?: string }) => {
        clearTimeout(watchdog);
        watchdog = setTimeout(hang, timeLimitMs + 5_000);
        const example = exampleOf(modules[next] as string);
        if (message.failure !== undefined) failures.push(located(example, message.failure));
        next++;
      });
      child.on('close', (code, signal) => {
        clearTimeout(watchdog);
        if (next < modules.length) {
          const example = exampleOf(modules[next] as string);
          const what = hung ? `no result after ${timeLimitMs} ms` : `ended its process (${signal ?? code}) ${stderr}`;
          failures.push(`${example.file}:${example.line}: ${what}`);
          next++;
        }
        resolve();
      });
    });
  }
  return failures;
}

function located(example: Example, failure: string): string {
  return failure.startsWith(`${example.file}:`) ? failure : `${example.file}:${example.line}: ${failure}`;
}
