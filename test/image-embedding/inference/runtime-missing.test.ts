import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const run = promisify(execFile);
const dist = new URL('../../../dist/image-embedding/', import.meta.url).href;
const models = fileURLToPath(new URL('../../../models/mobilenet-v1-0.25', import.meta.url));

/** Loads the default model in a process where onnxruntime-node can't be found; prints the error. */
const script = `
import { register } from 'node:module';
const hook = 'export async function resolve(name, context, next) {'
  + ' if (name !== "onnxruntime-node") return next(name, context);'
  + ' throw Object.assign(new Error("Cannot find package"), { code: "ERR_MODULE_NOT_FOUND" }); }';
register('data:text/javascript,' + encodeURIComponent(hook));
const { EmbeddingSession } = await import('${dist}inference/session.js');
const { readModelFolder } = await import('${dist}model/model-folder.js');
const spec = await readModelFolder(${JSON.stringify(models)});
const { code, message, fault } = await EmbeddingSession.load(spec).catch((error) => error);
console.log(JSON.stringify({ code, message, fault }));
`;

test('EmbeddingSession.load() says what to install when onnxruntime-node is missing', async () => {
  const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', script]);
  expect(JSON.parse(stdout)).toEqual({
    code: 'ERR_MODEL_RUNTIME_MISSING',
    fault: 'system',
    message: expect.stringMatching(
      /onnxruntime-node.*ONNXRUNTIME_NODE_INSTALL=skip npm install onnxruntime-node sharp$/,
    ),
  });
});

/** Loads a package that throws when it is imported, and prints the error of who needed it. */
async function failing(dependency: 'onnxruntime-node' | 'sharp', message: string, code: string): Promise<unknown> {
  const body = `throw Object.assign(new Error(${JSON.stringify(message)}), { code: ${JSON.stringify(code)} });`;
  const url = `data:text/javascript,${encodeURIComponent(body)}`;
  const hook = `export async function resolve(name, context, next) {
    return name === ${JSON.stringify(dependency)} ? { url: ${JSON.stringify(url)}, shortCircuit: true } : next(name, context);
  }`;
  const needs =
    dependency === 'sharp'
      ? `(await import('${dist}decode/sharp-loader.js')).loadSharp(false)`
      : `(await import('${dist}inference/session.js')).preloadRuntime()`;
  const failed = `
    import { register } from 'node:module';
    register('data:text/javascript,' + encodeURIComponent(${JSON.stringify(hook)}));
    const { code, message, fault, cause } = await (${needs}).catch((error) => error);
    console.log(JSON.stringify({ code, message, fault, cause: cause.message }));`;
  const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', failed]);
  return JSON.parse(stdout);
}

test.each([
  ['Error loading shared library ld-linux-x86-64.so.2: No such file or directory (needed by x.node)', 'Alpine'],
  ["/lib/x86_64-linux-gnu/libm.so.6: version `GLIBC_2.38' not found (required by x.node)", 'newer glibc'],
  ["/usr/lib/libstdc++.so.6: version `GLIBCXX_3.4.32' not found", 'libstdc++'],
  ['x.node: invalid ELF header', 'not for this machine'],
  ['something else', 'something else'],
])('a native package that is there and can not load says why: %s', async (message, hint) => {
  for (const [dependency, code] of [
    ['onnxruntime-node', 'ERR_MODEL_RUNTIME_MISSING'],
    ['sharp', 'ERR_DEPENDENCY_MISSING'],
  ] as const) {
    const found = await failing(dependency, `${message}\nand more`, 'ERR_DLOPEN_FAILED');
    expect(found).toMatchObject({ code, fault: 'system', cause: `${message}\nand more` });
    const text = (found as Error).message;
    expect(text).toContain(`the package ${dependency} is installed and could not be loaded: ${message}`);
    expect(text).toContain(hint);
    expect(text).not.toContain('npm install');
  }
});

test('a package of which a part is missing is installed', async () => {
  const message =
    "Cannot find package 'onnxruntime-common' imported from /app/node_modules/onnxruntime-node/dist/index.js";
  expect(await failing('onnxruntime-node', message, 'ERR_MODULE_NOT_FOUND')).toMatchObject({
    message: expect.stringContaining(`is installed and could not be loaded: ${message}`),
  });
});
