import { execFile } from 'node:child_process';
import { describeThrown, isError } from '../../core/index.js';
import { ModelContractError, WorkerLoadError } from '../errors.js';
import { childEnvironment, filterExecArgv } from '../executor/exec-argv.js';
import type { ModelContext } from '../model.js';

/**
 * Imports a model module and calls its factory: the default export, or the one named `createModel`.
 *
 * @throws WorkerLoadError When the module can't be imported or its factory throws; ModelContractError when it exports no factory.
 */
export async function loadModel(url: string, options: unknown, context: ModelContext): Promise<unknown> {
  const namespace = await importModule(url);
  const factory = findFactory(namespace);
  if (typeof factory !== 'function') {
    throw new ModelContractError(
      `Cannot load model: ${url} must export a function as its default or as 'createModel', received ${describeExports(namespace)}`,
    );
  }
  try {
    return await (factory as (options: unknown, context: ModelContext) => unknown)(options, context);
  } catch (error) {
    throw new WorkerLoadError(`Cannot load model: ${url} threw ${describeError(error)}`, { cause: error });
  }
}

/**
 * Imports a model module ahead of its load, and calls its `preload` if it exports one. Never rejects: what fails here fails again at the load, which
 * says so.
 */
export async function preloadModel(url: string): Promise<void> {
  try {
    const { preload } = (await import(url)) as { readonly preload?: unknown };
    if (typeof preload === 'function') await (preload as () => unknown)();
  } catch {
    // The load reports it.
  }
}

/** A CommonJS module has all that it exports as its default as well, and a default of its own in there. */
function findFactory(namespace: Record<string, unknown>): unknown {
  const inner = namespace.default as { readonly default?: unknown; readonly createModel?: unknown } | null | undefined;
  const candidates = [inner, namespace.createModel, inner?.default, inner?.createModel];
  return candidates.find((each) => typeof each === 'function');
}

async function importModule(url: string): Promise<Record<string, unknown>> {
  try {
    return (await import(url)) as Record<string, unknown>;
  } catch (error) {
    if (isTypeScriptRefusal(url, error)) {
      throw new WorkerLoadError(
        `Cannot load model: Node ${process.versions.node} can't run ${url} as it is; compile it to JavaScript, or give a process host a loader (node --import tsx), or, when its types can be erased, use Node 22.18 or later`,
        { cause: error },
      );
    }
    const where = await placeOfSyntaxError(url, error);
    const text = `Cannot load model: ${url} threw ${describeError(error)}${where === undefined ? '' : ` at ${where}`}`;
    throw new WorkerLoadError(text, { cause: error });
  }
}

function isTypeScriptRefusal(url: string, error: unknown): boolean {
  if (!/\.[cm]?tsx?$/.test(new URL(url).pathname)) return false;
  return error instanceof SyntaxError || typeScriptCodes.has((error as { code?: unknown } | null)?.code);
}

const typeScriptCodes = new Set<unknown>([
  'ERR_UNKNOWN_FILE_EXTENSION',
  'ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX',
  'ERR_INVALID_TYPESCRIPT_SYNTAX',
  'ERR_UNSUPPORTED_NODE_MODULES_TYPE_STRIPPING',
]);

function describeExports(namespace: Record<string, unknown>): string {
  const names = Object.keys(namespace);
  return names.length === 0 ? 'no exports' : `exports ${names.slice(0, 10).join(', ')}`;
}

function describeError(error: unknown): string {
  const { name, message } = describeThrown(error);
  return isError(error) ? `${name}: ${message}` : message;
}

const LIMIT_MS = 10_000;

/**
 * Finds the file and line of a mistake that keeps a module from being imported. The error does not tell: Node prints it only of an error that ends a
 * process, so one is started that imports the module. Nothing of the module runs there, as linking comes first.
 *
 * @param error What the import threw.
 * @returns As in `file:///app/model.js:3`; undefined where it is another error, or not found.
 */
async function placeOfSyntaxError(url: string, error: unknown): Promise<string | undefined> {
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
