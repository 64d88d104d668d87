/** Runs the examples as a user of the package does, with the types stripped: by their own names, against the built package. */
import { type ChildProcess, spawn } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { transform } from 'esbuild';

export const root = fileURLToPath(new URL('../../', import.meta.url));
const sources = path.join(root, 'examples');

export interface Ended {
  readonly stdout: string;
  readonly stderr: string;
  readonly code: number | null;
}

export interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  /** Resolves once what has been printed matches, with what it matches. */
  printed(pattern: RegExp): Promise<RegExpExecArray>;
  /** Resolves once it holds for what has been printed. */
  printed(test: (stdout: string) => boolean): Promise<void>;
}

/** The examples' files, by name. */
export async function exampleFiles(): Promise<string[]> {
  return (await readdir(sources)).filter((name) => /\.(ts|js)$/.test(name)).sort();
}

export class Examples {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Strips the types of every example, inside the package so that they find it by its name. */
  static async prepare(): Promise<Examples> {
    await mkdir(path.join(root, '.examples'), { recursive: true });
    const folder = await mkdtemp(path.join(root, '.examples', 'test-'));
    for (const name of await exampleFiles()) {
      if (name.endsWith('.js')) {
        await copyFile(path.join(sources, name), path.join(folder, name));
        continue;
      }
      const { code } = await transform(await readFile(path.join(sources, name), 'utf8'), { loader: 'ts' });
      await writeFile(path.join(folder, name.replace(/\.ts$/, '.js')), code);
    }
    return new Examples(folder);
  }

  remove(): Promise<void> {
    return rm(this.#folder, { recursive: true, force: true });
  }

  start(name: string, args: readonly string[] = [], env: NodeJS.ProcessEnv = {}): Running {
    const child = spawn(process.execPath, [path.join(this.#folder, `${name}.js`), ...args], {
      cwd: root,
      env: { ...process.env, ...env },
      stdio: 'pipe',
    });
    let stdout = '';
    let stderr = '';
    let check = (): void => {};
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      stdout += chunk;
      check();
    });
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      stderr += chunk;
    });
    const ended = new Promise<Ended>((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (code) => resolve({ stdout, stderr, code }));
    });
    const printed = (what: RegExp | ((stdout: string) => boolean)): Promise<never> =>
      new Promise((resolve, reject) => {
        check = () => {
          const found = typeof what === 'function' ? what(stdout) : what.exec(stdout);
          if (found) resolve(found as never);
        };
        check();
        ended.then(() => reject(new Error(`${name} ended without printing ${what}: ${stdout}${stderr}`)), reject);
      });
    return { child, ended, printed };
  }

  async run(name: string, args: readonly string[] = [], input?: string): Promise<Ended> {
    const { child, ended } = this.start(name, args);
    child.stdin?.end(input);
    return await ended;
  }
}
