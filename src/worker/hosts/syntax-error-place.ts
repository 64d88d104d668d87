import { execFile } from 'node:child_process';
import { childEnvironment, filterExecArgv } from './exec-argv.js';

const LIMIT_MS = 10_000;

/**
 * Finds the file and line of a mistake that keeps a module from being imported. The error does not tell: Node prints it only of an error that ends a
 * process, so one is started that imports the module. Nothing of the module runs there, as linking comes first.
 *
 * @param error What the import threw.
 * @returns As in `file:///app/model.js:3`; undefined where it is another error, or not found.
 */
export async function placeOfSyntaxError(url: string, error: unknown): Promise<string | undefined> {
  if (!(error instanceof SyntaxError) || !isOfLinking(error)) return undefined;
  const code = `import ${JSON.stringify(url)};`;
  const args = [...filterExecArgv(process.execArgv), '--input-type=module', '--eval', code];
  const options = { env: childEnvironment(undefined), timeout: LIMIT_MS, windowsHide: true };
  return new Promise((resolve) => {
    execFile(process.execPath, args, options, (_, __, stderr) => resolve(/^file:.*:\d+$/m.exec(stderr)?.[0]));
  });
}

/** One that the module's own code threw, of `JSON.parse` say, has a frame of it. */
function isOfLinking({ stack }: SyntaxError): boolean {
  const frames = String(stack)
    .split('\n')
    .filter((line) => /^\s+at /.test(line));
  return frames.every((line) => line.includes('node:internal'));
}
